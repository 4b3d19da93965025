"""The site: its reference says every key, option, error and event; the examples run."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_router import Router, errors, events
from llm_router.config.model import RouterConfig
from llm_router.options.request import OPTION_NAMES
from llm_router.testing import Sandbox

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def page() -> str:
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / ".ci" / "site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.reference()
    return text


def test_the_reference_says_every_key_option_error_and_event(page: str) -> None:
    for name in RouterConfig.model_fields.keys() - {"source"}:
        assert f"| `{name}` |" in page
    for name in (*OPTION_NAMES, "flush_interval", "idle_timeout", "api_version"):
        assert f"| `{name}` |" in page
    for kind in errors.KINDS:
        assert f"| `{kind}` |" in page
    for name, value in vars(events).items():
        if name.isupper() and isinstance(value, str):
            assert f"`{value}`" in page
    assert "llm_router.ledger_dropped" in page
    assert "`120.0` | For one attempt. |" in page


def test_help_names_every_option_of_a_call() -> None:
    text = Router.complete.__doc__ or ""
    assert [name for name in OPTION_NAMES if name not in text] == []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("the extra `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Retry-After" in (tmp_path / "how-it-works" / "index.html").read_text()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    with Sandbox() as sandbox:
        file = str(ROOT / "config" / "llm_router.yaml")
        yield {**os.environ, **sandbox.env, "LLM_ROUTER_CONFIG": file, "PYTHONPATH": str(ROOT)}


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / name), *arguments]


def test_the_worker_writes_a_line_for_each_line(environment: dict[str, str]) -> None:
    done = subprocess.run(
        example("worker.py"), input="Middlemarch, 880 pages\n\nEmma\n", env=environment,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["text"] for line in lines} == {"Middlemarch, 880 pages", "Emma"}
    assert all({"title", "pages"} == line["book"].keys() for line in lines)


def test_the_service_answers_as_the_text_comes(environment: dict[str, str]) -> None:
    with Sandbox() as free:
        port = free.port
    service = subprocess.Popen(example("service.py", str(port)), env=environment)
    try:
        url = f"http://127.0.0.1:{port}/ask?question=Why"
        for _ in range(300):
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    said = answer.read().decode()
                break
            except ConnectionError:
                time.sleep(0.1)
            except OSError as error:
                assert "refused" in str(error), error
                time.sleep(0.1)
        assert said.startswith("data: ") and said.endswith("\n\n")
    finally:
        service.terminate()
        service.wait(20)
