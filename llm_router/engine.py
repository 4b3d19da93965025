"""Engine: what a Router owns and composes; the public methods are in `router`."""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError
from typing import TYPE_CHECKING, TypeVar

from llm_router import events
from llm_router.answers.records import RequestStarted
from llm_router.config.checks import check
from llm_router.errors import ConfigurationError, LLMRouterError, ProviderError
from llm_router.operations.structured.modes import Capabilities, ModeMemory
from llm_router.operations.structured.schema import SchemaCache
from llm_router.options.request import Deployment
from llm_router.providers.registry import build_provider
from llm_router.routing import loop
from llm_router.routing.call import Call
from llm_router.routing.cooldown import Cooldowns
from llm_router.routing.explain import Candidate, unsuitable
from llm_router.routing.ids import uuid7
from llm_router.routing.limits import Limits
from llm_router.routing.observing import EventObserver
from llm_router.routing.plan import Planner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from llm_router.answers.records import Observer
    from llm_router.config.model import RouterConfig
    from llm_router.ledger.ledger import Ledger
    from llm_router.operations.chat import Question
    from llm_router.options.request import CallOptions, Message, ProviderRequest
    from llm_router.providers.base import Provider
    from llm_router.routing.call import RunningAttempt
    from llm_router.routing.clock import Clock
    from llm_router.routing.plan import Plan

T = TypeVar("T")


