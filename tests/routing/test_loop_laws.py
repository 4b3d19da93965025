"""The laws of the attempt loop, over random scripts of faults on a virtual clock."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router import errors
from llm_router.answers.completion import Completion
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.config.model import AliasConfig
from llm_router.errors import (
    AllDeploymentsFailedError,
    DeadlineExceededError,
    LLMRouterError,
    ProviderError,
)
from llm_router.options.request import Deployment
from llm_router.routing import loop
from llm_router.routing.call import Call, Observers, RunningAttempt
from llm_router.routing.cooldown import Cooldowns
from llm_router.routing.gates import Concurrency, Gates
from llm_router.routing.plan import Limits, Plan
from tests.virtual_time import run_virtually, virtual_clock

MODELS = ("a", "b", "c")
STEP = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What one request does: take some seconds, then fail with *error* or answer."""

    seconds: float
    error: type[ProviderError] | None = None
    retry_after: float | None = None


@dataclass
class World:
    """Deployments that follow a script, and a record of what the loop did to them."""

    outcomes: list[Outcome]
    sent: list[tuple[float, str, Outcome]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    started: int = 0
    attempts: list[AttemptFinished] = field(default_factory=list)
    finished: list[RequestFinished] = field(default_factory=list)

    def request_started(self, record: RequestStarted) -> None:
        self.started += 1

    def attempt_finished(self, record: AttemptFinished) -> None:
        self.attempts.append(record)

    def request_finished(self, record: RequestFinished) -> None:
        self.finished.append(record)

    def prepare(self, deployment: Deployment) -> None:
        """Nothing is to be built."""

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        return False

    async def send(self, attempt: RunningAttempt, request: Any = None) -> Completion:
        outcome = self.outcomes[(attempt.number - 1) % len(self.outcomes)]
        now = asyncio.get_running_loop().time()
        self.sent.append((now, attempt.deployment.name, outcome))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(outcome.seconds)
        finally:
            self.running -= 1
        if outcome.error is not None:
            raise outcome.error("scripted", retry_after=outcome.retry_after)
        return Completion(text="answer", finish_reason="stop")


def make_call(world: World, limits: Limits, models: tuple[str, ...] = MODELS) -> Call:
    clock = virtual_clock()
    deployments = tuple(Deployment(provider="p", model=model) for model in models)
    started = RequestStarted(
        request_id="r", alias="fast", requested="fast", operation="complete", stream=False,
        started_at=0.0,
    )  # fmt: skip
    row = AliasConfig(model="p/a")
    plan = Plan(requested="fast", alias="fast", row=row, deployments=deployments, limits=limits)
    return Call(
        started,
        plan,
        limits,
        deployments,
        clock=clock,
        cooldowns=Cooldowns(clock.monotonic, clock.wall),
        observers=Observers([world]),
        gates=Gates([Concurrency()], lambda _name, _attempt: None),
        secrets_of=lambda _: (),
        then={},
    )


async def run_call(world: World, call: Call) -> Completion | LLMRouterError:
    """Do as the engine's scope does: whatever is raised, the call ends."""
    try:
        answer = call.succeed(await loop.run(call, world))
    except LLMRouterError as error:
        call.end(error)
        return error
    except BaseException as error:
        call.end(error)
        raise
    call.end()
    return answer


class Scripted(World):
    """A world whose requests do what a function says."""

    def __init__(self, send: Any) -> None:
        super().__init__([])
        self.script = send

    async def send(self, attempt: RunningAttempt, request: Any = None) -> Completion:
        answer: Completion = await self.script(attempt)
        return answer


def limits(**given: Any) -> Limits:
    values: dict[str, Any] = {
        "timeout": 10.0, "deadline": 60.0, "idle_timeout": 5.0, "max_attempts": 4,
    }  # fmt: skip
    return Limits(**(values | given))


CLASSES = [c for c in vars(errors).values() if getattr(c, "kind", "")]
ERRORS = st.sampled_from([*CLASSES, None])
OUTCOMES = st.builds(
    Outcome,
    seconds=st.floats(0, 30),
    error=ERRORS,
    retry_after=st.none() | st.floats(0, 40),
)
LIMITS = st.builds(
    limits,
    timeout=st.floats(0.1, 40),
    deadline=st.floats(0.1, 100),
    max_attempts=st.integers(1, 8),
)


@settings(max_examples=400, deadline=None)
@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=8),
    bounds=LIMITS,
    count=st.integers(1, 3),
)
def test_the_laws_hold_when_anything_fails_in_any_order(
    outcomes: list[Outcome], bounds: Limits, count: int
) -> None:
    async def story() -> None:
        world = World(outcomes)
        call = make_call(world, bounds, MODELS[:count])
        result = await run_call(world, call)
        wall = asyncio.get_running_loop().time()
        assert len(world.sent) <= bounds.max_attempts
        assert wall <= bounds.deadline + STEP
        assert world.most_running <= 1
        assert_attempts_are_reported_once(world, call)
        assert_retry_after_is_kept(world)
        assert_abandoned_deployments_stay_abandoned(world)
        assert_the_end_is_told(world, call, result, bounds)

    run_virtually(story())


