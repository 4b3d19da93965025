"""What only the memory of a process can show: on a clock of the test's own."""

from __future__ import annotations

from llm_router.state.base import Ask, Claim, Rate, Standing
from llm_router.state.memory import Memory


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_windows_are_forgotten_when_they_are_over() -> None:
    time = Time()
    state = Memory(time, time)
    old = Ask("1", claims=(Claim("old", 10, 6, 50.0),))
    verdict = await state.enter(old)
    time.now = 100.0
    await state.enter(Ask("2", claims=(Claim("new", 10, 6, 500.0),)))
    state.leave(old, verdict, 6, [])
    assert await state.standings() == {"new": Standing(reserved=6)}
    assert state.known(["old", "new"]) == [Standing(), Standing(reserved=6)]


async def test_a_rate_lets_through_its_number_within_a_percent_when_callers_never_wait() -> None:
    time = Time()
    state = Memory(time, time)
    passed = 0
    while time.now < 60.0:
        verdict = await state.enter(Ask("x", rates=(Rate("requests", 600, 1),)))
        passed += verdict.short is None
        time.now += 0.01
    assert 600 <= passed <= 606
