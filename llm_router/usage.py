"""Tokens and money, with exact rules: unknown is None and never zero, money is Decimal."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

CostSource = Literal["provider", "local", "unknown"]
_Number = TypeVar("_Number", int, Decimal)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Usage:
    """What one answer consumed, in tokens as the provider counted them.

    None means that the provider did not say. Parts are inside their totals: cache reads and
    writes are part of `input_tokens`. `reasoning_tokens` is normally part of `output_tokens`, but
    providers have been seen to report more reasoning than output, so never subtract it.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    """Input tokens served from the provider's prompt cache."""
    cache_write_tokens: int | None = None
    """Input tokens written to the provider's prompt cache."""
    reasoning_tokens: int | None = None

    def to_dict(self) -> dict[str, int | None]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        return _known(self)

    @classmethod
    def sum(cls, usages: Iterable[Usage]) -> Usage:
        """Add field by field; a field that one of them does not know is unknown in the sum."""
        known = list(usages)
        if len(known) == 1:
            return known[0]
        return cls(**{f.name: _sum(getattr(usage, f.name) for usage in known) for f in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cost:
    """What one answer cost, in USD. None means unknown; a free model costs Decimal(0)."""

    total: Decimal | None = None
    """What was spent: `reported`, plus `upstream` under BYOK; None when a part is unknown."""
    reported: Decimal | None = None
    """What the provider says it charged (OpenRouter: `usage.cost`)."""
    upstream: Decimal | None = None
    """The upstream provider's own bill, under BYOK (bring your own key) only."""
    computed: Decimal | None = None
    """Tokens times known prices, beside the report and never instead of it."""
    source: CostSource = "unknown"
    """Where `total` comes from: the provider, local prices of the configuration, or nowhere."""
    is_byok: bool | None = None
    """Whether the caller's own upstream key paid; None when the provider did not say."""

    @classmethod
    def from_report(
        cls,
        reported: Decimal | None,
        *,
        is_byok: bool | None = None,
        upstream: Decimal | None = None,
        computed: Decimal | None = None,
    ) -> Cost:
        """Build the cost that a provider's report means.

        Without BYOK the upstream figure repeats the charge, so it is left out. Under BYOK the
        charge is only the fee: without the upstream's bill the total is unknown.
        """
        bill = upstream if is_byok else None
        total = reported
        if is_byok and reported is not None:
            total = None if bill is None else reported + bill
        return cls(
            total=total,
            reported=reported,
            upstream=bill,
            computed=computed,
            source="unknown" if total is None else "provider",
            is_byok=is_byok,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; money as decimal text, because JSON numbers are floats."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: format_usd(value) if isinstance(value, Decimal) else value
            for name, value in values.items()
        }

    def __repr__(self) -> str:
        return _known(self)

    @classmethod
    def sum(cls, costs: Iterable[Cost]) -> Cost:
        """Add bills; a figure that one bill does not know is unknown in the sum.

        `upstream` is the exception: a bill without BYOK has no upstream part, which is zero here.
        """
        known = list(costs)
        if len(known) == 1:
            return known[0]
        total = _sum(cost.total for cost in known)
        byok = [cost for cost in known if cost.is_byok]
        return cls(
            total=total,
            reported=_sum(cost.reported for cost in known),
            upstream=_sum(cost.upstream for cost in byok),
            computed=_sum(cost.computed for cost in known),
            source="unknown" if total is None else _joint_source(known),
            is_byok=True if byok else _same(cost.is_byok for cost in known),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """USD per token (per request for `request`); None where the catalogue does not say."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal | None = None

    def cost_of(self, usage: Usage) -> Decimal | None:
        """Return tokens times prices; None when a needed price or count is unknown.

        Cached tokens are inside the input; they are charged at the input price where the
        catalogue has no price of their own.
        """
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if tokens_out is None and self.output == 0:
            tokens_out = 0  # embeddings: nobody counts what costs nothing
        if self.input is None or self.output is None or tokens_in is None or tokens_out is None:
            return None
        read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        # Gemini was recorded reporting the same tokens as read and as written: charge them once.
        write = min(write, max(tokens_in - read, 0))
        plain = max(tokens_in - read - write, 0)
        return (
            plain * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + write * (self.input if self.cache_write is None else self.cache_write)
            + tokens_out * self.output
            + (self.request or Decimal(0))
        )


def format_usd(amount: Decimal) -> str:
    """Return *amount* as plain decimal text: `0.0000039`, never `3.9E-6`."""
    return f"{amount:f}"


def _known(figures: Usage | Cost) -> str:
    """Return `Cost(total=0.0000039, …)`: what is known, money in plain decimals."""
    given = {n: v for n, v in figures.to_dict().items() if v is not None}
    shown = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{type(figures).__name__}({shown})"


def _sum(values: Iterable[_Number | None]) -> _Number | None:
    """Add up; None when there is nothing, or when one of them is unknown."""
    total: _Number | None = None
    for value in values:
        if value is None:
            return None
        total = value if total is None else total + value
    return total


def _joint_source(costs: list[Cost]) -> CostSource:
    """Return "local" as soon as one part of a sum was priced locally."""
    return "local" if any(cost.source == "local" for cost in costs) else "provider"


def _same(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None
