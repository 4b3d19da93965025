"""What leaves for a provider has a row in the ledger, and LiteLLM has no part in reading answers.

A loopback server counts what reaches it, every connection of the process is noted, and a profiler
in the loop's thread notes where LiteLLM runs: only beneath the `build` of a request.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from llm_router import Router
from llm_router.errors import LLMRouterError
from tests.providers.foreign import KEY, KINDS, MODELS, streamed, whole
from tests.providers.scripted import DONE, Wire, answer, chunk, wire
from tests.providers.test_foreign_calls import base, sending
from tests.router.setup import EAGER, until

OPENAI_SHAPED = ("openai", "openrouter")
HELLO = "Hello"
Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """One provider's Router with a ledger, before a server that plays what it is told to."""

    def __init__(self, kind: str, server: Wire, folder: Path, **more: Any) -> None:
        self.kind, self.server = kind, server
        model = MODELS.get(kind, "some/model")
        url = server.url if kind in OPENAI_SHAPED else base(server)
        row = {"litellm": kind, "base_url": url, "api_key": KEY, **more}
        alias = {"model": f"one/{model}", "fallbacks": [f"two/{model}"]}
        self.router = Router.from_dict(
            {
                "providers": {"one": row, "two": row},
                "aliases": {"it": alias},
                "ledger": {"url": f"sqlite:///{folder}/calls.db"},
            },
            clock=EAGER,
        )

    def answers(self) -> None:
        self.server.json(answer() if self.kind in OPENAI_SHAPED else whole(self.kind))

    def streams(self, *, cut: bool = False) -> None:
        pieces = streamed(self.kind) if self.kind not in OPENAI_SHAPED else _OPENAI_STREAM
        self.server.replies.append(sending(self.kind, pieces[:1] if cut else pieces))

    def fails(self, status: int, times: int = 1) -> None:
        for _ in range(times):
            self.server.json({"message": "Not now"}, status)

    def stalls(self) -> None:
        async def never(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(30)
            raise AssertionError("nobody waits so long")

        self.server.replies.append(never)

    async def texts(self) -> str:
        async with self.router.stream("it", HELLO) as stream:
            return "".join([text async for text in stream.text_stream])

    async def recorded(self) -> int:
        """Return how many attempts have a row."""
        ledger = self.router.ledger
        assert ledger is not None
        await ledger.flush()

        def count() -> int:
            return sum(len(ledger.show(row.id).attempts) for row in ledger.logs(limit=100))

        return await asyncio.to_thread(count)


_OPENAI_STREAM = [
    chunk({"content": "hi"}).encode(),
    (
        chunk({}, "stop") + chunk(usage={"prompt_tokens": 10, "completion_tokens": 2}) + DONE
    ).encode(),
]


async def _a_text(stage: Stage) -> None:
    stage.answers()
    assert (await stage.router.complete("it", HELLO)).text == "hi"


async def _a_stream(stage: Stage) -> None:
    stage.streams()
    assert await stage.texts() == "hi"


async def _a_retry(stage: Stage) -> None:
    stage.fails(503)
    stage.answers()
    assert len((await stage.router.complete("it", HELLO)).attempts) == 2


async def _a_fallback(stage: Stage) -> None:
    stage.fails(401)
    stage.streams()
    assert await stage.texts() == "hi"


async def _a_timeout(stage: Stage) -> None:
    stage.stalls()
    stage.answers()
    assert len((await stage.router.complete("it", HELLO, timeout=0.5)).attempts) == 2


async def _a_failure_everywhere(stage: Stage) -> None:
    stage.fails(503, times=8)
    with pytest.raises(LLMRouterError):
        await stage.router.complete("it", HELLO, max_attempts=3)


async def _a_stream_that_is_cut(stage: Stage) -> None:
    stage.streams(cut=True)
    with pytest.raises(LLMRouterError):
        await stage.texts()


async def _a_stream_that_is_left(stage: Stage) -> None:
    stage.streams()
    async with stage.router.stream("it", HELLO) as stream:
        await anext(aiter(stream))


async def _a_cancelled_call(stage: Stage) -> None:
    stage.stalls()
    before = len(stage.server.requests)
    call = asyncio.create_task(stage.router.complete("it", HELLO))
    await until(lambda: len(stage.server.requests) > before)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


SCENES: dict[str, tuple[Scene, int]] = {
    "a text": (_a_text, 1),
    "a stream": (_a_stream, 1),
    "a retry": (_a_retry, 2),
    "a fallback": (_a_fallback, 2),
    "a timeout": (_a_timeout, 2),
    "a failure everywhere": (_a_failure_everywhere, 3),
    "a cut stream": (_a_stream_that_is_cut, 1),
    "a stream left early": (_a_stream_that_is_left, 1),
    "a cancelled call": (_a_cancelled_call, 1),
}


@contextmanager
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Any]]:
    """Note the addresses that the process connects to."""
    found: set[Any] = set()
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            found.add(address[1])
        connect(self, address)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", noted)
        yield found


def _is_building(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name == "build" and "/llm_router/providers/" in code.co_filename:
            return True
        frame = frame.f_back
    return False


@contextmanager
def litellm_on_the_loop() -> Iterator[dict[bool, set[str]]]:
    """Note LiteLLM's functions that run in this thread: True while a request is built, or False."""
    found: dict[bool, set[str]] = {True: set(), False: set()}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and "/litellm/" in code.co_filename:
            found[_is_building(frame)].add(f"{code.co_filename}:{code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("kind", [*KINDS, *OPENAI_SHAPED])
async def test_every_request_has_a_row_and_litellm_only_builds_when_calls_go_well_and_badly(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire() as server:
        stage = Stage(kind, server, tmp_path)
        async with stage.router:
            with connections(monkeypatch) as ports, litellm_on_the_loop() as ran:
                for name, (play, sent) in SCENES.items():
                    server.replies.clear()
                    before = len(server.requests)
                    await play(stage)
                    assert len(server.requests) - before == sent, name
                    assert await stage.recorded() == len(server.requests), name
    assert ports == {int(server.url.rpartition(":")[2].partition("/")[0])}
    assert ran[False] == set()
    assert ran[True], "the profiler sees nothing"


async def test_the_profiler_sees_litellm_when_it_reads_the_answers(tmp_path: Path) -> None:
    async with wire() as server:
        stage = Stage("openai", server, tmp_path, path="acompletion")
        async with stage.router:
            with litellm_on_the_loop() as ran:
                stage.answers()
                await stage.router.complete("it", HELLO)
    assert ran[False]
