"""The event loop never stands still for more than 50 ms, whatever comes and however large it is."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llm_router import errors
from llm_router.config.loading import load
from llm_router.options.request import Deployment
from llm_router.router import Router
from tests.router.large_bodies import BODIES, SIZE
from tests.router.setup import until
from tests.watch import Watcher

ROOT = Path(__file__).parents[2]
_QUIET = os.getloadavg()[0] <= (os.cpu_count() or 1) and sys.gettrace() is None
LONGEST_MS = 50.0 if _QUIET else 250.0
"""50; where others keep the processors busy, or a tracer runs, what a fault of old took."""
TIMES = 4


class Row(BaseModel):
    name: str
    year: int
    share: float
    of: list[str]


class Rows(BaseModel):
    rows: list[Row]


@pytest.fixture(scope="module", autouse=True)
def nothing_of_other_tests() -> Iterator[None]:
    """What thousands of tests have left is not looked through while one answer is read."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.router.large_bodies"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/api/v1"
        server.kill()


def configuration(address: str, folder: Path, store: str) -> dict[str, Any]:
    return {
        "providers": {"openrouter": {"base_url": address, "api_key": "sk-or-v1-" + "5" * 64}},
        "aliases": {"any": {"model": "openrouter/large/text", "max_attempts": 1}},
        "ledger": {"url": f"sqlite:///{folder}/calls.db", "store": store},
    }


@pytest.fixture
async def router(
    address: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Router]:
    config = configuration(address, tmp_path, getattr(request, "param", "metadata"))
    async with Router.from_dict(config) as router:
        with suppress(errors.LLMRouterError):
            await router.complete("openrouter/large/page", "Warm up.")
        provider: Any = router._engine.providers["openrouter"]
        await until(lambda: provider.known("a/m1"))
        yield router


Ask = Callable[[Router, str], Awaitable[object]]


async def complete(router: Router, model: str) -> object:
    return await router.complete(model, "Hello")


async def parse(router: Router, model: str) -> object:
    return await router.parse(model, "Hello", schema=SCHEMA, mode="prompt")


async def parse_class(router: Router, model: str) -> object:
    return await router.parse(model, "Hello", schema=Rows, mode="prompt")


async def stream(router: Router, model: str) -> object:
    async with router.stream(model, "Hello") as answer:
        return await answer.collect()


async def leave(router: Router, model: str) -> object:
    async with router.stream(model, "Hello") as answer:
        return await anext(answer)


async def embed(router: Router, model: str) -> object:
    return await router.embed(model, ["Hello"] * 256)


SCHEMA = Rows.model_json_schema()
STREAMS = [name for name in BODIES if "stream" in name or name.startswith("one-")]
OPERATIONS: dict[str, list[Ask]] = {
    **{name: [complete] for name in BODIES if name != "models"},
    **{name: [stream, leave] for name in STREAMS},
    "cut-call": [stream],
    "floats": [embed],
    "base64": [embed],
    "rows": [parse],
}
KEPT_WHOLE = ("text", "call", "rows", "error")
"""With `store: full`: what differs there is the writing, in the ledger's thread."""


async def worst(what: str, ask: Callable[[], Awaitable[object]]) -> float:
    """Return the least of up to four worst gaps, in milliseconds: one is a matter of chance."""
    found: list[float] = []
    while len(found) < TIMES and not (found and min(found) < LONGEST_MS):
        async with Watcher() as watcher:
            with suppress(errors.LLMRouterError):
                await ask()
        found.append(watcher.worst_ms)
    figures = ", ".join(f"{figure:.0f}" for figure in found)
    print(f"{what}: the loop stood still for {figures} ms")  # noqa: T201 - pytest -rA shows it
    return min(found)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("router", "names"),
    [("metadata", tuple(OPERATIONS)), ("full", KEPT_WHOLE)],
    indirect=["router"],
    ids=["metadata", "full"],
)
async def test_the_loop_goes_on_when_the_body_is_huge(
    router: Router, names: tuple[str, ...]
) -> None:
    slow: dict[str, float] = {}
    for name in names:
        for ask in OPERATIONS[name]:
            asked = functools.partial(ask, router, f"openrouter/large/{name}")
            slow[f"{ask.__name__} {name}"] = await worst(f"{ask.__name__} {name}", asked)
    assert {name: figure for name, figure in slow.items() if figure >= LONGEST_MS} == {}


@pytest.mark.xfail(
    reason="pydantic reads a text in one piece of Rust: 40 to 110 ms a MiB, collections in it",
    strict=False,
)
@pytest.mark.parametrize("router", ["metadata", "full"], indirect=True)
async def test_the_loop_goes_on_when_a_class_is_read(router: Router) -> None:
    asked = functools.partial(parse_class, router, "openrouter/large/rows")
    assert await worst("parse_class rows", asked) < LONGEST_MS


async def test_the_loop_goes_on_when_the_question_is_huge(router: Router) -> None:
    prompt = "Words of all kinds. " * (SIZE // 20)
    asked = functools.partial(router.complete, "openrouter/large/page", prompt)
    assert await worst("question", asked) < LONGEST_MS


async def test_the_loop_goes_on_when_the_catalogue_is_huge(address: str, tmp_path: Path) -> None:
    async def refresh() -> None:
        async with Router.from_dict(configuration(address, tmp_path, "metadata")) as router:
            openrouter = Deployment(provider="openrouter", model="large/text")
            provider: Any = router._engine.provider(openrouter)
            with suppress(errors.LLMRouterError):
                await router.complete("openrouter/large/page", "Hello")
            await until(lambda: provider.known("a/m1"))

    assert await worst("catalogue", refresh) < LONGEST_MS


async def test_the_loop_goes_on_when_a_configuration_of_a_thousand_aliases_is_loaded(
    tmp_path: Path,
) -> None:
    """In a thread: `from_yaml` blocks, as all that reads files."""
    aliases = "".join(
        f"  a{n}: {{model: openrouter/m/{n}, fallbacks: [openrouter/n/{n}], timeout: 20}}\n"
        for n in range(1_000)
    )
    file = tmp_path / "llm_router.yaml"
    file.write_text(f"version: 1\naliases:\n{aliases}", encoding="utf-8")
    assert await worst("load", lambda: asyncio.to_thread(load, file)) < LONGEST_MS


IN_A_NEW_PROCESS = """
import asyncio, json, sys
from llm_router.router import Router
from tests.watch import Watcher

async def main():
    row = {"base_url": "http://127.0.0.1:9/api/v1", "api_key": "sk-or-v1-" + "5" * 64}
    async with Watcher() as watcher:
        async with Router.from_dict({"providers": {"openrouter": row}}):
            await asyncio.sleep(0.2)  # what waited for the collector would be collected now
    print(watcher.worst_ms)
asyncio.run(main())
"""


@pytest.mark.xfail(reason="LiteLLM reads its prices in one piece of C, 40 to 60 ms", strict=False)
def test_the_loop_goes_on_when_litellm_is_imported() -> None:
    def once() -> float:
        command = [sys.executable, "-c", IN_A_NEW_PROCESS]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return float(done.stdout)

    found = [once()]
    while min(found) >= LONGEST_MS and len(found) < 2 * TIMES:
        found.append(once())
    print(f"import: the loop stood still for {found} ms")  # noqa: T201 - as above
    assert min(found) < LONGEST_MS
