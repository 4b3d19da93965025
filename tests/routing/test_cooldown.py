"""Who rests, for how long, and how a rest ends."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from llm_router import errors
from llm_router.options.request import Deployment
from llm_router.routing.cooldown import CONSECUTIVE, MOST_RECORDS, REST_S, WINDOW, Cooldowns

A = Deployment(provider="openrouter", model="a/a")
B = Deployment(provider="openrouter", model="b/b")
FREE = Deployment(provider="openrouter", model="c/c:free")
LOCAL = Deployment(provider="local", model="l")
DOWN = errors.ProviderUnavailableError("down", status_code=503)


@dataclass
class Hands:
    """A clock that is moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def cooldowns(clock: Hands) -> Cooldowns:
    return Cooldowns(clock, lambda: 1_000_000 + clock.now)


def fail(cooldowns: Cooldowns, times: int, deployment: Deployment = A) -> None:
    for _ in range(times):
        cooldowns.failed(deployment, DOWN)


def test_a_deployment_rests_behind_the_others_when_it_fails_in_a_row(cooldowns: Cooldowns) -> None:
    fail(cooldowns, CONSECUTIVE - 1)
    assert cooldowns.ready_first([A, B]) == [A, B]
    fail(cooldowns, 1)
    assert cooldowns.ready_first([A, B]) == [B, A]
    health = cooldowns.health(A)
    assert health.state == "resting" and health.rests_for_s == REST_S
    assert health.reason == "3 failures in a row, last: ProviderUnavailableError 503"


def test_a_deployment_rests_when_half_of_its_recent_attempts_failed(cooldowns: Cooldowns) -> None:
    for _ in range(WINDOW // 2):
        cooldowns.failed(A, DOWN)
        assert cooldowns.state(A) == "ready"
        cooldowns.succeeded(A)
    assert cooldowns.state(A) == "ready"
    cooldowns.failed(A, DOWN)
    assert cooldowns.state(A) == "resting"
    assert "of the last 20 attempts failed" in (cooldowns.health(A).reason or "")


def test_one_call_probes_when_the_rest_is_over(cooldowns: Cooldowns, clock: Hands) -> None:
    fail(cooldowns, CONSECUTIVE)
    clock.now += REST_S
    assert cooldowns.state(A) == "probing"
    assert cooldowns.ready_first([A, B]) == [A, B]
    cooldowns.started(A)
    assert cooldowns.state(A) == "resting", "the others stay away while the probe is out"
    assert cooldowns.ready_first([A, B]) == [B, A]


def test_the_rest_is_over_when_the_probe_succeeds(cooldowns: Cooldowns, clock: Hands) -> None:
    fail(cooldowns, CONSECUTIVE)
    clock.now += REST_S
    cooldowns.started(A)
    cooldowns.succeeded(A)
    assert cooldowns.state(A) == "ready" and cooldowns.health(A).reason is None
    fail(cooldowns, CONSECUTIVE - 1)
    assert cooldowns.state(A) == "ready", "the failures before the rest are forgotten"


def test_it_rests_again_at_once_when_the_probe_fails(cooldowns: Cooldowns, clock: Hands) -> None:
    fail(cooldowns, CONSECUTIVE)
    clock.now += REST_S
    cooldowns.started(A)
    fail(cooldowns, 1)
    assert cooldowns.health(A).rests_for_s == REST_S


def test_another_call_may_probe_when_a_probe_was_never_heard_of_again(
    cooldowns: Cooldowns, clock: Hands
) -> None:
    fail(cooldowns, CONSECUTIVE)
    clock.now += REST_S
    cooldowns.started(A)
    clock.now += 61
    assert cooldowns.state(A) == "probing"


def test_the_whole_key_rests_until_its_reset_when_the_platform_limits_it(
    cooldowns: Cooldowns, clock: Hands
) -> None:
    limit = errors.RateLimitError("slow down", scope="platform", reset_at=1_000_000 + 45.0)
    cooldowns.failed(A, limit)
    assert cooldowns.ready_first([A, B, LOCAL]) == [LOCAL, A, B]
    assert cooldowns.health(B).rests_for_s == 45
    assert "limits this key" in (cooldowns.health(B).reason or "")
    clock.now += 45
    assert cooldowns.ready_first([A, B, LOCAL]) == [A, B, LOCAL]


def test_paid_models_stay_ready_when_only_the_free_ones_are_limited(cooldowns: Cooldowns) -> None:
    message = "Rate limit exceeded: free-models-per-min. "
    cooldowns.failed(FREE, errors.RateLimitError(message, scope="platform", retry_after=7.0))
    assert cooldowns.ready_first([FREE, A]) == [A, FREE]
    assert cooldowns.state(A) == "ready"


def test_the_key_does_not_rest_when_an_upstream_limits(cooldowns: Cooldowns) -> None:
    cooldowns.failed(A, errors.RateLimitError("busy", scope="upstream", retry_after=60.0))
    assert cooldowns.state(A) == "ready" and cooldowns.state(B) == "ready"


@pytest.mark.parametrize(
    "error", [errors.InvalidRequestError("no"), errors.ContentFilteredError("no")]
)
def test_a_deployment_stays_ready_when_the_caller_is_at_fault(
    cooldowns: Cooldowns, error: errors.ProviderError
) -> None:
    for _ in range(WINDOW):
        cooldowns.failed(A, error)
    assert cooldowns.health(A).state == "ready"
    assert cooldowns.health(A).recent_failure_rate is None


def test_health_is_bounded_when_every_call_names_another_model(cooldowns: Cooldowns) -> None:
    for number in range(MOST_RECORDS + 50):
        fail(cooldowns, 1, Deployment(provider="openrouter", model=f"m/{number}"))
        fail(cooldowns, 1)  # the one that keeps failing is never among the forgotten
    assert len(cooldowns._records) == MOST_RECORDS
    assert cooldowns.state(A) == "resting"
    forgotten = Deployment(provider="openrouter", model="m/0")
    assert cooldowns.health(forgotten).consecutive_failures == 0
