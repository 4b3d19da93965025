"""Whatever is raised, wherever: a call that ends leaves nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, field_validator

from llm_router.answers.completion import Completion
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.answers.stream_events import TextDelta
from llm_router.errors import (
    AuthenticationError,
    ProviderConnectionError,
    ProviderError,
    RateLimitError,
    SchemaValidationError,
    StreamInterruptedError,
)
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router import await_faults
from tests.router.setup import EAGER, GPT, configuration

ONE_SLOT = {"one": {"model": GPT, "concurrency": 1}}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.timeout(300)
def test_nothing_is_left_open_when_a_fault_is_raised_at_any_await_of_a_call() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", await_faults.__name__]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    told = json.loads(shown.stdout.splitlines()[-1])
    assert told["problems"] == []
    assert told["missed"] == [], "no story comes by these places"
    assert told["sites"] > 30 and told["played"] > 4 * told["sites"]


def slots_of(router: Router) -> dict[str, Any]:
    concurrency, *_ = router._engine.gates._gates
    held = concurrency._slots  # type: ignore[attr-defined]  # what is tried is its inside
    return {name: slots for names in held.values() for name, slots in names.items()}


async def test_an_alias_with_one_slot_serves_every_reask(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    for text in ("{}", "{}", '{"n": 1}'):
        sandbox.reply(text=text)
    router = routed(aliases=ONE_SLOT)
    parsed = await router.parse("one", "How many?", schema=NUMBER, deadline=10)
    assert parsed.reasks == 2 and parsed.parsed == {"n": 1}
    assert slots_of(router) == {}
    assert (await router.complete("one", "Still there?", deadline=10)).text


class Careless(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def _looks_up(cls, value: int) -> int:
        return {1: 1}[value]


async def test_a_validator_that_raises_is_a_schema_error_with_its_cause(
    sandbox: Sandbox, routed: Callable[..., Router], tmp_path: Path
) -> None:
    sandbox.reply(text='{"n": 2}')
    ledger = {"url": f"sqlite:///{tmp_path}/calls.db", "durability": "strict"}
    router = routed(aliases=ONE_SLOT, ledger=ledger)
    with pytest.raises(SchemaValidationError, match="KeyError") as caught:
        await router.parse("one", "How many?", schema=Careless)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.raw_texts == ('{"n": 2}',) and sandbox.requests[0].status == 200
    assert caught.value.cost is not None and caught.value.cost.total is not None
    assert slots_of(router) == {}
    assert router.ledger is not None
    (row,) = router.ledger.logs()
    assert (row.status, row.error, row.attempts) == ("failed", "SchemaValidationError", 1)


class Raising:
    """An observer that raises at a moment of its choice."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.told = 0

    def _raise_at(self, moment: str) -> None:
        if moment == self.moment:
            self.told += 1
            raise RuntimeError("an observer of the application")

    def request_started(self, record: RequestStarted) -> None:
        self._raise_at("request_started")

    def attempt_finished(self, record: AttemptFinished) -> None:
        self._raise_at("attempt_finished")

    def request_finished(self, record: RequestFinished) -> None:
        self._raise_at("request_finished")


@pytest.mark.parametrize("moment", ["request_started", "attempt_finished", "request_finished"])
async def test_a_paid_answer_is_returned_when_an_observer_raises(
    sandbox: Sandbox, log: list[Any], moment: str
) -> None:
    observer = Raising(moment)
    config = configuration(sandbox, aliases=ONE_SLOT)
    async with Router.from_dict(config, clock=EAGER, observers=[observer]) as router:
        for _ in range(3):
            assert (await router.complete("one", "Hello")).text
        assert observer.told == 3 and slots_of(router) == {}
    told = [event for event in log if event["event"] == "llm_router.observer_failed"]
    assert [(event["observer"], event["reason"]) for event in told] == [("Raising", "RuntimeError")]


