"""The laws of every state, in memory and in Valkey: exact, all or nothing, counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_router.state.base import (
    Ask,
    Claim,
    Rate,
    Slot,
    Standing,
    State,
    Verdict,
    units,
    usd,
)

FOR_EVER = float("inf")


def ask(name: str, *claims: Claim, **more: object) -> Ask:
    return replace(Ask(name, claims=claims), **more)  # type: ignore[arg-type]  # of all fields


def claim(key: str, limit: int, amount: int, ends_at: float = FOR_EVER) -> Claim:
    return Claim(key, limit, amount, ends_at)


def test_money_is_exact_and_rounded_up_when_it_is_finer_than_a_unit() -> None:
    assert usd(units(Decimal("0.000000000001"))) == Decimal("0.000000000001")
    assert units(Decimal("0.0000000000011")) == 2
    assert units(Decimal("50")) == 50 * 10**12


async def test_no_purse_is_touched_when_one_of_them_has_no_room(state: State) -> None:
    verdict = await state.enter(ask("1", claim("wide", 10, 5), claim("narrow", 4, 5)))
    assert (verdict.short, verdict.place, verdict.left) == ("claim", 1, (10, 4))
    assert set((await state.standings()).values()) <= {Standing()}
    verdict = await state.enter(ask("1", claim("wide", 10, 4), claim("narrow", 4, 4)))
    assert (verdict.short, verdict.left) == (None, (6, 0))


async def test_nothing_is_taken_when_any_part_of_an_ask_has_no_room(state: State) -> None:
    slot, rate = Slot("s", "holder", 1), Rate("r", 60, 1)
    await state.enter(ask("0", slots=(slot,)))
    whole = ask("1", claim("day", 10, 6), slots=(replace(slot, who="1"),), rates=(rate,))
    assert (await state.enter(whole)).short == "slot"
    free = replace(whole, slots=())
    assert (await state.enter(replace(free, claims=(claim("day", 10, 11),)))).short == "claim"
    verdict = await state.enter(free)
    assert (verdict.short, verdict.wait, verdict.left) == (None, 0.0, (4,))
    assert (await state.enter(ask("2", claim("day", 10, 1), rates=(rate,)))).short == "rate"
    assert (await state.standings())["day"] == Standing(reserved=6)


async def test_nothing_is_taken_twice_when_an_ask_is_repeated(state: State) -> None:
    for _ in range(3):
        assert (await state.enter(ask("1", claim("day", 10, 6)))).left == (4,)


async def test_only_the_first_bill_counts_when_it_is_handed_in_again(state: State) -> None:
    asked = ask("1", claim("day", 10, 6))
    verdict = await state.enter(asked)
    for actual in (2, 9, None):
        state.leave(asked, verdict, actual, [])
    assert (await state.enter(ask("2", claim("day", 10, 0)))).left == (8,)
    assert (await state.standings())["day"] == Standing(spent=2)


async def test_what_was_reserved_counts_as_spent_when_nobody_knows_the_bill(state: State) -> None:
    asked = ask("1", claim("day", 10, 6))
    state.leave(asked, await state.enter(asked), None, [])
    assert (await state.enter(ask("2", claim("day", 10, 0)))).left == (4,)
    assert state.known(["day"]) == [Standing(spent=6)]


async def test_what_is_free_is_granted_when_a_purse_is_empty(state: State) -> None:
    await state.enter(ask("1", claim("day", 1, 1)))
    assert (await state.enter(ask("2", claim("day", 1, 0)))).short is None
    assert (await state.enter(ask("3", claim("day", 1, 1)))).short == "claim"


async def test_sums_are_exact_when_they_are_beyond_what_a_float_can_hold(state: State) -> None:
    million = 10**18
    asked = ask("1", claim("day", million, million - 1))
    verdict = await state.enter(asked)
    assert verdict.left == (1,)
    assert (await state.enter(ask("2", claim("day", million, 2)))).short == "claim"
    assert (await state.enter(ask("3", claim("day", million, 1)))).left == (0,)
    state.leave(asked, verdict, million - 3, [])
    assert (await state.enter(ask("4", claim("day", million, 3)))).short == "claim"
    assert (await state.enter(ask("5", claim("day", million, 2)))).left == (0,)


async def test_a_purse_asks_for_its_seed_when_nobody_has_touched_it(state: State) -> None:
    known, unknown = claim("known", 10, 1), replace(claim("kept", 10, 1), seed=None, kept=True)
    verdict = await state.enter(ask("1", known, unknown))
    assert (verdict.short, verdict.place) == ("seed", 1)
    assert (await state.enter(ask("1", known, replace(unknown, seed=7)))).left == (9, 2)
    assert (await state.enter(ask("2", unknown))).left == (1,)
    assert (await state.enter(ask("3", replace(unknown, seed=0)))).left == (0,)


async def test_a_limit_holds_at_once_when_the_configuration_changes_it(state: State) -> None:
    assert (await state.enter(ask("1", claim("day", 10, 6)))).left == (4,)
    assert (await state.enter(ask("2", claim("day", 5, 1)))).short == "claim"
    assert (await state.enter(ask("3", claim("day", 20, 1)))).left == (13,)


CALLS = st.lists(
    st.tuples(
        st.integers(0, 40),  # reserved
        st.one_of(st.none(), st.integers(0, 60)),  # billed; None: never settled
        st.integers(0, 6),  # how many later calls begin before it ends
    ),
    max_size=40,
)


@given(CALLS, st.integers(1, 200), st.integers(1, 200))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_law_holds_when_calls_overlap_in_any_way_and_bills_are_repeated(
    new_state: Callable[[], State],
    calls: list[tuple[int, int | None, int]],
    limit: int,
    other: int,
) -> None:
    """Billed ≤ limit + Σ max(0, actual - reserved) over the calls that were in flight when the
    last one was let in, and those whose bill never came (here twice what was reserved)."""

    async def story(state: State) -> None:
        flying: dict[str, tuple[Ask, Verdict, int, int | None, int]] = {}
        billed, lost, bound = 0, 0, limit
        for number, (amount, actual, last) in enumerate(calls):
            for name in [n for n, (*_, ends) in flying.items() if ends <= number]:
                asked, verdict, reserved, bill, _ = flying.pop(name)
                if bill is None:
                    billed, lost = billed + 2 * reserved, lost + reserved
                    continue
                billed += bill
                for _ in range(2):
                    state.leave(asked, verdict, bill, [])
            asked = ask(str(number), claim("a", limit, amount), claim("b", other, amount))
            verdict = await state.enter(asked)
            if verdict.short is None and amount:
                flying[asked.id] = (asked, verdict, amount, actual, number + last)
                bound = limit + lost
                bound += sum(_beyond(reserved, bill) for *_, reserved, bill, _ in flying.values())
        billed += sum(2 * r if bill is None else bill for *_, r, bill, _ in flying.values())
        assert billed <= bound

    async def whole() -> None:
        state = new_state()
        await story(state)
        await state.aclose()

    asyncio.run(whole())


def _beyond(reserved: int, bill: int | None) -> int:
    return reserved if bill is None else max(0, bill - reserved)


async def waits(state: State, rate: Rate, count: int, patience: float) -> list[float]:
    asks = [ask(f"{n}", rates=(rate,), patience=patience) for n in range(count)]
    return [(await state.enter(asked)).wait for asked in asks]


async def test_callers_are_due_in_the_order_they_booked_when_a_rate_is_used_up(
    state: State,
) -> None:
    found = await waits(state, Rate("r", 6, 1), 20, patience=100.5)
    assert found[:11] == pytest.approx([10 * n for n in range(11)], abs=1)
    assert found[11:] == pytest.approx([110] * 9, abs=1), "refused: nothing was booked"


async def test_one_percent_of_a_minute_may_go_at_once_when_a_rate_was_idle(state: State) -> None:
    found = await waits(state, Rate("r", 1_000, 1), 30, patience=0)
    assert 10 <= found.count(0.0) <= 14


async def test_tokens_come_back_when_the_estimate_was_too_high(state: State) -> None:
    rate = Rate("tokens", 600, 600)
    first = ask("1", rates=(rate,))
    verdict = await state.enter(first)
    assert verdict.wait == 0
    small = ask("2", rates=(replace(rate, cost=3),))
    assert (await state.enter(small)).wait > 50
    state.leave(first, verdict, 0, [597])
    verdict = await state.enter(small)
    assert (verdict.short, verdict.wait) == (None, 0)
    state.leave(small, verdict, 0, [-600])
    assert (await state.enter(ask("3", rates=(replace(rate, cost=3),)))).wait > 50


async def test_a_rate_gives_back_no_more_than_its_burst_when_it_is_idle(state: State) -> None:
    big = ask("1", rates=(Rate("r", 600, 1_000),), patience=1_000)
    state.leave(big, await state.enter(big))
    assert (await waits(state, Rate("r", 600, 1), 20, patience=0)).count(0.0) in (6, 7)


async def test_no_more_hold_a_slot_than_there_are(state: State) -> None:
    def one(who: str) -> Ask:
        return ask(who, slots=(Slot("s", who, 2),))

    first = await state.enter(one("a"))
    for who in ("b", "a"):
        assert (await state.enter(one(who))).short is None
    assert (await state.enter(one("c"))).short == "slot"
    state.leave(one("a"), first)
    assert (await state.enter(one("c"))).short is None
    assert (await state.enter(one("a"))).short == "slot"


async def test_nothing_is_held_when_who_asked_has_gone(state: State) -> None:
    """The ask is under way when it is cancelled, at any moment."""
    for number in range(20):
        asked = ask(
            f"{number}",
            claim("day", 100, 5),
            slots=(Slot("s", f"{number}", 1),),
            rates=(Rate("r", 60_000, 1),),
        )
        task = asyncio.ensure_future(state.enter(asked))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        if not task.cancel():
            state.leave(asked, task.result())
        elif (done := await asyncio.gather(task, return_exceptions=True)) and isinstance(
            done[0], Verdict
        ):
            state.leave(asked, done[0])
        await asyncio.sleep(0.005)
    assert (await state.enter(ask("last", claim("day", 100, 0)))).left == (100,)
    assert (await state.enter(ask("x", slots=(Slot("s", "x", 1),)))).short is None