class Engine:
    """The long-lived state of one Router: providers, health, limits, recorders."""

    def __init__(
        self,
        config: RouterConfig,
        clock: Clock,
        ledger: Ledger | None,
        observers: Sequence[Observer],
    ) -> None:
        _refuse_problems(config)
        self.config = config
        self.clock = clock
        self.planner = Planner(config)
        self.cooldowns = Cooldowns(clock.monotonic, clock.wall)
        self.modes = ModeMemory()
        self.schemas = SchemaCache()
        self.ledger = _build_ledger(config) if ledger is None else ledger
        self.providers: dict[str, Provider] = {}
        self._limits = Limits()
        self._fingerprint = config.fingerprint
        self._opened: set[str] = set()
        self._remembered = False
        recorders = () if self.ledger is None else (self.ledger,)
        self._observers: tuple[Observer, ...] = (*recorders, *observers)
        self._events = EventObserver()

    async def open(self) -> None:
        """Import what is needed, in a thread, and let the ledger look at its tables."""
        await self.open_providers(self.all_deployments())
        if self.ledger is not None:
            await self.ledger.open()
        self._remember_config()

    async def aclose(self) -> None:
        """Write the records, close the connections."""
        for provider in self.providers.values():
            await provider.aclose()
        if self.ledger is not None:
            await self.ledger.aclose()

    async def start(
        self, operation: str, plan: Plan, question: Question, options: CallOptions
    ) -> Call:
        """Open what is not open yet, then start the clock of the call."""
        limits = self.planner.limits(plan, options)
        await self.open_providers(plan.deployments)
        self._remember_config()
        now = self.clock.wall()
        started = RequestStarted(
            request_id=uuid7(now),
            alias=plan.alias,
            requested=plan.requested,
            operation=operation,
            stream=operation == "stream",
            started_at=now,
            tags=options.get("tags") or {},
            user=question.user,
            config_fingerprint=self._fingerprint,
            asked={"messages": question.messages, "params": question.params},
            store=options.get("store") or plan.row.store,
        )
        return Call(
            started,
            plan,
            limits,
            self.order(plan, question),
            clock=self.clock,
            cooldowns=self.cooldowns,
            observers=self._listeners(),
        )

    def _listeners(self) -> tuple[Observer, ...]:
        """Return who is told of a call; the events only while the application listens."""
        return (self._events, *self._observers) if events.enabled() else self._observers

    async def run(
        self,
        call: Call,
        step: Callable[[RunningAttempt], Awaitable[T]],
        again: Callable[[Deployment, ProviderError], bool] = loop.never,
    ) -> tuple[T, RunningAttempt]:
        """Run the attempt loop; a call that ends here is finished and its record settled."""
        try:
            await loop.admit(call, self._limits)
            return await loop.run(call, step, self._limits, again)
        except LLMRouterError as error:
            call.finish("failed", error=call.describe(error))
            await self.settle(call)
            raise
        except BaseException as error:
            # Cancelled, or a defect: the record must not say "started" for ever.
            call.finish("cancelled" if isinstance(error, CancelledError) else "failed")
            raise

    def request(
        self,
        call: Call,
        question: Question,
        attempt: RunningAttempt,
        *,
        stream: bool = False,
        messages: Sequence[Message] | None = None,
    ) -> ProviderRequest:
        """Return what one attempt sends."""
        return question.to(
            attempt.deployment,
            call.plan.row,
            request_id=call.started.request_id,
            alias=call.plan.alias,
            stream=stream,
            messages=messages,
            answering=attempt.answering,
        )

    def provider(self, asked: RunningAttempt | Deployment) -> Provider:
        """Return the provider object of a row, built once."""
        name = asked.provider if isinstance(asked, Deployment) else asked.deployment.provider
        provider = self.providers.get(name)
        if provider is None:
            provider = build_provider(name, self.config.providers[name])
            self.providers[name] = provider
        return provider

    async def open_providers(self, deployments: Iterable[Deployment]) -> None:
        """Open those that are not open yet."""
        for deployment in deployments:
            if deployment.provider not in self._opened:
                await self.provider(deployment).open()
                self._opened.add(deployment.provider)

    def order(self, plan: Plan, question: Question) -> Sequence[Deployment]:
        """Return who is asked, in order: the unsuitable left out, the resting last.

        A catalogue can be wrong: when it rules out everyone, everyone is asked after all.
        """
        suitable = [d for d in plan.deployments if self.unsuitable(plan, question, d) is None]
        return self.cooldowns.ready_first(suitable or plan.deployments)

    def unsuitable(self, plan: Plan, question: Question, deployment: Deployment) -> str | None:
        """Return why *deployment* cannot serve the call, as far as its catalogue knows."""
        info = self.provider(deployment).known(deployment.model)
        return None if info is None else unsuitable(info, question.messages, question.params)

    def candidate(
        self, plan: Plan, question: Question, deployment: Deployment, *, asked: bool
    ) -> Candidate:
        """Return how *deployment* stands in an explanation."""
        provider = self.provider(deployment)
        if deployment.provider not in self._opened:
            _open_in_thread(provider)
        request = question.to(deployment, plan.row, request_id="", alias=plan.alias)
        return Candidate(
            deployment=deployment.name,
            skip=None if asked else self.unsuitable(plan, question, deployment),
            health=self.cooldowns.health(deployment),
            request=provider.preview(request),
        )

    def capabilities(self, deployment: Deployment) -> Capabilities:
        """Return what is known of how *deployment* can be asked for a schema."""
        row = self.config.providers[deployment.provider]
        info = self.provider(deployment).known(deployment.model)
        return Capabilities.of(row, deployment.provider, info)

    def all_providers(self) -> dict[str, Provider]:
        """Return the provider objects of all configured deployments, and OpenRouter's."""
        names = {d.provider for d in self.all_deployments()} | {"openrouter"}
        return {name: self.provider(Deployment(provider=name, model="")) for name in sorted(names)}

    def all_deployments(self) -> list[Deployment]:
        """Return every deployment of every alias, once."""
        found = {d.name: d for alias in self.config.aliases for d in self.config.deployments(alias)}
        return list(found.values())

    async def settle(self, call: Call) -> None:
        """Wait until the records of this call are as durable as was asked for."""
        if self.ledger is not None:
            await self.ledger.settle(call.started.request_id)

    def _remember_config(self) -> None:
        """Tell the ledger, once, what the aliases mean."""
        if self.ledger is not None and not self._remembered:
            self._remembered = True
            self.ledger.remember_config(self._fingerprint, self.config.text)


def _build_ledger(config: RouterConfig) -> Ledger | None:
    """Return the ledger that *config* describes; it knows every key, so as to store none."""
    if config.ledger is None:
        return None
    from llm_router.ledger.ledger import Ledger

    return Ledger(config.ledger, secrets=[r.key for r in config.providers.values()])


def _refuse_problems(config: RouterConfig) -> None:
    problems = [p for p in check(config) if p.severity == "error"]
    if problems:
        texts = tuple(f"{'.'.join(map(str, p.path))}: {p.message}" for p in problems)
        raise ConfigurationError("; ".join(texts), problems=texts)


def _open_in_thread(provider: Provider) -> None:
    """Do the imports of a provider that was never opened, off the event loop if there is one."""
    thread = threading.Thread(target=asyncio.run, args=(provider.open(),))
    thread.start()
    thread.join()
