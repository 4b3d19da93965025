"""Many calls at once while one request in five fails: all end well, and none ends wrongly.

The short form of `benchmarks/faults_under_load.py`, which also says what is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.errors import StreamInterruptedError
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, GPT

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from faults_under_load import MAX_ATTEMPTS, SEED, Cut, load
from faulty_server import Faults

CALLS = 400
ROW = {
    "model": GPT, "fallbacks": [CLAUDE], "timeout": 2.0, "idle_timeout": 1.0,
    "deadline": 60.0, "max_attempts": MAX_ATTEMPTS,
}  # fmt: skip
# Back-off is a tenth as long as usual, so that the suite stays quick; a Retry-After is whole.
HASTY = Clock(random=lambda: 0.05)


class Records:
    """Counts what an observer, the ledger for one, is told."""

    def __init__(self) -> None:
        self.started = 0
        self.attempts: list[AttemptFinished] = []
        self.finished: list[RequestFinished] = []

    def request_started(self, record: RequestStarted) -> None:
        self.started += 1

    def attempt_finished(self, record: AttemptFinished) -> None:
        self.attempts.append(record)

    def request_finished(self, record: RequestFinished) -> None:
        self.finished.append(record)


def router_for(sandbox: Sandbox, records: Records) -> Router:
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    config = {"providers": {"openrouter": row}, "aliases": {"fast": ROW}}
    return Router.from_dict(config, clock=HASTY, observers=[records])


def asking(router: Router, *, stream: bool) -> Callable[[str], Awaitable[str]]:
    async def ask(text: str) -> str:
        return (await router.complete("fast", text)).text

    async def ask_stream(text: str) -> str:
        try:
            async with router.stream("fast", text) as answer:
                return (await answer.collect()).text
        except StreamInterruptedError as error:
            raise Cut from error

    return ask_stream if stream else ask


@pytest.mark.parametrize("stream", [False, True], ids=["texts", "streams"])
async def test_every_call_is_answered_rightly_when_one_request_in_five_fails(
    sandbox: Sandbox, stream: bool
) -> None:
    faults, records = Faults(SEED, stream), Records()
    sandbox.on(None, faults)
    async with router_for(sandbox, records) as router:
        tally = await load(asking(router, stream=stream), CALLS)
    # Six attempts fail together in 6 of 100,000 calls; the order of arrival decides which.
    lost = tally.failed.total()
    assert not tally.wrong and lost <= 2
    assert tally.right + tally.cut + lost == CALLS
    # A stream that fails after its first content cannot be saved, only told.
    interrupted = sum(record.status == "failed" for record in records.finished)
    assert tally.cut + lost == interrupted <= (CALLS * 0.04 if stream else 2)
    assert max(faults.by_prompt.values()) <= MAX_ATTEMPTS
    assert faults.played.total() > CALLS * 0.15
    assert len(records.attempts) == faults.by_prompt.total(), "each request is recorded once"
    assert records.started == len(records.finished) == CALLS
