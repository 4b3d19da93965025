"""Router: what an application imports. It composes; the rules live in the layers below."""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from llm_router import config_file
from llm_router.completions.records import RequestStarted
from llm_router.completions.request import Deployment
from llm_router.config_checks import check
from llm_router.errors import (
    ConfigurationError,
    LLMRouterError,
    ProviderError,
)
from llm_router.later import LaterOperations
from llm_router.providers.registry import build_provider
from llm_router.routing import loop
from llm_router.routing.call import Call
from llm_router.routing.clock import Clock
from llm_router.routing.cooldown import Cooldowns
from llm_router.routing.explain import Candidate, Explanation, actions_of, unsuitable
from llm_router.routing.ids import uuid7
from llm_router.routing.limits import Limits
from llm_router.routing.observing import EventObserver
from llm_router.routing.plan import Planner
from llm_router.routing.question import Question
from llm_router.routing.reasking import parse_answer
from llm_router.streams import CompletionStream, Running, begin
from llm_router.structured.modes import Capabilities, ModeMemory
from llm_router.structured.parsing import Parse
from llm_router.structured.schema import Schema

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Unpack

    from llm_router.completions.completion import Completion, ParsedCompletion
    from llm_router.completions.records import Observer
    from llm_router.completions.request import CallOptions, Message, Prompt, ProviderRequest
    from llm_router.config import RouterConfig, StructuredMode
    from llm_router.providers.base import Provider
    from llm_router.routing.call import RunningAttempt
    from llm_router.routing.cooldown import Health
    from llm_router.routing.plan import Plan

T = TypeVar("T")


