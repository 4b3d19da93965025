"""SyncRouter: the same calls without an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import BaseModel

from llm_router.answers.stream_events import TextDelta
from llm_router.errors import (
    NoEndpointError,
    StreamInterruptedError,
    UnknownAliasError,
)
from llm_router.sync import SyncRouter
from llm_router.testing import Reply, Sandbox
from tests.router.setup import CLAUDE, EAGER, GPT, configuration


class City(BaseModel):
    name: str


@pytest.fixture
def router(sandbox: Sandbox) -> Iterator[SyncRouter]:
    with SyncRouter.from_dict(configuration(sandbox), clock=EAGER) as router:
        yield router


OTHERS: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_of_this_test_alone() -> None:
    """A Router that another test dropped without closing it keeps its thread to the end."""
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def router_threads() -> list[str]:
    threads = set(threading.enumerate()) - OTHERS
    return [thread.name for thread in threads if thread.name.startswith("llm_router")]


def test_a_call_returns_what_its_asynchronous_twin_returns(
    router: SyncRouter, sandbox: Sandbox
) -> None:
    sandbox.fail("no_providers", match="gpt-4o-mini")
    reply = router.complete("safe", "Hi", max_tokens=9)
    assert reply.requested_model == CLAUDE
    assert reply.cost.total == sandbox.total_billed
    assert sandbox.chat_requests[-1].body["max_tokens"] == 9
    assert router.aliases == ("fast", "safe", "extract")
    assert list(router.config.aliases) == list(router.aliases)
    assert router.health()[GPT].state == "ready"
    assert router.ledger is None


def test_an_error_is_the_same_error(router: SyncRouter, sandbox: Sandbox) -> None:
    sandbox.fail("no_endpoints")
    with pytest.raises(NoEndpointError) as caught:
        router.complete("fast", "Hi")
    assert caught.value.alias == "fast"
    with pytest.raises(UnknownAliasError):
        router.complete("fst", "Hi")
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        router.complete("fast", "Hi", temprature=1)  # type: ignore[call-arg]  # the point


def test_parse_gives_the_object(router: SyncRouter, sandbox: Sandbox) -> None:
    sandbox.reply(text='{"name": "Bern"}')
    assert router.parse("extract", "Which?", schema=City).parsed == City(name="Bern")


def test_a_stream_is_read_with_with_and_for(router: SyncRouter, sandbox: Sandbox) -> None:
    sandbox.reply(text="a b c", chunks=["a ", "b ", "c"])
    with router.stream("fast", "Hi") as stream:
        assert list(stream.text_stream) == ["a ", "b ", "c"]
    assert stream.completion.cost.total == sandbox.total_billed
    with router.stream("fast", "Hi") as stream:
        assert isinstance(next(iter(stream)), TextDelta)
        assert stream.snapshot().text
        assert stream.collect() is stream.completion


def test_leaving_a_stream_early_closes_its_connection(router: SyncRouter, sandbox: Sandbox) -> None:
    sandbox.reply(Reply(text="a b c d e f", chunks=6, chunk_delay=0.05))
    with router.stream("fast", "Hi") as stream:
        for _ in stream:
            break
    sandbox.wait_idle()
    assert sandbox.chat_requests[0].disconnected
    assert stream.snapshot().attempts[0].status == "cancelled"


def test_a_broken_stream_raises_with_what_came(router: SyncRouter, sandbox: Sandbox) -> None:
    sandbox.fail("stream_error")
    with (
        pytest.raises(StreamInterruptedError) as caught,
        router.stream("fast", "one two three") as stream,
    ):
        for _ in stream:
            pass
    assert caught.value.partial.text


def test_several_threads_share_a_router_that_was_never_opened(sandbox: Sandbox) -> None:
    """The first calls race for the loop: only one is started."""
    router = SyncRouter.from_dict(configuration(sandbox))
    before = len(router_threads())
    barrier = threading.Barrier(8)

    def call(n: int) -> str:
        barrier.wait()
        return router.complete("fast", f"Say {n}").text

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(call, range(8)))
    assert all(f"Say {n}" in text for n, text in enumerate(texts))
    assert len(router_threads()) == before + 1
    router.close()
    assert len(router_threads()) == before


async def test_it_works_from_a_thread_while_a_loop_runs(sandbox: Sandbox) -> None:
    with SyncRouter.from_dict(configuration(sandbox)) as router:
        here = router.complete("fast", "Here, as in a notebook").text
        there = await asyncio.to_thread(router.complete, "fast", "There")
    assert here and there.text


def test_close_is_idempotent_and_a_later_call_opens_again(sandbox: Sandbox) -> None:
    router = SyncRouter.from_dict(configuration(sandbox))
    router.close()
    assert router.complete("fast", "Hi").text
    router.close()
    router.close()
    assert not router_threads()
    assert router.complete("fast", "Hi").text
    router.close()


def test_every_way_to_build_one_works(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "router.yaml"
    file.write_text(f"version: 1\naliases: {{fast: {{model: {GPT}}}}}\n")
    config = SyncRouter.from_yaml(file).config
    for router in (SyncRouter.from_yaml(file), SyncRouter(config), SyncRouter.from_env()):
        with router:
            assert router.complete(GPT, "Hi").text


def test_explain_needs_no_thread(sandbox: Sandbox) -> None:
    router = SyncRouter.from_dict(configuration(sandbox))
    assert router.explain("fast").candidates[0].deployment == GPT
    assert not router_threads()


_NEVER_CLOSED = """
import sys
from llm_router import SyncRouter
router = SyncRouter.from_env()
print(router.complete("openrouter/openai/gpt-4o-mini", "Hi").text)
"""


@pytest.mark.parametrize("ending", ["", "1 / 0"])
def test_the_program_ends_although_the_router_was_never_closed(
    sandbox: Sandbox, ending: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _NEVER_CLOSED + ending],
        env={**sandbox.env, "PATH": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "sandbox's answer" in done.stdout
    assert done.returncode == (1 if ending else 0)
    assert "Warning" not in done.stderr
    assert "never" not in done.stderr
    if ending != "1 / 0":
        assert not done.stderr