async def test_a_paid_answer_is_returned_when_a_processor_of_structlog_raises(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(*_: Any) -> Any:
        raise RuntimeError("a processor of the application")

    structlog.configure(processors=[raising])
    try:
        config = configuration(sandbox, aliases=ONE_SLOT)
        async with Router.from_dict(config, clock=EAGER) as router:
            assert (await router.complete("one", "Hello")).text
            assert slots_of(router) == {}
    finally:
        structlog.reset_defaults()
    assert "structlog raised RuntimeError on llm_router.attempt_finished" in caplog.text


class BreakingStream:
    """A stream that breaks in a way of its own after its first content."""

    idle_timeout: float | None = None

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = 0

    async def __aiter__(self) -> Any:
        yield TextDelta("so far")
        raise self.error

    def snapshot(self) -> Completion:
        return Completion(text="so far")

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a defect"), ProviderConnectionError("cut"), OSError(5, "io")]
)
async def test_every_error_after_the_first_content_is_an_interrupted_stream(
    routed: Callable[..., Router], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    router, broken = routed(aliases=ONE_SLOT), BreakingStream(error)
    await router.open()

    async def stream(_request: Any) -> BreakingStream:
        return broken

    monkeypatch.setattr(router._engine.providers["openrouter"], "stream", stream)
    with pytest.raises(StreamInterruptedError) as caught:
        async with router.stream("one", "Hello") as events:
            await events.collect()
    assert caught.value.__cause__ is error
    partial = caught.value.partial
    assert (partial.text, partial.requested_model, partial.alias) == ("so far", GPT, "one")
    assert slots_of(router) == {} and broken.closed >= 1


async def test_contradicting_options_are_refused_before_an_attempt(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(aliases={"short": {"model": GPT, "params": {"max_tokens": 512}}})
    with pytest.raises(ValueError, match="leaves nothing of max_tokens"):
        await router.complete("short", "Think.", reasoning=2000)
    assert sandbox.requests == []
    assert router.health()[GPT].recent_failure_rate is None


async def test_a_deployment_stays_ready_when_it_refuses_a_structured_mode_again_and_again(
    sandbox: Sandbox, routed: Callable[..., Router]
) -> None:
    router = routed(aliases={"extract": {"model": GPT}})
    for _ in range(3):
        sandbox.fail("no_parameter_endpoints")
    sandbox.reply(text='{"n": 1}')
    parsed = await router.parse("extract", "How many?", schema=NUMBER)
    assert [a.status for a in parsed.attempts] == ["failed", "failed", "failed", "succeeded"]
    assert parsed.mode_used == "prompt"
    assert router.health()[GPT].state == "ready"


async def test_closing_goes_on_when_a_provider_does_not_close(
    sandbox: Sandbox, log: list[Any], tmp_path: Path
) -> None:
    ledger = {"url": f"sqlite:///{tmp_path}/calls.db"}
    router = Router.from_dict(configuration(sandbox, ledger=ledger))
    await router.complete("fast", "Hello")

    async def raising() -> None:
        raise ProviderError("it does not close")

    provider = router._engine.providers["openrouter"]
    really, provider.aclose = provider.aclose, raising
    await router.aclose()
    await really()
    assert [e["provider"] for e in log if e["event"] == "llm_router.close_failed"] == ["openrouter"]
    assert router.ledger is not None
    assert [row.status for row in router.ledger.logs()] == ["succeeded"]


async def test_a_stream_collected_in_another_thread_ends_on_its_own_loop(
    routed: Callable[..., Router],
) -> None:
    router = routed(aliases=ONE_SLOT)
    held = [router.stream("one", "Hello")]
    await held[0].__aenter__()
    await asyncio.to_thread(held.clear)  # the last reference goes there
    async with asyncio.timeout(5):
        assert (await router.complete("one", "Next")).text  # its slot was given back
    assert slots_of(router) == {}


@pytest.mark.parametrize("ending", ["complete", "stream", "cut", "left"])
async def test_the_rows_of_a_call_are_there_when_it_raises_or_returns_under_strict(
    sandbox: Sandbox, routed: Callable[..., Router], tmp_path: Path, ending: str
) -> None:
    """Looked at from outside: the ledger's own reading would wait for what is queued."""
    path = tmp_path / "calls.db"
    router = routed(ledger={"url": f"sqlite:///{path}", "durability": "strict"})
    if ending in ("complete", "stream"):
        sandbox.fail("unauthorized")
        with pytest.raises(AuthenticationError):
            if ending == "complete":
                await router.complete("fast", "Hello")
            else:
                await router.stream("fast", "Hello").__aenter__()
    elif ending == "cut":
        sandbox.fail("cut_stream")
        with pytest.raises(StreamInterruptedError):
            async with router.stream("fast", "Hello") as stream:
                await stream.collect()
    else:
        async with router.stream("fast", "Hello") as stream:
            await anext(stream)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT status, attempts FROM llm_requests").fetchall()
    assert rows == [("cancelled" if ending == "left" else "failed", 1)]


async def test_an_interrupted_stream_names_the_wait_of_its_cause(
    routed: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = RateLimitError("slow down", status_code=429, code="rate_limit", retry_after=7.5)
    router, broken = routed(aliases=ONE_SLOT), BreakingStream(limited)
    await router.open()

    async def stream(_request: Any) -> BreakingStream:
        return broken

    monkeypatch.setattr(router._engine.providers["openrouter"], "stream", stream)
    with pytest.raises(StreamInterruptedError, match="slow down") as caught:
        async with router.stream("one", "Hello") as events:
            await events.collect()
    error = caught.value
    assert (error.retry_after, error.status_code, error.code) == (7.5, 429, "rate_limit")
