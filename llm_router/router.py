"""Router: what an application imports. Its methods compose; the rules live in the layers below."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from llm_router.config import loading
from llm_router.config.model import RouterConfig
from llm_router.engine import CallScope, Engine
from llm_router.errors import LedgerError, UnsupportedFeatureError
from llm_router.operations.audio import Speak, Transcribe
from llm_router.operations.chat import Chat, ChatStream
from llm_router.operations.embeddings import Batches, Embed, embed_all
from llm_router.operations.images import GenerateImage
from llm_router.operations.rerank import Rerank
from llm_router.operations.search import Search
from llm_router.operations.structured.parsing import Parse
from llm_router.operations.structured.reasking import AskingForSchema, parse_answer
from llm_router.operations.structured.schema import element_type
from llm_router.options.values import check_values, no_attribute
from llm_router.providers.base import Catalogued, GenerationSource
from llm_router.routing.clock import Clock
from llm_router.routing.explain import Candidate, Explanation, actions_of
from llm_router.streams import CompletionStream, ParsedStream

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import date
    from types import TracebackType
    from typing import Unpack

    from llm_router.answers.audio import Speech, Transcription
    from llm_router.answers.completion import Completion, ParsedCompletion
    from llm_router.answers.embeddings import Embeddings
    from llm_router.answers.images import Images
    from llm_router.answers.ranking import Ranking
    from llm_router.answers.records import Observer
    from llm_router.answers.search import SearchAnswer
    from llm_router.ledger.ledger import Ledger
    from llm_router.ledger.results import Reconciled, ReportRow
    from llm_router.options.parts import AudioPart, ImagePart, Source
    from llm_router.options.questions import ImageQuality, SpeechFormat, Timestamps
    from llm_router.options.request import CallOptions, CommonOptions, Prompt
    from llm_router.options.values import StructuredMode
    from llm_router.routing.cooldown import Health
    from llm_router.routing.money import BudgetStanding

T = TypeVar("T")


class Router:
    """Routes calls to the deployments of a configuration.

    Use as `async with Router.from_yaml(…) as router`. A Router that was never opened opens itself
    at its first call, whose deadline covers that; `aclose()` (or the end of the event loop) closes
    its connections. It is safe to use from several tasks and event loops, and shares nothing with
    other Routers.
    """

    def __init__(
        self,
        config: RouterConfig,
        *,
        ledger: Ledger | None = None,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
    ) -> None:
        """Take what a call needs out of *config*. No I/O happens here.

        *ledger* replaces the one that the configuration describes (to record into the
        application's own engine, say); the Router opens and closes it.
        """
        if not isinstance(config, RouterConfig):
            raise TypeError(
                f"Router takes a RouterConfig, not {type(config).__name__}: "
                "use Router.from_dict({…}) or Router.from_yaml(path)"
            )
        if callable(observers):
            raise TypeError(f"observers must be a list of observers, not {observers!r:.100}")
        self._engine = Engine(config, clock or Clock(), ledger, observers)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str] | None = None, **options: Any) -> Self:
        """Read a YAML file; without *path* the first that is there of: the one LLM_ROUTER_CONFIG
        names, ./config/llm_router.yaml, ./llm_router.yaml (or `.yml`).

        *options* are those of `Router`. Raises ConfigurationError with every mistake of the file,
        each with file:line, or with where a file was looked for.
        """
        return cls(loading.load(path), **options)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> Self:
        """Take a configuration of the file's shape; `${VAR}` is expanded here too."""
        report = loading.check_data(data)
        del data  # else a traceback with local variables shows the keys in it
        return cls(report.unwrap(), **options)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Take OPENROUTER_API_KEY and its siblings; models are asked for by name, no aliases."""
        return cls(loading.from_dict({}), **options)

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
        await self._engine.open()

    async def aclose(self) -> None:
        """Write the records, close every connection. The Router may be used again afterwards."""
        await self._engine.aclose()

    def __repr__(self) -> str:
        count = len(self.aliases)
        some = ", ".join(self.aliases[:9]) + (", …" if count > 9 else "")
        return f"<{type(self).__name__} of {count} alias{'' if count == 1 else 'es'}: {some}>"

    def __getattr__(self, name: str) -> Any:
        # Only for names that are not there; the answers of other libraries' habits.
        raise no_attribute(self, name)

    @property
    def config(self) -> RouterConfig:
        """The configuration this Router runs on; frozen."""
        return self._engine.config

    @property
    def ledger(self) -> Ledger | None:
        """What records the calls; None where nothing does."""
        return self._engine.ledger

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases of the configuration, in its order."""
        return tuple(self.config.aliases)

    async def complete(
        self, model: str, messages: Prompt, **options: Unpack[CallOptions]
    ) -> Completion:
        """Return one whole answer of *model*, an alias or `provider/model`.

        *messages* is a text, or messages in OpenAI's shape (parts and earlier replies may stand
        among them). Raises ProviderError (its subclass says what to do),
        AllDeploymentsFailedError, DeadlineExceededError, ConfigurationError, and TypeError for a
        misspelt option.

        *options*, all by keyword (their types and meaning: `llm_router.options.request`):
        system, params, openrouter, extra_body, cache, tags, user, store, provider; timeout,
        deadline, idle_timeout, max_attempts, max_cost, session, api_key; and of the model
        temperature, top_p, top_k, min_p,
        top_a, frequency_penalty, presence_penalty, repetition_penalty, max_tokens,
        max_completion_tokens, stop, seed, logit_bias, logprobs, top_logprobs, tools, tool_choice,
        parallel_tool_calls, response_format, reasoning, verbosity, modalities, audio, prediction,
        service_tier, web_search_options, metadata.
        """
        return await self._engine.answer(Chat.ask("complete", messages, options), model, options)

    def stream(
        self, model: str, messages: Prompt, **options: Unpack[CallOptions]
    ) -> CompletionStream:
        """Return a stream; the call begins with `async with`. Raises like `complete`."""
        engine = self._engine
        question = ChatStream.ask("stream", messages, options)
        return CompletionStream(engine.call(question, model, options), question, engine.provider)

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
        check_values({"mode": mode, "max_reasks": max_reasks})
        engine = self._engine
        chat = Chat.ask("parse", messages, options)
        scope = engine.call(chat, model, options)
        await engine.schemas.prepare(schema)
        parse = self._parse_of(schema, mode, scope)
        async with scope as call:
            step = AskingForSchema(chat, call, engine.provider, parse)
            return await parse_answer(step, chat, max_reasks)

    @overload
    def stream_parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: type[T],
        mode: StructuredMode | None = None,
        grow_strings: bool = False,
        **options: Unpack[CallOptions],
    ) -> ParsedStream[T]: ...

    @overload
    def stream_parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        grow_strings: bool = False,
        **options: Unpack[CallOptions],
    ) -> ParsedStream[Any]: ...

    def stream_parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        grow_strings: bool = False,
        **options: Unpack[CallOptions],
    ) -> ParsedStream[Any]:
        """Return a stream of growing objects of *schema*; the call begins with `async with`.

        *schema* and *mode* are those of `parse`. Each object holds what has come whole; with
        *grow_strings* also the text that is on its way. A stream is never asked again: what does
        not fit at the end is an error there. Raises what `stream` does, and at its end
        SchemaValidationError, TruncatedOutputError, RefusalError.
        """
        check_values({"mode": mode})
        engine = self._engine
        chat = ChatStream.ask("stream_parse", messages, options)
        scope = engine.call(chat, model, options)
        return ParsedStream(
            scope,
            chat,
            engine.provider,
            self._parse_of(schema, mode, scope),
            lambda: engine.schemas.get(element_type(schema)),
            grow_strings=grow_strings,
        )

    def _parse_of(self, schema: Any, mode: StructuredMode | None, scope: CallScope) -> Parse[Any]:
        return Parse(
            self._engine.schemas.get(schema),
            mode=mode or scope.plan.row.structured,
            memory=self._engine.modes,
            capabilities=self._engine.capabilities,
        )

    async def embed(
        self,
        model: str,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        input_type: str | None = None,
        **options: Unpack[CommonOptions],
    ) -> Embeddings:
        """Return one vector for each of *texts*, in their order.

        Many texts go out in batches (the alias's `batch_size`), one after the other: `deadline`
        is that of them all, `max_attempts` of each.

        *dimensions* shortens the vectors where the model can; *input_type* says what they are for
        ("search_query", "search_document") where the model asks. An alias must fall back to the
        same model only: else it is a ConfigurationError. Raises what `complete` does, and
        UnsupportedFeatureError where no deployment of the alias serves vectors.
        """
        engine = self._engine
        question = Embed.ask(texts, dimensions, input_type, options)
        async with engine.call(question, model, options) as call:
            step = Batches(question, call, engine.provider, engine.batch_sizes)
            return await embed_all(step, len(question.question.texts))

    async def rerank(
        self,
        model: str,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> Ranking:
        """Return *documents* as they answer *query*, the best first, the best *top_n* only.

        Raises what `complete` does, and UnsupportedFeatureError where no deployment ranks.
        """
        question = Rerank.ask(query, documents, top_n, options)
        return await self._engine.answer(question, model, options)

    async def generate_image(
        self,
        model: str,
        prompt: str,
        *,
        n: int | None = None,
        size: str | None = None,
        aspect_ratio: str | None = None,
        quality: ImageQuality | None = None,
        references: Sequence[Source | ImagePart] = (),
        **options: Unpack[CommonOptions],
    ) -> Images:
        """Return at least one picture and at most *n*.

        *size* is "1024x1024" or "2K", *aspect_ratio* "16:9"; *references* are pictures to go by.
        A picture that timed out is asked for again: it was not billed. Raises like `rerank`.
        """
        question = GenerateImage.ask(prompt, n, size, aspect_ratio, quality, references, options)
        return await self._engine.answer(question, model, options)

    async def speak(
        self,
        model: str,
        text: str,
        *,
        voice: str | None = None,
        format: SpeechFormat = "mp3",
        speed: float | None = None,
        **options: Unpack[CommonOptions],
    ) -> Speech:
        """Return *text* spoken, by one of the model's own voices.

        At OpenRouter its cost is unknown until `reconcile`. Raises like `rerank`.
        """
        question = Speak.ask(text, voice, format, speed, options)
        return await self._engine.answer(question, model, options)

    async def transcribe(
        self,
        model: str,
        audio: Source | AudioPart,
        *,
        language: str | None = None,
        timestamps: Timestamps | None = None,
        **options: Unpack[CommonOptions],
    ) -> Transcription:
        """Return what is said in *audio*: bytes, a path, or an AudioPart, at most 25 MiB.

        *language* is ISO 639-1 ("en"). Upstreams stop after a minute: cut long recordings. The
        file is read here and now. Raises like `rerank`.
        """
        question = Transcribe.ask(audio, language, timestamps, options)
        return await self._engine.answer(question, model, options)

    async def search(
        self,
        model: str,
        query: str,
        *,
        max_results: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> SearchAnswer:
        """Return what the web says of *query*, with sources: a chat that has to search.

        Raises like `rerank`.
        """
        question = Search.ask(query, max_results, options)
        return await self._engine.answer(question, model, options)

    def explain(
        self, model: str, messages: Prompt = "…", **options: Unpack[CallOptions]
    ) -> Explanation:
        """Say who would be asked, in which order, and with exactly which request. No network.

        Raises what `complete` raises before it sends anything.
        """
        engine = self._engine
        question = Chat.ask("explain", messages, options)
        plan = engine.plan(model, options)
        asked = engine.order(plan, question)
        left_out = [d for d in plan.deployments if d not in asked]
        candidates = [
            engine.candidate(plan, question, d, asked=d in asked, tags=options.get("tags"))
            for d in (*asked, *left_out)
        ]
        candidates += [Candidate(deployment=n, skip=why) for n, why in plan.skipped.items()]
        return Explanation(
            requested=model,
            alias=plan.alias,
            limits=engine.planner.limits(plan, options),
            candidates=tuple(candidates),
            on_error=actions_of(plan),
            policy=engine.config.policy.preferences,
        )

    def retirements(self) -> dict[str, date]:
        """Return which configured models OpenRouter may remove within 30 days, or already has.

        By the catalogue in memory, else on disk: no network; nothing where neither is there.
        """
        engine = self._engine
        for provider in engine.all_providers().values():
            if isinstance(provider, Catalogued):
                provider.recall()
        return engine.retirements()

    def health(self) -> dict[str, Health]:
        """Return how each configured deployment does, and why."""
        engine = self._engine
        return {d.name: engine.cooldowns.health(d) for d in engine.all_deployments()}

    async def budgets(self) -> list[BudgetStanding]:
        """Return each budget in its present window: spent, reserved, left, when it resets.

        Those of an alias, user or tag are listed for whoever called in that window. Raises
        StateUnavailableError where the shared state does not answer.
        """
        return await self._engine.money.standings()

    async def reconcile(self, *, limit: int = 100) -> Reconciled:
        """Complete the newest *limit* recorded attempts whose cost is unknown (cut, cancelled).

        Asks OpenRouter's `/generation`, which lags: what is not there yet is asked for again for
        some seconds. Raises LedgerError without a ledger, UnsupportedFeatureError without a
        provider that keeps such records, AuthenticationError for a wrong key.
        """
        ledger, sleep = self._recorded(), self._engine.clock.sleep
        sources = {
            name: provider.fetch_generation
            for name, provider in self._engine.all_providers().items()
            if isinstance(provider, GenerationSource)
        }
        if not sources:
            raise UnsupportedFeatureError("only OpenRouter says afterwards what an answer cost")
        found = [
            await ledger.reconcile(fetch, providers=(name,), limit=limit, sleep=sleep)
            for name, fetch in sources.items()
        ]
        return sum(found[1:], found[0])

    async def report(
        self,
        *,
        by: Sequence[str] = ("alias",),
        since: date | None = None,
        until: date | None = None,
    ) -> list[ReportRow]:
        """Sum up the recorded attempts by `alias`, `day`, `upstream`, `tag:feature`, ….

        *since* and *until* (left out) are whole UTC days where they are dates, else moments.
        Raises LedgerError without a ledger, or when its database cannot be read.
        """
        ledger = self._recorded()
        await ledger.flush()
        return await asyncio.to_thread(ledger.report, by=by, since=since, until=until)

    def _recorded(self) -> Ledger:
        if self.ledger is None:
            raise LedgerError("nothing is recorded: the configuration has no `ledger:`")
        return self.ledger
