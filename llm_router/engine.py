"""Engine: what a Router owns, and the one owner of a call's beginning and end.

`async with engine.call(operation, model, options) as call` admits the call once; whatever is
raised inside, at its end attempt and call have ended, every slot is given back and the record is
settled.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from llm_router import events
from llm_router.answers.answer import Answer
from llm_router.answers.records import RequestStarted
from llm_router.errors import ConfigurationError
from llm_router.operations.structured.modes import Capabilities, ModeMemory
from llm_router.operations.structured.schema import SchemaCache
from llm_router.options.request import Deployment
from llm_router.providers.registry import build_provider
from llm_router.routing import loop
from llm_router.routing.call import Call, Observers, uuid7
from llm_router.routing.cooldown import Cooldowns
from llm_router.routing.estimates import Estimates
from llm_router.routing.explain import Candidate
from llm_router.routing.gates import Concurrency, Gates, Permits
from llm_router.routing.loop import Asking
from llm_router.routing.money import Money, Payer
from llm_router.routing.plan import Planner
from llm_router.state.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence
    from types import TracebackType

    from llm_router.answers.records import Observer
    from llm_router.config.model import RouterConfig
    from llm_router.ledger.ledger import Ledger
    from llm_router.operations.base import Operation
    from llm_router.routing.clock import Clock
    from llm_router.routing.plan import Plan
    from llm_router.state.base import State

A = TypeVar("A", bound=Answer)
RETIREMENTS_S = 60.0


class Engine:
    """The long-lived state of one Router: providers, health, gates, recorders."""

    def __init__(
        self,
        config: RouterConfig,
        clock: Clock,
        ledger: Ledger | None,
        observers: Sequence[Observer],
    ) -> None:
        self.config = config
        self.clock = clock
        self.planner = Planner(config)
        self.cooldowns = Cooldowns(clock.monotonic, clock.wall)
        self.modes = ModeMemory()
        self.schemas = SchemaCache()
        self.batch_sizes: dict[str, int] = {}
        """How many texts a deployment was found to take in a request, by its name."""
        self.ledger = _build_ledger(config) if ledger is None else ledger
        self.providers: dict[str, Any] = {}
        recorders = () if self.ledger is None else (self.ledger,)
        self.estimates = Estimates(self.provider)
        self.observers = Observers((*recorders, *observers))
        self.state = _build_state(config, clock)
        spent = None if self.ledger is None else self.ledger.spent
        self.money = Money(config.budgets, self.state, self.estimates, clock.wall, spent)
        shared = config.state is not None
        rows = config.providers
        permits = Permits(self.state, rows, self.estimates, self.money, slots=shared)
        self.gates = Gates([Concurrency(), permits], self.estimates.learn)
        self._fingerprint = config.fingerprint
        self._opened: set[tuple[str, bool]] = set()
        """Provider rows, and whether for calls with keys of their own."""
        self._remembered = False
        self._retirements_due = 0.0
        self._told: dict[str, date] = {}

    async def open(self) -> None:
        """Import what any row needs, in a thread, and let the ledger look at its tables."""
        await self.open_providers(self.all_deployments())
        for name in self.config.providers:
            with suppress(ConfigurationError):  # no alias names it: a call that does will raise it
                await self.open_providers([Deployment(provider=name, model="")])
        await self.state.open()
        if self.ledger is not None:
            await self.ledger.open()
        self._remember_config()

    async def aclose(self) -> None:
        """Write the records, close the connections: everything, also where a part fails."""
        for name, provider in self.providers.items():
            try:
                await provider.aclose()
            except Exception as error:  # the others and the ledger are closed all the same
                reason = type(error).__name__
                events.emit(events.CLOSE_FAILED, "error", provider=name, reason=reason)
        await self.state.aclose()
        if self.ledger is not None:
            await self.ledger.aclose()

    def call(self, operation: Operation[Any], model: str, options: Mapping[str, Any]) -> CallScope:
        """Return the scope of one call; it begins when it is entered.

        Raises at once what is wrong with *model* and the limits in *options*.
        """
        plan = self.plan(model, options)
        self.planner.limits(plan, options)
        if operation.same_model:
            plan.require_one_model(operation.name)
        return CallScope(self, operation, plan, options)

    def plan(self, model: str, options: Mapping[str, Any]) -> Plan:
        """Return who may serve a call; raises as `Planner.plan`."""
        plan = self.planner.plan(model, options.get("provider"), options.get("api_key"))
        session = options.get("session")
        return plan if session is None else plan.in_session(session)

    async def answer(self, operation: Operation[A], model: str, options: Mapping[str, Any]) -> A:
        """Ask, and return the answer as the caller gets it."""
        async with self.call(operation, model, options) as call:
            return call.succeed(await loop.run(call, Asking(operation, call, self.provider)))

    def start(self, operation: Operation[Any], plan: Plan, options: Mapping[str, Any]) -> Call:
        """Start the clock of a call, and tell the observers."""
        self._remember_config()
        now = self.clock.wall()
        if now >= self._retirements_due and events.enabled():
            self._tell_of_retirements(now)
        started = RequestStarted(
            request_id=uuid7(now),
            alias=plan.alias,
            requested=plan.requested,
            operation=operation.name,
            stream=operation.serves == "stream",
            started_at=now,
            tags=options.get("tags") or {},
            user=operation.user,
            config_fingerprint=self._fingerprint,
            asked=operation.asked,
            store=options.get("store") or plan.row.store,
        )
        return Call(
            started,
            plan,
            self.planner.limits(plan, options),
            self.order(plan, operation),
            clock=self.clock,
            cooldowns=self.cooldowns,
            observers=self.observers,
            gates=self.gates,
            secrets_of=self.secrets_of,
            then=operation.then,
        )

    def provider(self, deployment: Deployment) -> Any:
        """Return the provider object of a deployment's row, built once."""
        name = deployment.provider
        provider = self.providers.get(name)
        if provider is None:
            row, policy = self.config.providers[name], self.config.policy.preferences
            provider = self.providers[name] = build_provider(name, row, policy)
        return provider

    def secrets_of(self, deployment: Deployment) -> Sequence[str]:
        """Return the values that no error of a deployment may show."""
        secrets: Sequence[str] = self.provider(deployment).secrets
        return secrets if deployment.api_key is None else (*secrets, deployment.api_key)

    def are_open(self, deployments: Iterable[Deployment]) -> bool:
        return all((d.provider, d.api_key is not None) in self._opened for d in deployments)

    async def open_providers(self, deployments: Iterable[Deployment]) -> None:
        """Open those that are not open yet."""
        for deployment in deployments:
            wanted = deployment.provider, deployment.api_key is not None
            if wanted not in self._opened:
                await self.provider(deployment).open(keyed=wanted[1])
                self._opened.add(wanted)

    def order(self, plan: Plan, operation: Operation[Any]) -> Sequence[Deployment]:
        """Return who is asked, in order: the unsuitable left out, the resting last.

        A catalogue can be wrong: when it rules out everyone, everyone is asked after all.
        """
        suitable = [d for d in plan.deployments if self.unsuitable(operation, d) is None]
        return self.cooldowns.ready_first(suitable or plan.deployments)

    def unsuitable(self, operation: Operation[Any], deployment: Deployment) -> str | None:
        """Return why *deployment* cannot serve the call, as far as its catalogue knows."""
        info = self.provider(deployment).known(deployment.model)
        return None if info is None else operation.unsuitable(info)

    def candidate(
        self,
        plan: Plan,
        operation: Operation[Any],
        deployment: Deployment,
        *,
        asked: bool,
        tags: Mapping[str, str] | None,
    ) -> Candidate:
        """Return how *deployment* stands in an explanation."""
        provider = self.provider(deployment)
        keyed = deployment.api_key is not None
        if (deployment.provider, keyed) not in self._opened:
            _open_in_thread(provider.open(keyed=keyed))
        request = operation.request(deployment, plan.row, None)
        payer = Payer(plan.requested, operation.user, tags or {})
        reserves, refused = self.money.preview(payer, deployment, request)
        info = provider.known(deployment.model)
        when = None if info is None else info.retires(_date(self.clock.wall()))
        return Candidate(
            deployment=deployment.name,
            skip=None if asked else self.unsuitable(operation, deployment),
            retires=None if when is None else when.isoformat(),
            health=self.cooldowns.health(deployment),
            request=provider.preview(request),
            reserves=reserves,
            refused=refused,
        )

    def capabilities(self, deployment: Deployment) -> Capabilities:
        """Return what is known of how *deployment* can be asked for a schema."""
        row = self.config.providers[deployment.provider]
        info = self.provider(deployment).known(deployment.model)
        return Capabilities.of(row, deployment.provider, info)

    def retirements(self) -> dict[str, date]:
        """Return which configured models may be removed soon or already, with the date."""
        found: dict[str, date] = {}
        today = _date(self.clock.wall())
        for deployment in self.all_deployments():
            info = self.provider(deployment).known(deployment.model)
            if info is not None and (when := info.retires(today)):
                found[deployment.name] = when
        return found

    def _tell_of_retirements(self, now: float) -> None:
        """Name each once a day; looked for every minute, for the catalogue comes beside calls."""
        self._retirements_due = now + RETIREMENTS_S
        today = _date(now)
        for name, when in self.retirements().items():
            if self._told.get(name) != today:
                self._told[name] = today
                days = (when - today).days
                fields = {"deployment": name, "date": when.isoformat(), "days": days}
                events.emit(events.MODEL_RETIRING, "warning", **fields)

    def all_providers(self) -> dict[str, Any]:
        """Return the provider objects of all configured deployments, and OpenRouter's."""
        names = {d.provider for d in self.all_deployments()} | {"openrouter"}
        return {name: self.provider(Deployment(provider=name, model="")) for name in sorted(names)}

    def all_deployments(self) -> list[Deployment]:
        """Return every deployment of every alias, once."""
        found = {d.name: d for alias in self.config.aliases for d in self.config.deployments(alias)}
        return list(found.values())

    def _remember_config(self) -> None:
        """Tell the ledger, once, what the aliases mean."""
        if self.ledger is not None and not self._remembered:
            self._remembered = True
            self.ledger.remember_config(self._fingerprint, self.config.text)


