"""A fault at every await of the modules that own a call, one after the other. Run as a script.

The modules are compiled with each `await X` replaced by `await __at__(N, X)`, so that the places
are those of the source and none can be forgotten. For every place, every kind of fault and every
story that comes by, the call must leave nothing behind. Prints one line of JSON.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.abc
import importlib.machinery
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MODULES = (
    "llm_router.engine",
    "llm_router.operations.base",
    "llm_router.operations.structured.reasking",
    "llm_router.router",
    "llm_router.routing.gates",
    "llm_router.routing.loop",
    "llm_router.routing.money",
    "llm_router.streams",
)
MOST_STORIES = 2
"""At each place: enough to come by it in more than one way."""
SITES: list[str] = []
VISITED: Counter[int] = Counter()


class Faults:
    """Which await raises, and what; at its first visit only, so that the rest can go on."""

    site: int | None = None
    error: BaseException | None = None


async def at(site: int, awaitable: Awaitable[Any]) -> Any:
    VISITED[site] += 1
    if site == Faults.site and Faults.error is not None:
        error, Faults.error = Faults.error, None
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        raise error
    return await awaitable


class _Numbered(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self.module = module

    def visit_Await(self, node: ast.Await) -> ast.Await:
        self.generic_visit(node)
        SITES.append(f"{self.module}:{node.lineno}")
        number = ast.Constant(len(SITES) - 1)
        call = ast.Call(ast.Name("__at__", ast.Load()), [number, node.value], [])
        return ast.copy_location(ast.Await(call), node)


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> Any:
        tree = ast.parse(self.get_data(self.path))
        tree = ast.fix_missing_locations(_Numbered(fullname).visit(tree))
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: Any) -> None:
        module.__dict__["__at__"] = at
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.origin is not None
        spec.loader = _Loader(name, spec.origin)
        return spec


class Abort(BaseException):
    """As KeyboardInterrupt, which the event loop would treat in a way of its own."""


def kinds() -> list[Callable[[], BaseException]]:
    from llm_router.errors import ProviderUnavailableError

    return [
        lambda: KeyError("a defect"),
        asyncio.CancelledError,
        Abort,
        lambda: ProviderUnavailableError("scripted"),
    ]


async def complete(router: Any, sandbox: Any) -> None:
    sandbox.fail("http_503")
    await router.complete("safe", "Hello")


async def parse(router: Any, sandbox: Any) -> None:
    sandbox.reply(text='{"n": "many"}')
    sandbox.reply(text='{"n": 3}')
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    await router.parse("safe", "How many?", schema=schema)


async def parse_much(router: Any, sandbox: Any) -> None:
    """An answer that is read in a thread."""
    sandbox.reply(text=json.dumps({"n": "many" * 5_000}))
    sandbox.reply(text=json.dumps({"n": [3] * 5_000}))
    schema = {"type": "object", "properties": {"n": {"type": "array"}}, "required": ["n"]}
    await router.parse("safe", "How many?", schema=schema)


async def stream_parse(router: Any, sandbox: Any) -> None:
    from llm_router import SchemaValidationError

    sandbox.reply(text="[1, 2]")
    async with router.stream_parse("safe", "Which?", schema=list[int]) as numbers:
        async for _ in numbers.items:
            pass
    sandbox.reply(text='["many"]')
    with contextlib.suppress(SchemaValidationError):
        async with router.stream_parse("safe", "Which?", schema=list[int]) as numbers:
            async for _ in numbers:
                pass
    sandbox.reply(text=json.dumps([3] * 20_000))
    async with router.stream_parse("safe", "Which?", schema=list[int]) as numbers:
        async for _ in numbers:
            pass


async def stream(router: Any, sandbox: Any) -> None:
    sandbox.fail("http_503")
    async with router.stream("safe", "Hello") as events:
        await events.collect()


async def left_early(router: Any, sandbox: Any) -> None:
    async with router.stream("safe", "Hello") as events:
        await anext(events)


async def crowded(router: Any, sandbox: Any) -> None:
    """More callers than slots: the gates are waited for."""
    calls = [asyncio.ensure_future(router.complete("safe", f"{n}")) for n in range(4)]
    for call in calls:
        await asyncio.wait([call])
    for call in calls:
        if not call.cancelled() and (error := call.exception()):
            raise error


async def refused(router: Any, sandbox: Any) -> None:
    """More callers than may wait: the last ones are refused at once."""
    calls = (router.complete("safe", f"{n}") for n in range(24))
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def patient(router: Any, sandbox: Any) -> None:
    for _ in range(2):
        sandbox.fail("rate_limit", retry_after=0.1)
    await router.complete("safe", "Hello")


async def broken_early(router: Any, sandbox: Any) -> None:
    sandbox.fail("stream_error_first")
    async with router.stream("safe", "Hello", max_attempts=1):
        raise AssertionError("the stream begins in spite of its error")


async def broken_late(router: Any, sandbox: Any) -> None:
    sandbox.fail("cut_stream")
    async with router.stream("safe", "Hello") as events:
        await events.collect()


async def closed(router: Any, sandbox: Any) -> None:
    async with router.stream("safe", "Hello") as events:
        await events.aclose()


async def whole_life(router: Any, sandbox: Any) -> None:
    async with router:
        await router.complete("safe", "Hello")
        await router.report()
        await router.reconcile(limit=1)


async def embed(router: Any, sandbox: Any) -> None:
    sandbox.fail("http_503")
    await router.embed("openrouter/openai/text-embedding-3-small", ["a", "b"])


async def tasks(router: Any, sandbox: Any) -> None:
    await router.rerank("openrouter/cohere/rerank-v3.5", "a", ["a", "b"])
    await router.generate_image("openrouter/bytedance-seed/seedream-4.5", "a lamp")
    spoken = await router.speak("openrouter/openai/gpt-4o-mini-tts", "a lamp")
    await router.transcribe("openrouter/openai/whisper-1", spoken.data)
    await router.search("safe", "a lamp")


async def paced(router: Any, sandbox: Any) -> None:
    """A rate whose second caller waits, under a budget."""
    await router.budgets()
    for _ in range(2):
        await router.complete("paced", "Hello", max_cost=1)


async def shared(router: Any, sandbox: Any) -> None:
    """Other processes hold all slots of the alias for a while."""
    _, permits = router._engine.gates._gates
    await router.complete("safe", "Hello")
    permits._slots = True
    held = permits._state._slots["alias safe"] = {"one", "another"}
    asyncio.get_running_loop().call_later(0.1, held.clear)
    await router.complete("safe", "Hello")


STORIES = (
    complete, paced, shared, parse, parse_much, embed, tasks, stream, stream_parse,
    left_early, crowded, refused, patient, broken_early, broken_late, closed, whole_life,
)  # fmt: skip


def left_behind(router: Any) -> list[str]:
    """Return what a call has left open."""
    engine = router._engine
    slots = [name for held in engine.gates._gates[0]._slots.values() for name in held]
    requests = engine.ledger.logs(limit=100_000)
    started = [row.id for row in requests if row.status == "started"]
    open_attempts = [
        row.id for row in requests if len(engine.ledger.show(row.id).attempts) != row.attempts
    ]
    reserved = [key for key, purse in engine.state._purses.items() if purse.reserved]
    slots += [key for key, held in engine.state._slots.items() if held - {"one", "another"}]
    return [*slots, *started, *open_attempts, *reserved]


async def play(story: Any, sandbox: Any, folder: Path, site: int | None, error: Any) -> list[str]:
    from llm_router import Clock, Router

    sandbox.reset()
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, "concurrency": 2}
    path = folder / f"{story.__name__}.db"
    path.unlink(missing_ok=True)
    config = {
        "providers": {"openrouter": row},
        "aliases": {
            "safe": {
                "model": "openrouter/openai/gpt-4o-mini",
                "fallbacks": ["openrouter/anthropic/claude-haiku-4.5"],
                "concurrency": 2,
            },
            "paced": {"model": "openrouter/openai/gpt-4o-mini", "requests_per_minute": 12},
        },
        "budgets": [{"name": "all", "usd": 1000, "unpriced": "allow"}],
        "ledger": {"url": f"sqlite:///{path}", "durability": "strict"},
    }
    clock = Clock(random=lambda: 0.0, sleep=lambda s: asyncio.sleep(min(s, 0.01)))
    router = Router.from_dict(config, clock=clock)
    assert router.ledger is not None
    await asyncio.to_thread(router.ledger.upgrade)  # so that there are tables to look at
    Faults.site, Faults.error = site, error
    try:
        async with asyncio.timeout(20):
            await story(router, sandbox)
    except TimeoutError:
        return [f"{story.__name__} hangs"]
    except BaseException:
        pass
    Faults.site = None
    for _ in range(3):
        await asyncio.sleep(0)
    found = left_behind(router)
    await router.aclose()
    tasks = [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return [*found, *tasks]


def main() -> None:
    sys.meta_path.insert(0, _Finder())
    from llm_router.testing import Sandbox

    problems: list[str] = []
    played = 0
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(play(whole_life, sandbox, folder, None, None))  # imports what takes seconds
        passes: dict[Any, set[int]] = {}
        for story in STORIES:
            VISITED.clear()
            problems += asyncio.run(play(story, sandbox, folder, None, None))
            passes[story] = set(VISITED)
        for site, where in enumerate(SITES):
            for story in [s for s in STORIES if site in passes[s]][:MOST_STORIES]:
                for kind in kinds():
                    error = kind()
                    left = asyncio.run(play(story, sandbox, folder, site, error))
                    played += 1
                    problems += [f"{where} {story.__name__} {error!r}: {item}" for item in left]
    reached = set().union(*passes.values())
    missed = [where for site, where in enumerate(SITES) if site not in reached]
    told = {"problems": problems, "missed": missed, "sites": len(SITES), "played": played}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
