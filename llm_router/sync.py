"""SyncRouter: the same Router for code without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from llm_router.answers.stream_events import TextDelta
from llm_router.config import loading
from llm_router.options.request import conceal
from llm_router.options.values import no_attribute
from llm_router.router import Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from datetime import date
    from types import TracebackType
    from typing import Unpack

    from llm_router.answers.audio import Speech, Transcription
    from llm_router.answers.completion import Completion, ParsedCompletion
    from llm_router.answers.embeddings import Embeddings
    from llm_router.answers.images import Images
    from llm_router.answers.partial import Partial
    from llm_router.answers.ranking import Ranking
    from llm_router.answers.search import SearchAnswer
    from llm_router.answers.stream_events import StreamEvent
    from llm_router.config.model import RouterConfig
    from llm_router.ledger.ledger import Ledger
    from llm_router.ledger.results import Reconciled, ReportRow
    from llm_router.options.parts import AudioPart, ImagePart, Source
    from llm_router.options.questions import ImageQuality, SpeechFormat, Timestamps
    from llm_router.options.request import CallOptions, CommonOptions, Prompt
    from llm_router.options.values import StructuredMode
    from llm_router.routing.cooldown import Health
    from llm_router.routing.explain import Explanation
    from llm_router.routing.money import BudgetStanding

R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E")


class SyncRouter:
    """A Router on an event loop of its own, in a thread of its own.

    Every method blocks until its asynchronous twin is done and raises what that one raises. Use
    it from any thread, also where an event loop runs (a notebook). `close()` stops the thread;
    the end of the program does too.
    """

    def __init__(self, config: RouterConfig, **options: Any) -> None:
        """Take what Router takes."""
        self._hold(Router(config, **options))

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str] | None = None, **options: Any) -> Self:
        """See `Router.from_yaml`."""
        return cls._around(Router.from_yaml(path, **options))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> Self:
        """See `Router.from_dict`."""
        report = loading.check_data(data)
        del data  # as in Router.from_dict
        return cls(report.unwrap(), **options)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """See `Router.from_env`."""
        return cls._around(Router.from_env(**options))

    @classmethod
    def _around(cls, router: Router) -> Self:
        self = cls.__new__(cls)
        self._hold(router)
        return self

    def _hold(self, router: Router) -> None:
        self._router = router
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Know of no thread: before the first call, and in the child of a fork."""
        self._lock = threading.Lock()
        """Held while the thread is started or taken away: threads may race for it."""
        self._thread: _LoopThread | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return repr(self._router).replace("<Router", f"<{type(self).__name__}", 1)

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name)

    def __enter__(self) -> Self:
        self._call(self._router.open)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and stop the thread. Idempotent."""
        if self._pid != os.getpid():
            return  # the thread is the parent's
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _call(self, function: Callable[..., Awaitable[R]], *args: Any) -> R:
        if self._pid != os.getpid():
            self._begin_anew()  # a fork takes no threads along, and may copy a lock that is held
        with self._lock:
            thread = self._thread = self._thread or _LoopThread(self._router.aclose)
        task = asyncio.run_coroutine_threadsafe(_awaited(function, args), thread.loop)
        try:
            return task.result()
        except BaseException:
            # Ctrl-C above all: nothing more is sent, and the call is recorded as cancelled.
            task.cancel()
            raise

    @property
    def config(self) -> RouterConfig:
        return self._router.config

    @property
    def ledger(self) -> Ledger | None:
        return self._router.ledger

    @property
    def aliases(self) -> tuple[str, ...]:
        """See `Router.aliases`."""
        return self._router.aliases

    def complete(self, model: str, messages: Prompt, **options: Unpack[CallOptions]) -> Completion:
        """See `Router.complete`."""
        conceal(options)
        return self._call(lambda: self._router.complete(model, messages, **options))

    @overload
    def parse(
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
    def parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        max_reasks: int = 2,
        **options: Unpack[CallOptions],
    ) -> ParsedCompletion[Any]: ...

    def parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        max_reasks: int = 2,
        **options: Unpack[CallOptions],
    ) -> ParsedCompletion[Any]:
        """See `Router.parse`."""
        conceal(options)
        return self._call(
            lambda: self._router.parse(
                model, messages, schema=schema, mode=mode, max_reasks=max_reasks, **options
            )
        )

    def stream(
        self, model: str, messages: Prompt, **options: Unpack[CallOptions]
    ) -> SyncCompletionStream:
        """See `Router.stream`; use `with` and `for`."""
        conceal(options)
        return SyncCompletionStream(self._call, self._router.stream(model, messages, **options))

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
    ) -> SyncParsedStream[T]: ...

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
    ) -> SyncParsedStream[Any]: ...

    def stream_parse(
        self,
        model: str,
        messages: Prompt,
        *,
        schema: Any,
        mode: StructuredMode | None = None,
        grow_strings: bool = False,
        **options: Unpack[CallOptions],
    ) -> SyncParsedStream[Any]:
        """See `Router.stream_parse`; use `with` and `for`."""
        conceal(options)
        stream = self._router.stream_parse(
            model, messages, schema=schema, mode=mode, grow_strings=grow_strings, **options
        )
        return SyncParsedStream(self._call, stream)

    def explain(
        self, model: str, messages: Prompt = "…", **options: Unpack[CallOptions]
    ) -> Explanation:
        """See `Router.explain`."""
        conceal(options)
        return self._router.explain(model, messages, **options)

    def retirements(self) -> dict[str, date]:
        """See `Router.retirements`."""
        return self._router.retirements()

    def health(self) -> dict[str, Health]:
        """See `Router.health`."""
        return self._router.health()

    def budgets(self) -> list[BudgetStanding]:
        """See `Router.budgets`."""
        return self._call(self._router.budgets)

    def reconcile(self, *, limit: int = 100) -> Reconciled:
        """See `Router.reconcile`."""
        return self._call(lambda: self._router.reconcile(limit=limit))

    def report(
        self,
        *,
        by: Sequence[str] = ("alias",),
        since: date | None = None,
        until: date | None = None,
    ) -> list[ReportRow]:
        """See `Router.report`."""
        return self._call(lambda: self._router.report(by=by, since=since, until=until))

    def embed(
        self,
        model: str,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        input_type: str | None = None,
        **options: Unpack[CommonOptions],
    ) -> Embeddings:
        """See `Router.embed`."""
        conceal(options)
        return self._call(
            lambda: self._router.embed(
                model, texts, dimensions=dimensions, input_type=input_type, **options
            )
        )

    def rerank(
        self,
        model: str,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> Ranking:
        """See `Router.rerank`."""
        conceal(options)
        return self._call(
            lambda: self._router.rerank(model, query, documents, top_n=top_n, **options)
        )

    def generate_image(
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
        """See `Router.generate_image`."""
        conceal(options)
        return self._call(
            lambda: self._router.generate_image(
                model, prompt, n=n, size=size, aspect_ratio=aspect_ratio, quality=quality,
                references=references, **options,
            )
        )  # fmt: skip

    def speak(
        self,
        model: str,
        text: str,
        *,
        voice: str | None = None,
        format: SpeechFormat = "mp3",
        speed: float | None = None,
        **options: Unpack[CommonOptions],
    ) -> Speech:
        """See `Router.speak`."""
        conceal(options)
        return self._call(
            lambda: self._router.speak(
                model, text, voice=voice, format=format, speed=speed, **options
            )
        )

    def transcribe(
        self,
        model: str,
        audio: Source | AudioPart,
        *,
        language: str | None = None,
        timestamps: Timestamps | None = None,
        **options: Unpack[CommonOptions],
    ) -> Transcription:
        """See `Router.transcribe`."""
        conceal(options)
        return self._call(
            lambda: self._router.transcribe(
                model, audio, language=language, timestamps=timestamps, **options
            )
        )

    def search(
        self,
        model: str,
        query: str,
        *,
        max_results: int | None = None,
        **options: Unpack[CommonOptions],
    ) -> SearchAnswer:
        """See `Router.search`."""
        conceal(options)
        return self._call(
            lambda: self._router.search(model, query, max_results=max_results, **options)
        )


class _SyncStream(Generic[R]):
    """A stream, whose whole is an R, for `with` and `for`."""

    def __init__(self, call: Callable[..., Any], stream: Any) -> None:
        self._call = call
        self._stream = stream

    def __repr__(self) -> str:
        return repr(self._stream).replace("<", "<Sync", 1)

    def __enter__(self) -> Self:
        self._call(self._stream.__aenter__)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _each(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._call(source.__anext__)
            except StopAsyncIteration:
                return

    @property
    def completion(self) -> R:
        """The whole answer; RuntimeError before the end."""
        completion: R = self._stream.completion
        return completion

    def snapshot(self) -> Completion:
        """Return what has come so far."""
        snapshot: Completion = self._stream.snapshot()
        return snapshot

    def collect(self) -> R:
        """Read to the end and return the whole answer."""
        completion: R = self._call(self._stream.collect)
        return completion

    def close(self) -> None:
        """Close the connection."""
        self._call(self._stream.aclose)


class SyncCompletionStream(_SyncStream["Completion"]):
    """CompletionStream for `with` and `for`."""

    def __iter__(self) -> Iterator[StreamEvent]:
        return self._each(self._stream)

    @property
    def text_stream(self) -> Iterator[str]:
        """The text alone, piece by piece."""
        return (event.text for event in self if type(event) is TextDelta)


class SyncParsedStream(_SyncStream["ParsedCompletion[T]"], Generic[T]):
    """ParsedStream for `with` and `for`."""

    def __iter__(self) -> Iterator[Partial[T]]:
        return self._each(self._stream)

    @property
    def items(self: SyncParsedStream[list[E]]) -> Iterator[E]:
        """See `ParsedStream.items`."""
        return self._each(self._stream.items)

    @property
    def parsed(self) -> T:
        """The object; RuntimeError before the end."""
        return self.completion.parsed


class _LoopThread:
    """An event loop in a thread of its own, until `stop` or the end of the program."""

    def __init__(self, at_the_end: Callable[[], Awaitable[None]]) -> None:
        self._at_the_end = at_the_end
        self._pid = os.getpid()
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # A daemon: the interpreter waits for other threads before it calls what `atexit` knows.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="llm_router", daemon=True
        )
        self._thread.start()
        self.loop, self._stopping = ready.result()
        atexit.register(self.stop)

    async def _serve(self, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        stopping = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), stopping))
        await stopping.wait()
        await self._at_the_end()

    def stop(self) -> None:
        """Do what is to be done at the end, and end the thread."""
        atexit.unregister(self.stop)
        # A forked child has the object and not the thread.
        if self._pid == os.getpid() and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()


async def _awaited(function: Callable[..., Awaitable[R]], args: tuple[Any, ...]) -> R:
    return await function(*args)