class CallScope:
    """The one owner of a call's beginning and end. Enter it once."""

    def __init__(
        self,
        engine: Engine,
        operation: Operation[Any],
        plan: Plan,
        options: Mapping[str, Any],
    ) -> None:
        self._engine = engine
        self._operation = operation
        self.plan = plan
        self._options = options
        self._call: Call | None = None

    async def __aenter__(self) -> Call:
        engine = self._engine
        call = self._call = engine.start(self._operation, self.plan, self._options)
        try:
            if not engine.are_open(self.plan.deployments):
                await loop.in_time(call, engine.open_providers(self.plan.deployments))
            await loop.admit(call)
        except BaseException as error:
            self.end(error)
            await self.settle()
            raise
        return call

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.end(error)
        await self.settle()

    def end(self, error: BaseException | None = None) -> None:
        """End the call, on its own loop, without waiting for anything. Idempotent."""
        if self._call is not None:
            self._call.end(error)

    async def settle(self) -> None:
        """Wait until the records of the call are as durable as was asked for."""
        if self._call is not None and self._engine.ledger is not None:
            await self._engine.ledger.settle(self._call.started.request_id)


def _build_ledger(config: RouterConfig) -> Ledger | None:
    """Return the ledger that *config* describes; it knows every key, so as to store none."""
    if config.ledger is None:
        return None
    from llm_router.ledger.ledger import Ledger

    return Ledger(config.ledger, secrets=[r.key for r in config.providers.values()])


def _build_state(config: RouterConfig, clock: Clock) -> State:
    if config.state is None:
        return Memory(clock.monotonic, clock.wall)
    from llm_router.state.shared import Shared

    return Shared(config.state, clock.monotonic, clock.wall)


def _date(wall: float) -> date:
    return datetime.fromtimestamp(wall, UTC).date()


def _open_in_thread(opening: Coroutine[Any, Any, None]) -> None:
    """Do the imports of a provider that was never opened, off the event loop if there is one."""
    thread = threading.Thread(target=asyncio.run, args=(opening,))
    thread.start()
    thread.join()
