"""What would happen: who would be asked, in which order, with which request. No network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_router.answers.answer import plain
from llm_router.errors import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.answers.models import ModelInfo
    from llm_router.options.request import RequestPreview
    from llm_router.routing.cooldown import Health
    from llm_router.routing.plan import Limits, Plan

# Fewer characters than this for each token have not been seen: a prompt is called too long only
# when it certainly is.
_CHARACTERS_PER_TOKEN = 8
_PARAMETER_NEEDS = {"tools": "tools", "response_format": "response_format"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A deployment as a call would meet it, in its place."""

    deployment: str
    skip: str | None
    """Why it would be passed over; None when it would be asked."""
    health: Health | None = None
    request: RequestPreview | None = None
    """The exact URL, headers and body, secrets masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The plan of a call."""

    requested: str
    alias: str | None
    limits: Limits
    candidates: tuple[Candidate, ...]
    on_error: Mapping[str, str]
    """What each kind of error does next: "retry", "next" or "stop"."""

    def to_dict(self) -> dict[str, Any]:
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


def actions_of(plan: Plan) -> dict[str, str]:
    """Return what each kind of error does next for this plan."""
    return {kind: plan.row.on_error.get(kind, action) for kind, action in KINDS.items()}


def unsuitable(info: ModelInfo, messages: Any, params: Mapping[str, Any]) -> str | None:
    """Return why a model cannot serve a call, as far as a catalogue knows; None when it may."""
    supported = info.supported_parameters
    if supported is not None:
        for param, needed in _PARAMETER_NEEDS.items():
            if params.get(param) and needed not in supported:
                return f"the catalogue says that {info.id} does not support {needed}"
    if info.context_length is not None:
        tokens = _characters(messages) // _CHARACTERS_PER_TOKEN
        if tokens > info.context_length:
            return (
                f"the prompt has at least {tokens} tokens and {info.id} takes {info.context_length}"
            )
    return None


def _characters(messages: Any) -> int:
    """Return the length of all text in *messages*; data URLs are not text."""
    if isinstance(messages, str):
        return 0 if messages.startswith("data:") else len(messages)
    if isinstance(messages, list | tuple):
        return sum(_characters(item) for item in messages)
    if isinstance(messages, dict):
        return sum(_characters(messages.get(key)) for key in ("content", "text"))
    return 0
