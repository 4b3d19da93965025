"""What `check` finds that takes more than the file to know."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from llm_router.config import checks, loading
from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.providers.knowing import findings, litellm_kinds
from llm_router.providers.openrouter.catalog import Catalog, _never, _write
from tests.cli.conftest import Run


def test_a_kind_that_litellm_does_not_know_is_named_with_the_nearest(
    run: Run, folder: Path
) -> None:
    (folder / "bad.yaml").write_text(
        "version: 1\nproviders:\n  local: {litellm: opneai, base_url: 'http://127.0.0.1:1/v1'}\n"
        "  zzz: {base_url: 'http://127.0.0.1:1/v1'}\n  mistral: {}\n  watsonx: {}\n"
    )
    done = run("check", "bad.yaml")
    assert done.exit_code == 2
    unknown = "LiteLLM knows no provider"
    assert f"bad.yaml:3: providers.local: {unknown} 'opneai'; did you mean" in done.stderr
    assert "Or write `litellm: openai` for a server that speaks" in done.stderr
    assert f"bad.yaml:4: providers.zzz: {unknown} 'zzz'; write `litellm: openai`" in done.stderr
    assert "2 problems in bad.yaml" in done.stderr


def test_litellms_list_is_read_without_importing_it() -> None:
    assert {"openai", "watsonx", "bedrock", "openrouter", "ollama_chat"} <= litellm_kinds()


def test_a_model_that_the_catalogue_on_disk_does_not_know_is_named_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = (
        "version: 1\naliases:\n  fast: {model: openrouter/openai/gpt-4o-mni}\n"
        "  free: {model: 'openrouter/openai/gpt-4o-mini:free'}\n"
    )
    said = loading.check_text(text, "a.yaml", findings).findings
    assert {item.severity for item in said} <= {"note"}
    models = [{"id": "openai/gpt-4o-mini"}, {"id": "openai/o1"}]
    kept = {"base_url": OPENROUTER_BASE_URL, "fetched_at": str(time.time()), "models": models}
    _write(Catalog(OPENROUTER_BASE_URL, _never)._path, json.loads(json.dumps(kept)))
    report = loading.check_text(text, "a.yaml", findings)
    (found,) = [item for item in report.findings if item.severity == "warning"]
    assert str(found) == (
        "a.yaml:3: aliases.fast: OpenRouter's catalogue has no model 'openai/gpt-4o-mni'; "
        "did you mean 'openai/gpt-4o-mini'?"
    )
    assert report.problems == ()


def test_a_missing_driver_is_told_of_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda _: None)
    report = loading.check_text("version: 1\nledger: {url: 'postgresql://db/calls'}\n")
    assert "pip install 'llm-router-litellm[postgres]'" in " ".join(map(str, report.findings))
