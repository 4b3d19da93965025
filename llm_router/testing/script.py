"""What is to happen next: the queue of scripted replies and faults, and faults by rate."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
class Rule:
    """An action for the requests that match, so many times (None: always)."""

    action: Answering
    match: Match
    times: int | None

    def fits(self, request: ChatRequest) -> bool:
        if self.match is None:
            return True
        if isinstance(self.match, str):
            return self.match.lower() in request.model.lower()
        return self.match(request)

    def act(self, request: ChatRequest) -> Action | None:
        """Return what to do, or None when a function leaves the request to others."""
        return self.action(request) if callable(self.action) else self.action


class Script:
    """Decides for each request: scripted rules first, then rates, then the sandbox itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: list[Rule] = []
        self._standing: list[Rule] = []
        self._rates: dict[Fault, float] = {}
        self._random = random.Random(0)

    def queue(self, rule: Rule) -> None:
        """Add a rule that is used up; rules are used in the order in which they were added."""
        with self._lock:
            self._queued.append(rule)

    def stand(self, rule: Rule) -> None:
        """Add a rule that stays; the latest that matches is used."""
        with self._lock:
            self._standing.insert(0, rule)

    def set_rates(self, rates: Mapping[str, float], seed: int) -> None:
        """Replace the rates; raises `ValueError` for unknown names or a sum above 1."""
        known = {fault_named(name): float(rate) for name, rate in rates.items()}
        if min(known.values(), default=0) < 0 or sum(known.values()) > 1:
            raise ValueError("fault rates are shares from 0 to 1, and at most 1 together")
        with self._lock:
            self._rates = known
            self._random = random.Random(seed)

    def clear(self) -> None:
        with self._lock:
            self._queued.clear()
            self._standing.clear()
            self._rates = {}

    @property
    def waiting(self) -> int:
        """How many queued actions were not used yet."""
        return sum(rule.times or 0 for rule in self._queued)

    def next(self, request: ChatRequest) -> Action | None:
        """Return what is scripted for *request*, or None for the sandbox's own answer."""
        asked = asked_fault(request)
        if asked is not None:
            return FaultPlan(fault=asked)
        with self._lock:
            action = self._scripted(request)
            return action or self._by_rate()

    def _scripted(self, request: ChatRequest) -> Action | None:
        for rule in [*self._queued, *self._standing]:
            if not rule.fits(request):
                continue
            action = rule.act(request)
            if action is None:
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self._queued.remove(rule)
            return action
        return None

    def _by_rate(self) -> FaultPlan | None:
        if not self._rates:
            return None
        drawn = self._random.random()
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
    if name is None:
        return None
    name = name.replace("-", "_")
    return _ALIASES.get(name) or (name if name in FAULTS else None)
