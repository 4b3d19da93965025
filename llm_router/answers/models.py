"""ModelInfo: what a catalogue says of a model, its prices and what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from llm_router.usage import Prices

if TYPE_CHECKING:
    from collections.abc import Mapping


NEAR = timedelta(days=30)
"""So long before a model may be removed it is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A catalogue's entry. `supported_parameters` is None when the catalogue is silent."""

    id: str
    name: str | None = None
    context_length: int | None = None
    max_output_tokens: int | None = None
    supported_parameters: frozenset[str] | None = None
    input_modalities: frozenset[str] = frozenset()
    output_modalities: frozenset[str] = frozenset()
    prices: Prices = field(default_factory=Prices)
    expires: date | None = None
    """The date after which it may be removed; None where the catalogue names none."""
    raw: Mapping[str, Any] = field(default_factory=dict)

    def retires(self, today: date) -> date | None:
        """Return when it may be removed, where that is near or past; else None."""
        return self.expires if self.expires and self.expires - today <= NEAR else None
