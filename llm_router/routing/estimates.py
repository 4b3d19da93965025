"""What an attempt may use and cost, before it is sent.

Three figures: tokens and USD as *expected*, the *worst*, and the *bound* that `max_cost` goes by.
A prompt is taken by its text: a third of its UTF-8 bytes is expected (English has four bytes a
token, Chinese three), a token a byte is the worst. The output is expected to be the 95th
percentile of the same name's answers once 50 are known, until then its `max_tokens`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llm_router.errors import ProviderError, ProviderTimeoutError, StreamInterruptedError
from llm_router.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from llm_router.answers.answer import Attempt
    from llm_router.options.request import Deployment

BYTES_PER_TOKEN = 3
WORST_OVERHEAD = 512
"""Tokens that a provider may put around a prompt (its own words for tools, say)."""
ATTACHMENT_TOKENS = 4_000
"""For each picture or file that stands in a prompt as data: nobody can say before it is sent."""
UNKNOWN_OUTPUT = 4_096
"""Expected tokens of an answer of which nothing is known."""
_ENOUGH, _REMEMBERED, _MOST_NAMES = 50, 200, 1024


@runtime_checkable
class Sized(Protocol):
    """A request whose size can be estimated."""

    @property
    def prompt(self) -> Any:
        """Everything that is read as tokens: texts, messages, tools, schemas."""
        ...

    @property
    def output_limit(self) -> int | None:
        """The most tokens of an answer; None where nothing limits it."""
        ...


class Pricing(Protocol):
    """What an estimate asks of a provider."""

    def cost_of(self, model: str, usage: Usage) -> Decimal | None: ...

    async def look_up(self, model: str) -> None: ...

    def known(self, model: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Tokens, and USD where the price is known."""

    tokens: int = 0
    """Input and output, as expected."""
    expected: Decimal | None = None
    worst: Decimal | None = None
    """None also where nothing limits the output."""
    bound: Decimal | None = None
    """The worst where `max_tokens` was asked for, else with the output that is expected."""


class Estimates:
    """Estimates the attempts of one Router, and learns from them."""

    def __init__(self, provider_of: Callable[[Deployment], Pricing]) -> None:
        self._provider_of = provider_of
        self._outputs: dict[str, deque[int]] = {}

    async def price(self, deployment: Deployment) -> None:
        """Wait, a few seconds at most, for the price of a model where it is being fetched."""
        provider = self._provider_of(deployment)
        if provider.known(deployment.model) is None:
            await provider.look_up(deployment.model)

    def of(self, name: str, deployment: Deployment, request: Any) -> Estimate:
        """Return what *request*, asked under *name*, may take at *deployment*. No I/O."""
        if not isinstance(request, Sized):
            return Estimate()
        text, attachments = _size(request.prompt)
        attached = attachments * ATTACHMENT_TOKENS
        expected_in = text // BYTES_PER_TOKEN + 1 + attached
        worst_in = text + WORST_OVERHEAD + attached
        limit = request.output_limit
        expected_out = self._output(name, limit)
        most = self._most_output(deployment) if limit is None else limit
        expected = self._cost(deployment, expected_in, expected_out)
        return Estimate(
            tokens=expected_in + expected_out,
            expected=expected,
            worst=None if most is None else self._cost(deployment, worst_in, most),
            bound=self._cost(deployment, worst_in, expected_out if limit is None else limit),
        )

    def _output(self, name: str, limit: int | None) -> int:
        known = self._outputs.get(name, ())
        if len(known) < _ENOUGH:
            return UNKNOWN_OUTPUT if limit is None else limit
        usual = sorted(known)[len(known) * 95 // 100]
        return usual if limit is None else min(usual, limit)

    def _most_output(self, deployment: Deployment) -> int | None:
        info = self._provider_of(deployment).known(deployment.model)
        return None if info is None else info.max_output_tokens or info.context_length

    def _cost(self, deployment: Deployment, tokens_in: int, tokens_out: int) -> Decimal | None:
        """Return the dearer of a prompt that is read and one that is written to the cache."""
        cost_of = self._provider_of(deployment).cost_of
        read = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
        written = Usage(
            input_tokens=tokens_in, output_tokens=tokens_out, cache_write_tokens=tokens_in
        )
        costs = [cost_of(deployment.model, usage) for usage in (read, written)]
        return max((cost for cost in costs if cost is not None), default=None)

    def learn(self, name: str, attempt: Attempt) -> None:
        """Remember how long the answers of *name* are."""
        tokens = attempt.usage.output_tokens if attempt.usage else None
        if attempt.status != "succeeded" or tokens is None:
            return
        outputs = self._outputs.get(name)
        if outputs is None:
            if len(self._outputs) >= _MOST_NAMES:
                del self._outputs[next(iter(self._outputs))]
            outputs = self._outputs[name] = deque(maxlen=_REMEMBERED)
        outputs.append(tokens)


def billed(attempt: Attempt | None) -> Decimal | int | None:
    """Return the USD of an attempt that has ended; None when nobody knows.

    Nothing was billed where nothing was sent (None) and where an error status came back. What was
    abandoned or cut may have been billed all the same.
    """
    if attempt is None:
        return 0
    cost, error = attempt.cost, attempt.error
    if cost is not None:
        return cost.computed if cost.total is None else cost.total
    if not isinstance(error, ProviderError):
        return None
    if isinstance(error, ProviderTimeoutError | StreamInterruptedError):
        return None
    if error.sent is False or (error.status_code or 0) >= 400:
        return 0
    return None


def _size(value: Any) -> tuple[int, int]:
    """Return the UTF-8 bytes of all text in *value*, and how much is in it as data URLs."""
    if isinstance(value, str):
        if value.startswith("data:"):
            return 0, 1
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace")), 0
    if isinstance(value, dict):
        parts = [_size(item) for pair in value.items() for item in pair]
    elif isinstance(value, list | tuple):
        parts = [_size(item) for item in value]
    else:
        return 0 if value is None else 8, 0
    return sum(text for text, _ in parts), sum(data for _, data in parts)