class Router(LaterOperations):
    """Routes calls to the deployments of a configuration.

    Use as `async with Router.from_yaml(…) as router`. A Router that was never opened opens itself
    at its first call; `aclose()` (or the end of the event loop) closes its connections. It is
    safe to use from several tasks and several event loops, and shares nothing with other Routers.
    """

    def __init__(
        self,
        config: RouterConfig,
        *,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        """Raise ConfigurationError when *config* contradicts itself. No I/O happens here."""
        _refuse_problems(config)
        self.config = config
        self._clock = clock or Clock()
        self._planner = Planner(config)
        self._cooldowns = Cooldowns(self._clock.monotonic, self._clock.wall)
        self._limits = Limits()
        self._observers = (EventObserver(), *observers)
        self._providers: dict[str, Provider] = {}
        self._opened: set[str] = set()
        self._modes = ModeMemory()
        self._fingerprint = config.fingerprint

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str] | None = None, **options: Any) -> Self:
        """Read a YAML file; without *path* the one that DESIGN's search order finds.

        LLM_ROUTER_CONFIG, ./config/llm_router.yaml, ./llm_router.yaml, then the built-in copy.
        Raises ConfigurationError with every mistake of the file, each with file:line.
        """
        return cls(config_file.load(path), **options)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> Self:
        """Take a configuration of the file's shape; `${VAR}` is expanded here too."""
        return cls(config_file.from_dict(data), **options)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Take OPENROUTER_API_KEY and its siblings; models are asked for by name, no aliases."""
        return cls(config_file.from_environment(), **options)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Import what the configured providers need, in a thread. Sends nothing."""
        await self._open_providers(self._all_deployments())

    async def aclose(self) -> None:
        """Close every connection. The Router may be used again afterwards."""
        for provider in self._providers.values():
            await provider.aclose()

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases of the configuration, in its order."""
        return tuple(self.config.aliases)

    async def complete(
        self, model: str, messages: Prompt, **options: Unpack[CallOptions]
    ) -> Completion:
        """Return one whole answer of *model*, an alias or `provider/model`.

        Raises ProviderError (its subclass says what to do), AllDeploymentsFailedError,
        DeadlineExceededError, ConfigurationError, or TypeError for a misspelt option.
        """
        plan = self._planner.plan(model, options.get("provider"))
        question = Question.ask("complete", messages, options)
        call = await self._start("complete", plan, question, options)

        async def send(attempt: RunningAttempt) -> Completion:
            return await self._provider(attempt).complete(self._request(call, question, attempt))

        answer, attempt = await self._run(call, send)
        attempt.succeed(answer)
        reply = call.summed(answer)
        call.finish("succeeded", completion=reply)
        await self._settle()
        return reply

    def stream(
        self, model: str, messages: Prompt, **options: Unpack[CallOptions]
    ) -> CompletionStream:
        """Return a stream; the call begins with `async with`. Raises like `complete`."""
        plan = self._planner.plan(model, options.get("provider"))
        question = Question.ask("stream", messages, options)

        async def start() -> Running:
            call = await self._start("stream", plan, question, options)

            async def send(attempt: RunningAttempt) -> Any:
                request = self._request(call, question, attempt, stream=True)
                return await begin(await self._provider(attempt).stream(request), attempt)

            begun, attempt = await self._run(call, send)
            return Running(call, attempt, begun, self._settle)

        return CompletionStream(start)

    @overload
    async def parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: type[T],
        mode: StructuredMode | None = None,
        max_reasks: int = 2,
        **options: Unpack[CallOptions],
    ) -> ParsedCompletion[T]: ...

    @overload
    async def parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        max_reasks: int = 2,
        **options: Unpack[CallOptions],
    ) -> ParsedCompletion[Any]: ...

    async def parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        max_reasks: int = 2,
        **options: Unpack[CallOptions],
    ) -> ParsedCompletion[Any]:
        """Return an answer read into *schema*, and how it got there.

        *schema* is a pydantic model, any type a pydantic TypeAdapter takes, or a JSON Schema dict.
        *mode* fixes the way the schema is asked for; without it the best one the deployment is
        known to serve is tried first. An answer that does not fit is asked for again with its
        errors, at most *max_reasks* times, within the same attempts and deadline.

        Raises SchemaValidationError, TruncatedOutputError, RefusalError, and what `complete` does.
        """
        plan = self._planner.plan(model, options.get("provider"))
        question = Question.ask("parse", messages, options)
        parse = Parse(
            Schema.of(schema),
            mode=mode or plan.row.structured,
            memory=self._modes,
            capabilities=self._capabilities,
        )
        call = await self._start("parse", plan, question, options)

        async def ask(turns: Sequence[Message]) -> tuple[Completion, RunningAttempt]:
            async def send(attempt: RunningAttempt) -> Completion:
                request = self._request(call, question, attempt, messages=turns)
                call.mode_used = parse.mode_for(attempt.deployment)
                return await self._provider(attempt).complete(parse.prepare(request))

            return await self._run(call, send, parse.stepped_down)

        try:
            return await parse_answer(call, parse, question.messages, ask, max_reasks)
        finally:
            await self._settle()

    def explain(
        self, model: str, messages: Prompt = "…", **options: Unpack[CallOptions]
    ) -> Explanation:
        """Say who would be asked, in which order, and with exactly which request. No network.

        Raises what `complete` raises before it sends anything.
        """
        plan = self._planner.plan(model, options.get("provider"))
        question = Question.ask("explain", messages, options)
        candidates = [self._candidate(plan, question, d) for d in self._order(plan, question)]
        candidates += [Candidate(deployment=n, skip=why) for n, why in plan.skipped.items()]
        return Explanation(
            requested=model,
            alias=plan.alias,
            limits=self._planner.limits(plan, options),
            candidates=tuple(candidates),
            on_error=actions_of(plan),
        )

    def health(self) -> dict[str, Health]:
        """Return how each configured deployment does, and why."""
        return {d.name: self._cooldowns.health(d) for d in self._all_deployments()}

    async def _start(
        self, operation: str, plan: Plan, question: Question, options: CallOptions
    ) -> Call:
        """Open what is not open yet, then start the clock of the call."""
        limits = self._planner.limits(plan, options)
        await self._open_providers(plan.deployments)
        now = self._clock.wall()
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
            messages=question.messages,
            params=question.params,
            store=options.get("store") or plan.row.store,
        )
        return Call(
            started,
            plan,
            limits,
            self._order(plan, question),
            clock=self._clock,
            cooldowns=self._cooldowns,
            observers=self._observers,
        )

    async def _run(
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
            await self._settle()
            raise
        except BaseException as error:
            call.finish("cancelled" if isinstance(error, CancelledError) else "failed")
            raise

    def _request(
        self,
        call: Call,
        question: Question,
        attempt: RunningAttempt,
        *,
        stream: bool = False,
        messages: Sequence[Message] | None = None,
    ) -> ProviderRequest:
        return question.to(
            attempt.deployment,
            call.plan.row,
            request_id=call.started.request_id,
            alias=call.plan.alias,
            stream=stream,
            messages=messages,
        )

    def _provider(self, asked: RunningAttempt | Deployment) -> Provider:
        """Return the provider object of a row, built once."""
        name = asked.provider if isinstance(asked, Deployment) else asked.deployment.provider
        provider = self._providers.get(name)
        if provider is None:
            provider = build_provider(name, self.config.providers[name])
            self._providers[name] = provider
        return provider

    async def _open_providers(self, deployments: Iterable[Deployment]) -> None:
        for deployment in deployments:
            if deployment.provider not in self._opened:
                await self._provider(deployment).open()
                self._opened.add(deployment.provider)

    def _order(self, plan: Plan, question: Question) -> Sequence[Deployment]:
        """Return who is asked, in order: the unsuitable left out, the resting last.

        A catalogue can be wrong: when it rules out everyone, everyone is asked after all.
        """
        suitable = [d for d in plan.deployments if self._unsuitable(plan, question, d) is None]
        return self._cooldowns.ready_first(suitable or plan.deployments)

    def _unsuitable(self, plan: Plan, question: Question, deployment: Deployment) -> str | None:
        info = self._provider(deployment).known(deployment.model)
        return None if info is None else unsuitable(info, question.messages, question.params)

    def _candidate(self, plan: Plan, question: Question, deployment: Deployment) -> Candidate:
        provider = self._provider(deployment)
        if deployment.provider not in self._opened:
            _open_in_thread(provider)
        request = question.to(deployment, plan.row, request_id="", alias=plan.alias)
        return Candidate(
            deployment=deployment.name,
            skip=self._unsuitable(plan, question, deployment),
            health=self._cooldowns.health(deployment),
            request=provider.preview(request),
        )

    def _capabilities(self, deployment: Deployment) -> Capabilities:
        row = self.config.providers[deployment.provider]
        info = self._provider(deployment).known(deployment.model)
        return Capabilities.of(row, deployment.provider, info)

    def _all_deployments(self) -> list[Deployment]:
        """Return every deployment of every alias, once."""
        found = {d.name: d for alias in self.config.aliases for d in self.config.deployments(alias)}
        return list(found.values())

    async def _settle(self) -> None:
        """Wait until the records of this call are as durable as was asked for."""


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