def assert_attempts_are_reported_once(world: World, call: Call) -> None:
    numbers = [record.attempt.number for record in world.attempts]
    assert numbers == list(range(1, len(world.sent) + 1))
    assert [a.number for a in call.attempts] == numbers
    assert world.started == len(world.finished) == 1


def assert_retry_after_is_kept(world: World) -> None:
    """The same deployment is not asked again before the time that it named."""
    for (_, name, outcome), (index, _) in zip(world.sent, enumerate(world.sent), strict=True):
        if outcome.error is None or outcome.retry_after is None:
            continue
        failed_at = world.attempts[index].attempt.latency_ms
        assert failed_at is not None
        free_at = world.sent[index][0] + failed_at / 1000 + outcome.retry_after
        timed_out = isinstance(world.attempts[index].attempt.error, errors.ProviderTimeoutError)
        later = [at for at, other, _ in world.sent[index + 1 :] if other == name]
        assert timed_out or all(at >= free_at - STEP for at in later[:1])


def assert_abandoned_deployments_stay_abandoned(world: World) -> None:
    """A timeout is still billed, and "next" errors will not go away: never the same one again."""
    for index, record in enumerate(world.attempts[:-1]):
        error = record.attempt.error
        assert isinstance(error, ProviderError)
        if error.then == "next":
            later = [name for _, name, _ in world.sent[index + 1 :]]
            assert record.attempt.deployment not in later


def assert_the_end_is_told(
    world: World, call: Call, result: Completion | LLMRouterError, bounds: Limits
) -> None:
    if isinstance(result, Completion):
        last = world.attempts[-1].attempt
        assert last.status == "succeeded" and last.error is None
        return
    assert result.attempts == tuple(call.attempts)
    assert result.request_id == "r" and result.alias == "fast"
    tried = {a.deployment for a in call.attempts}
    if isinstance(result, AllDeploymentsFailedError):
        assert len(tried) >= 2
        assert len(result.exceptions) == len(call.attempts)
        assert result.__cause__ is result.exceptions[-1]
    elif not isinstance(result, DeadlineExceededError):
        assert len(tried) == 1


@settings(max_examples=150, deadline=None)
@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=6),
    bounds=LIMITS,
    after=st.floats(0, 60),
)
def test_nothing_is_left_behind_when_the_caller_cancels_at_any_point(
    outcomes: list[Outcome], bounds: Limits, after: float
) -> None:
    async def story() -> None:
        world = World(outcomes)
        call = make_call(world, bounds)
        task = asyncio.ensure_future(run_call(world, call))
        await asyncio.sleep(after)
        was_running = world.running
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        assert world.running == 0
        assert len(world.attempts) == len(world.sent)
        if isinstance(result, asyncio.CancelledError) and was_running:
            assert world.attempts[-1].attempt.status == "cancelled"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(story())


def names(world: World) -> list[str]:
    return [name for _, name, _ in world.sent]


def times(world: World) -> list[float]:
    return [round(at, 3) for at, _, _ in world.sent]


def play(outcomes: list[Outcome], models: tuple[str, ...] = ("a", "b"), **bounds: Any) -> Any:
    async def story() -> Any:
        world = World(outcomes)
        result = await run_call(world, make_call(world, limits(**bounds), models))
        return world, result

    return run_virtually(story())


