"""What importing LiteLLM leaves behind: nothing. Each test is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_STATE = """
import asyncio, json, logging, os, sys, warnings
def state():
    loggers = {"": logging.root, "httpx": logging.getLogger("httpx")}
    return {
        "environ": dict(os.environ),
        "filters": [str(f) for f in warnings.filters],
        "logging": {n: (l.level, [str(h) for h in l.handlers], l.propagate)
                    for n, l in loggers.items()},
    }
"""


def run(code: str, folder: Path, **environ: str) -> str:
    """Run *code* in a fresh interpreter in *folder*; return what it wrote."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _STATE + code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root} | environ,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_nothing_of_the_process_is_changed_when_we_import_litellm(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FROM_DOT_ENV=1\n")
    out = run(
        """
from llm_router.config.model import ProviderConfig
from llm_router.errors import ProviderConnectionError
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers.importing import load_for_calls_here, load_here
from llm_router.providers.registry import build_provider
import gc, pydantic, requests, urllib3  # they add filters of their own when first imported
logging.getLogger("httpx").setLevel(logging.DEBUG)
before = state()
async def main():
    first, second, third = await asyncio.gather(
        *(asyncio.to_thread(load) for load in (load_here, load_for_calls_here, load_here)))
    assert first is second is third is load_here()
    return first
litellm = asyncio.run(main())
after = state()
assert gc.isenabled()
assert after == before, [k for k in before if before[k] != after[k]]
assert litellm.suppress_debug_info is True
assert [type(h).__name__ for h in logging.getLogger("LiteLLM").handlers] == ["NullHandler"]
logging.getLogger("LiteLLM").warning("not shown")
async def fail():
    row = {"litellm": "openai", "base_url": "http://127.0.0.1:9", "path": "acompletion"}
    provider = build_provider("local", ProviderConfig(**row))
    request = ProviderRequest(
        deployment=Deployment(provider="local", model="x"),
        messages=[{"role": "user", "content": "Hello"}])
    try:
        await provider.complete(request)
    except ProviderConnectionError:
        return "told"
assert asyncio.run(fail()) == "told"
assert state()["environ"] == before["environ"]
""",
        tmp_path,
        OPENAI_BASE_URL="http://127.0.0.1:9",
    )
    assert out == ""


def test_the_environment_is_given_back_when_it_had_values_of_its_own(tmp_path: Path) -> None:
    out = run(
        """
from llm_router.providers.importing import load_here
load_here()
print(os.environ["LITELLM_MODE"], os.environ["LITELLM_LOG"])
""",
        tmp_path,
        LITELLM_MODE="DEV",
        LITELLM_LOG="INFO",
    )
    assert out == "DEV INFO\n"


def test_litellm_is_left_as_it_is_when_the_host_imported_it_first(tmp_path: Path) -> None:
    out = run(
        """
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
litellm.suppress_debug_info = False
def theirs():
    return {n: v for n, v in vars(litellm).items() if isinstance(v, bool | int | str | list)}
before, globals_before = state(), str(theirs())
handlers = list(logging.getLogger("LiteLLM").handlers)
from llm_router.providers.importing import load_for_calls_here, load_here
assert load_here() is load_for_calls_here() is litellm
assert litellm.suppress_debug_info is False and str(theirs()) == globals_before
assert logging.getLogger("LiteLLM").handlers == handlers and handlers
assert state()["environ"] == before["environ"] and state()["filters"] == before["filters"]
""",
        tmp_path,
        LITELLM_MODE="PRODUCTION",
    )
    assert out == ""


def test_the_garbage_collector_stays_off_when_the_host_switched_it_off(tmp_path: Path) -> None:
    out = run(
        """
import gc
from llm_router.providers.importing import load_here
gc.disable()
load_here()
print(gc.isenabled())
""",
        tmp_path,
    )
    assert out == "False\n"


@pytest.mark.parametrize("path", ["native", "acompletion"])
def test_the_event_loop_runs_on_when_litellm_is_imported(tmp_path: Path, path: str) -> None:
    out = run(
        f"""
import threading
from llm_router.config.model import ProviderConfig
from llm_router.providers.registry import build_provider
where = set()
class Spy:
    def find_spec(self, name, *rest):
        if name == "litellm":
            where.add(threading.current_thread() is threading.main_thread())
sys.meta_path.insert(0, Spy())
row = ProviderConfig(litellm="openai", base_url="http://127.0.0.1:9/v1", path={path!r})
asyncio.run(build_provider("local", row).open())
print(where)
""",
        tmp_path,
    )
    assert out == "{False}\n"


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("openai", "native"),
        ("mistral", "native"),
        ("groq", "native"),
        ("openai", "acompletion"),
        ("mistral", "acompletion"),
        ("anthropic", "acompletion"),
    ],
)
def test_no_warning_of_litellm_is_an_error_when_the_host_turns_warnings_into_errors(
    tmp_path: Path, kind: str, path: str
) -> None:
    """It imports some of its modules inside calls, and those warn (pydantic's, since 1.109)."""
    out = run(
        f"""
import pydantic, requests, urllib3  # they add filters of their own when first imported
from tests.providers.scripted import answer, ask, chunk, provider, wire, DONE
from tests.providers.acompletion.test_streams import ANTHROPIC, anthropic_events
warnings.simplefilter("error")
KIND, PATH = {kind!r}, {path!r}
async def main():
    async with wire() as server, provider(server.url, KIND, path=PATH, api_key="k" * 12) as row:
        await row.open()
        before = state()["filters"]
        server.json(ANTHROPIC if KIND == "anthropic" else answer())
        function = {{"name": "f", "parameters": {{"type": "object"}}}}
        tools = [{{"type": "function", "function": function}}]
        asked = {{"max_tokens": 5, "tool_choice": "auto", "tools": tools}}
        print((await row.complete(ask("m", params=asked))).text)
        server.replies.clear()
        plain = [chunk({{"content": "hello"}}), chunk({{}}, "stop"), DONE]
        server.sse(*(anthropic_events(whole=True) if KIND == "anthropic" else plain))
        stream = await row.stream(ask("m", stream=True))
        print("".join([e.text async for e in stream if hasattr(e, "text")]))
        if PATH == "native":
            assert state()["filters"] == before
asyncio.run(main())
warnings.simplefilter("ignore")  # what LiteLLM leaves open at the end of the process
""",
        tmp_path,
    )
    assert out == "hi\nhello\n"
