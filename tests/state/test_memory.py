"""Purses and rates: exact, all or nothing, settled once, and the law under any interleaving."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.state.memory import Claim, Memory, Standing, units, usd

FOR_EVER = float("inf")


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def memory() -> tuple[Memory, Time]:
    time = Time()
    return Memory(time, time), time


def claim(key: str, limit: int, amount: int, ends_at: float = FOR_EVER) -> Claim:
    return Claim(key, limit, amount, ends_at)


def test_money_is_exact_and_rounded_up_when_it_is_finer_than_a_unit() -> None:
    assert usd(units(Decimal("0.000000000001"))) == Decimal("0.000000000001")
    assert units(Decimal("0.0000000000011")) == 2
    assert units(Decimal("50")) == 50 * 10**12


async def test_no_purse_is_touched_when_one_of_them_has_no_room() -> None:
    state, _ = memory()
    verdict = await state.reserve("1", [claim("wide", 10, 5), claim("narrow", 4, 5)])
    assert (verdict.refused, verdict.left) == (1, (10, 4))
    assert state.known(["wide", "narrow"]) == [Standing(), Standing()]
    assert (await state.reserve("1", [claim("wide", 10, 4), claim("narrow", 4, 4)])).left == (6, 0)


async def test_nothing_is_taken_twice_when_a_reserve_is_repeated() -> None:
    state, _ = memory()
    for _ in range(3):
        assert (await state.reserve("1", [claim("day", 10, 6)])).left == (4,)


async def test_only_the_first_settle_counts_when_it_is_repeated() -> None:
    state, _ = memory()
    await state.reserve("1", [claim("day", 10, 6)])
    for actual in (2, 9, None):
        state.settle("1", ["day"], actual)
    assert state.known(["day"]) == [Standing(spent=2)]


async def test_what_was_reserved_counts_as_spent_when_nobody_knows_the_bill() -> None:
    state, _ = memory()
    await state.reserve("1", [claim("day", 10, 6)])
    state.settle("1", ["day"], None)
    assert state.known(["day"]) == [Standing(spent=6)]


async def test_what_is_free_is_granted_when_a_purse_is_empty() -> None:
    state, _ = memory()
    await state.reserve("1", [claim("day", 1, 1)])
    assert (await state.reserve("2", [claim("day", 1, 0)])).refused is None
    assert (await state.reserve("3", [claim("day", 1, 1)])).refused == 0


async def test_windows_are_forgotten_when_they_are_over() -> None:
    state, time = memory()
    await state.reserve("1", [claim("old", 10, 6, ends_at=50)])
    time.now = 100.0
    await state.reserve("2", [claim("new", 10, 6)])
    state.settle("1", ["old"], 6)
    assert state.known(["old", "new"]) == [Standing(), Standing(reserved=6)]


CALLS = st.lists(
    st.tuples(
        st.integers(0, 40),  # reserved
        st.one_of(st.none(), st.integers(0, 60)),  # billed; None: never settled
        st.integers(0, 6),  # how many later calls begin before it ends
    ),
    max_size=40,
)


@given(CALLS, st.integers(1, 200), st.integers(1, 200))
def test_the_law_holds_when_calls_overlap_in_any_way_and_settles_are_repeated(
    calls: list[tuple[int, int | None, int]], limit: int, other: int
) -> None:
    """Billed ≤ limit + Σ max(0, actual - reserved) over the calls that were in flight when the
    last one was let in, and those whose bill never came (here twice what was reserved)."""

    async def story() -> None:
        state, _ = memory()
        flying: dict[str, tuple[int, int | None, int]] = {}
        billed, lost, bound = 0, 0, limit
        for number, (amount, actual, last) in enumerate(calls):
            for name in [n for n, (_, _, ends) in flying.items() if ends <= number]:
                reserved, bill, _ = flying.pop(name)
                if bill is None:
                    billed, lost = billed + 2 * reserved, lost + reserved
                    continue
                billed += bill
                for _ in range(2):
                    state.settle(name, ["a", "b"], bill)
            claims = [claim("a", limit, amount), claim("b", other, amount)]
            verdict = await state.reserve(str(number), claims)
            if verdict.refused is None and amount:
                flying[str(number)] = (amount, actual, number + last)
                bound = limit + lost
                bound += sum(_beyond(reserved, bill) for reserved, bill, _ in flying.values())
        billed += sum(2 * r if bill is None else bill for r, bill, _ in flying.values())
        assert billed <= bound

    asyncio.run(story())


def _beyond(reserved: int, bill: int | None) -> int:
    return reserved if bill is None else max(0, bill - reserved)


async def test_a_rate_lets_through_its_number_and_the_burst_when_callers_never_wait() -> None:
    state, time = memory()
    passed = 0
    while time.now < 60.0:
        passed += await state.take("requests", 600, 1, patience=0.0) == 0.0
        time.now += 0.01
    assert 600 <= passed <= 606


async def test_callers_are_due_in_the_order_they_booked_when_a_rate_is_used_up() -> None:
    state, _ = memory()
    waits = [await state.take("requests", 60, 1, patience=10.0) for _ in range(20)]
    assert waits[:11] == pytest.approx(range(11))
    assert all(wait == pytest.approx(11) for wait in waits[11:]), "refused: nothing was booked"


async def test_tokens_come_back_when_the_estimate_was_too_high() -> None:
    state, _ = memory()
    assert await state.take("tokens", 600, 600, patience=0) == 0
    assert await state.take("tokens", 600, 10, patience=0) > 50
    state.give_back("tokens", 600, 597)
    assert await state.take("tokens", 600, 3, patience=0) == 0
    state.give_back("tokens", 600, -600)
    assert await state.take("tokens", 600, 10, patience=0) > 50


async def test_a_rate_gives_back_no_more_than_its_burst_when_it_is_idle() -> None:
    state, _ = memory()
    state.give_back("tokens", 600, 1_000)
    waits = [await state.take("tokens", 600, 1, patience=0) for _ in range(7)]
    assert [wait == 0 for wait in waits] == [True] * 6 + [False]