DOWN = Outcome(0.1, errors.ProviderUnavailableError)
FINE = Outcome(0.1)


def test_each_deployment_gets_its_share_when_all_are_down() -> None:
    world, error = play([DOWN])
    assert names(world) == ["p/a", "p/a", "p/b", "p/b"]
    assert isinstance(error, AllDeploymentsFailedError)
    assert error.status_code is None and len(error.exceptions) == 4


def test_all_attempts_go_to_the_only_deployment_when_there_is_no_other() -> None:
    world, error = play([DOWN], ("a",))
    assert names(world) == ["p/a"] * 4
    assert type(error) is errors.ProviderUnavailableError
    # Half of 0.5, 1 and 2 seconds: full jitter with a random number of 0.5.
    assert times(world) == [0.0, 0.35, 0.95, 2.05]


def test_the_next_deployment_is_asked_at_once_when_the_first_names_a_wait() -> None:
    limited = Outcome(0.0, errors.RateLimitError, retry_after=30)
    world, answer = play([limited, FINE])
    assert names(world) == ["p/a", "p/b"] and times(world) == [0.0, 0.0]
    assert answer.text == "answer"


def test_the_loop_waits_as_long_as_told_when_nobody_else_is_there() -> None:
    limited = Outcome(0.0, errors.RateLimitError, retry_after=30)
    world, answer = play([limited, FINE], ("a",))
    assert times(world) == [0.0, 30.0] and answer.text == "answer"


def test_the_call_ends_at_once_when_the_named_wait_passes_the_deadline() -> None:
    limited = Outcome(0.0, errors.RateLimitError, retry_after=61)
    world, error = play([limited, FINE], ("a",))
    assert times(world) == [0.0]
    assert type(error) is errors.RateLimitError and error.retry_after == 61


def test_the_loop_comes_back_when_the_wait_of_a_limited_deployment_is_over() -> None:
    limited = Outcome(0.0, errors.RateLimitError, retry_after=5)
    lost = Outcome(0.0, errors.ModelNotFoundError)
    world, answer = play([limited, lost, FINE])
    assert names(world) == ["p/a", "p/b", "p/a"] and times(world) == [0.0, 0.0, 5.0]
    assert answer.text == "answer"


def test_a_timed_out_deployment_is_never_asked_again_when_attempts_are_left() -> None:
    world, error = play([Outcome(100)])
    assert names(world) == ["p/a", "p/b"] and times(world) == [0.0, 10.0]
    assert [type(e) for e in error.exceptions] == [errors.ProviderTimeoutError] * 2


def test_the_deadline_ends_the_call_when_an_attempt_would_outlast_it() -> None:
    _, error = play([Outcome(100)], timeout=1000, deadline=30)
    assert isinstance(error, DeadlineExceededError) and isinstance(error, TimeoutError)
    assert len(error.attempts or ()) == 1
    assert isinstance(error.__cause__, errors.ProviderTimeoutError)


@pytest.mark.parametrize("cls", [errors.InvalidRequestError, errors.ContentFilteredError])
def test_nobody_else_is_asked_when_the_request_itself_is_wrong(cls: type[ProviderError]) -> None:
    world, error = play([Outcome(0.0, cls)])
    assert names(world) == ["p/a"] and type(error) is cls


def test_the_alias_decides_when_it_overrides_what_an_error_does() -> None:
    async def story() -> None:
        world = World([Outcome(0.0, errors.ContentFilteredError), FINE])
        call = make_call(world, limits())
        row = AliasConfig(model="p/a", on_error={"content_filter": "next"})
        call.plan = replace(call.plan, row=row)
        assert isinstance(await run_call(world, call), Completion)
        assert names(world) == ["p/a", "p/b"]

    run_virtually(story())


def test_a_deployment_is_passed_over_without_an_attempt_when_nothing_can_be_sent() -> None:
    async def story() -> None:
        world = World([FINE])
        call = make_call(world, limits(max_attempts=1))

        async def send(attempt: RunningAttempt) -> Completion:
            if attempt.deployment.model == "a":
                raise errors.UnsupportedFeatureError("a cannot do this")
            return await world.send(attempt)

        whole = call.succeed(await loop.run(call, Scripted(send)))
        assert names(world) == ["p/b"] and whole.attempts[0].number == 1
        assert str(call.skipped["p/a"]) == "a cannot do this."

    run_virtually(story())


