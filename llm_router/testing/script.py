"""What a test has scripted: which reply or fault meets which request."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_router.testing.faults import FAULTS, Fault, FaultPlan, fault_named
from llm_router.testing.replies import ChatRequest, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

Match = str | Callable[[ChatRequest], bool] | None
Action = Reply | FaultPlan
Answering = Action | Callable[[ChatRequest], Action | None]

FAULT_HEADER = "X-Sandbox-Fault"
FAULT_MODELS = "demo/"
_ALIASES: dict[str, Fault] = {"always_down": "http_503"}


@dataclass(slots=True)
class ReceivedRequest:
    """A request as the sandbox received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """With the key masked."""
    body: Any = None
    status: int | None = None
    """The status that was answered; None while it is not, or when the connection was dropped."""
    fault: str | None = None
    """The fault that was played on it."""
    disconnected: bool = False
    """Whether the client left before the end of the answer."""


@dataclass(slots=True)
class Rule:
    """An action for the requests that match, so many times (None: always)."""

    action: Answering
    match: Match
    times: int | None

    def act(self, request: ChatRequest) -> Action | None:
        """Return what to do, or None when the request is left to others."""
        if isinstance(self.match, str):
            fits = self.match.lower() in request.model.lower()
        else:
            fits = self.match is None or self.match(request)
        if not fits:
            return None
        return self.action(request) if callable(self.action) else self.action


@dataclass(slots=True)
class Script:
    """Decides for each request: scripted rules first, then rates, then the sandbox itself."""

    queued: list[Rule] = field(default_factory=list)
    """Used up in this order."""
    standing: list[Rule] = field(default_factory=list)
    """These stay; the latest that matches is used."""
    _rates: dict[Fault, float] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def set_rates(self, rates: Mapping[str, float], seed: int) -> None:
        """Replace the rates; raises `ValueError` for unknown names or a sum above 1."""
        known = {fault_named(name): float(rate) for name, rate in rates.items()}
        if min(known.values(), default=0) < 0 or sum(known.values()) > 1:
            raise ValueError("fault rates are shares from 0 to 1, and at most 1 together")
        self._rates, self._random = known, random.Random(seed)

    def clear(self) -> None:
        self.queued, self.standing, self._rates = [], [], {}

    def next(self, request: ChatRequest) -> Action | None:
        """Return what is scripted for *request*, or None for the sandbox's own answer."""
        asked = asked_fault(request)
        if asked is not None:
            return FaultPlan(fault=asked)
        for rule in [*self.queued, *reversed(self.standing)]:
            action = rule.act(request)
            if action is not None:
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self.queued.remove(rule)
                return action
        return self._by_rate()

    def _by_rate(self) -> FaultPlan | None:
        drawn = self._random.random() if self._rates else 1
        for fault, rate in self._rates.items():
            if drawn < rate:
                return FaultPlan(fault=fault)
            drawn -= rate
        return None


def asked_fault(request: ChatRequest) -> Fault | None:
    """Return the fault that the client asks for: a header, or a model `demo/FAULT`."""
    name = request.headers.get(FAULT_HEADER)
    if name is None and request.model.startswith(FAULT_MODELS):
        name = request.model.removeprefix(FAULT_MODELS)
    name = (name or "").replace("-", "_")
    return _ALIASES.get(name) or next((fault for fault in FAULTS if fault == name), None)
