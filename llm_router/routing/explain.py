"""What would happen: who would be asked, in which order, with which request. No network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import plain
from llm_router.errors import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from llm_router.options.request import RequestPreview
    from llm_router.routing.cooldown import Health
    from llm_router.routing.plan import Limits, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment as a call would meet it, in its place."""

    deployment: str
    skip: str | None
    """Why it would be passed over; None when it would be asked."""
    retires: str | None = None
    """The date after which its model may be removed, where that is within 30 days or past."""
    health: Health | None = None
    request: RequestPreview | None = None
    """The exact URL, headers and body, secrets masked."""
    reserves: Decimal | None = None
    """USD that a call is expected to cost here; None where no price is known."""
    refused: str | None = None
    """Why its budgets would refuse it now; None when they would not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The plan of a call."""

    requested: str
    alias: str | None
    limits: Limits
    candidates: tuple[Candidate, ...]
    on_error: Mapping[str, str]
    """What each kind of error does next: "retry", "next" or "stop"."""
    policy: Mapping[str, Any]
    """What the configuration's policy demands of every request; empty where there is none."""

    def to_dict(self) -> dict[str, Any]:
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


def actions_of(plan: Plan) -> dict[str, str]:
    """Return what each kind of error does next for this plan."""
    return {kind: plan.row.on_error.get(kind, action) for kind, action in KINDS.items()}