def test_the_reason_is_raised_when_nothing_can_be_sent_to_anyone() -> None:
    async def story() -> None:
        async def send(_attempt: RunningAttempt) -> Completion:
            raise errors.UnsupportedFeatureError("nobody can do this")

        call = make_call(World([]), limits())
        with pytest.raises(errors.UnsupportedFeatureError, match="nobody"):
            await loop.run(call, Scripted(send))
        assert call.attempts == []

    run_virtually(story())


def test_no_attempt_is_counted_when_the_set_up_of_the_call_is_wrong() -> None:
    async def story() -> None:
        async def send(_attempt: RunningAttempt) -> Completion:
            raise errors.ConfigurationError("this mode cannot carry the schema")

        world = World([])
        call = make_call(world, limits())
        with pytest.raises(errors.ConfigurationError, match="cannot carry"):
            await loop.run(call, Scripted(send))
        assert world.attempts == [] and call.attempts == []

    run_virtually(story())


def test_the_deadline_is_named_when_the_timer_of_the_last_attempt_fires_a_tick_early() -> None:
    async def story() -> None:
        world = World([])
        call = make_call(world, limits(deadline=5.0, timeout=60.0), ("a",))

        async def send(_attempt: RunningAttempt) -> Completion:
            await asyncio.sleep(5.0 - loop.TICK_S / 2)
            raise errors.ProviderTimeoutError("too late")

        with pytest.raises(DeadlineExceededError):
            await loop.run(call, Scripted(send))

    run_virtually(story())


def test_a_defect_is_shown_as_it_is_when_an_adapter_has_one() -> None:
    async def story() -> None:
        async def send(_attempt: RunningAttempt) -> Completion:
            raise ZeroDivisionError

        world = Scripted(send)
        call = make_call(world, limits())
        with pytest.raises(ZeroDivisionError):
            await run_call(world, call)
        assert [record.attempt.status for record in world.attempts] == ["failed"]
        assert [record.status for record in world.finished] == ["failed"]

    run_virtually(story())


def test_the_bills_of_all_attempts_are_summed_when_a_failed_one_was_charged() -> None:
    from decimal import Decimal

    from llm_router.usage import Cost, Usage

    async def story() -> None:
        bill = Cost.from_report(Decimal("0.10"))
        outcomes = itertools.chain([True], itertools.repeat(False))

        async def send(_attempt: RunningAttempt) -> Completion:
            if next(outcomes):
                raise errors.EmptyResponseError("blank", usage=Usage(input_tokens=3), cost=bill)
            return Completion(usage=Usage(input_tokens=4, output_tokens=1), cost=bill)

        call = make_call(World([]), limits())
        whole = call.succeed(await loop.run(call, Scripted(send)))
        assert whole.cost.total == Decimal("0.20") and whole.usage.input_tokens == 7
        assert whole.usage.output_tokens is None
        assert [a.cost for a in whole.attempts] == [bill, bill]

    run_virtually(story())


def test_a_share_is_rounded_up_when_attempts_do_not_divide() -> None:
    world, _ = play([DOWN], ("a", "b"), max_attempts=5)
    assert names(world) == ["p/a", "p/a", "p/a", "p/b", "p/b"]


def test_an_answer_that_fits_no_schema_is_a_success_of_its_deployment() -> None:
    """`reject`: the deployment did answer, so an earlier failure is forgotten."""

    async def story() -> None:
        async def send(_attempt: RunningAttempt) -> Completion:
            return Completion(text="no object", finish_reason="stop")

        call = make_call(World([]), limits(), ("a",))
        deployment = Deployment(provider="p", model="a")
        for _ in range(2):
            call.cooldowns.failed(deployment, errors.ProviderUnavailableError("down"))
        answer = await loop.run(call, Scripted(send))
        assert call.running is not None
        call.running.reject(answer, errors.SchemaValidationError("it does not fit"))
        health = call.cooldowns.health(deployment)
        assert (health.consecutive_failures, health.recent_failure_rate) == (0, 2 / 3)

    run_virtually(story())
