"""The Sandbox: the server in its own thread and loop, and the handles a test holds it by."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from llm_router.testing.catalog import CATALOG, Catalog, SandboxModel
from llm_router.testing.faults import ACCOUNT_ID, FaultPlan, fault_named
from llm_router.testing.replies import Reply
from llm_router.testing.script import Answering, Match, ReceivedRequest, Rule
from llm_router.testing.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_router.testing.billing import Bill
    from llm_router.testing.server import Server

DEFAULT_API_KEY = "sk-or-v1-" + "5a4db0c0" * 8


class Sandbox:
    """A server on loopback that speaks OpenRouter's wire, scripted by the test that holds it.

    >>> with Sandbox() as sandbox:
    ...     sandbox.reply(text="Paris", provider="Azure")
    ...     sandbox.fail("rate_limit", times=2, retry_after=1)
    ...     client = make_client(base_url=sandbox.base_url, api_key=sandbox.api_key)
    ...     ...
    ...     assert sandbox.total_billed == answer.cost.total

    `async with` does the same. It runs in a thread of its own, so that it serves sync code and any
    number of event loops. Unscripted, it answers by itself and always the same way: a text about
    the prompt, JSON for a requested schema, a call of a required tool (or of one that the prompt
    names), reasoning where it is asked for. How it counts tokens stands in `billing`, which faults
    it can play in `faults`.

    A client can ask for a fault by the model `demo/FAULT` (`demo/always-down` is a 503) or by the
    header `X-Sandbox-Fault`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        api_key: str = DEFAULT_API_KEY,
        models: Iterable[SandboxModel] = CATALOG,
        padding: int = 1,
        chunks: int | None = None,
        generation_lookups: int = 1,
        generation_seconds: float = 0.0,
        keep_requests: int = 10_000,
    ) -> None:
        """Set a sandbox up; it listens once it is entered or started.

        `port` 0 takes a free one. `padding` blocks of whitespace stand before each JSON answer.
        `chunks` is the usual number of text chunks in a stream (a chunk a word when None).
        `/generation` answers 404 to the first `generation_lookups` look-ups of an id, and for
        `generation_seconds` after its bill. The latest `keep_requests` requests are kept.
        """
        self.api_key = api_key
        self.account_id = ACCOUNT_ID
        """The account id in error bodies, to look for where it must not appear."""
        self._host, self._port = host, port
        self._service = Service(
            api_key=api_key,
            catalog=Catalog(tuple(models)),
            padding=padding,
            chunks=chunks,
            generation_lookups=generation_lookups,
            generation_seconds=generation_seconds,
        )
        self._requests: deque[ReceivedRequest] = deque(maxlen=keep_requests)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None

    def __repr__(self) -> str:
        state = f"at {self.base_url}" if self._thread else "not running"
        return f"<Sandbox {state}: {len(self._requests)} requests, {self.unused} replies queued>"

    # Running

    def start(self) -> Self:
        """Listen; raises `OSError` when the port is taken."""
        if self._thread is not None:
            raise RuntimeError("this sandbox runs already")
        ready: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="llm-router-sandbox", daemon=True
        )
        self._thread.start()
        try:
            self._port = ready.result(timeout=30)
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        return self

    def close(self) -> None:
        """Stop listening and end all connections, stalled ones too; a second time does nothing."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._server is None:
            return
        self._loop.call_soon_threadsafe(self._server.closing.set)
        thread.join()

    async def _serve(self, ready: Future[int]) -> None:
        from llm_router.testing.server import Server  # a test that only scripts needs no aiohttp

        self._loop = asyncio.get_running_loop()
        self._server = Server(self._service, self._requests.append)
        await self._server.run(self._host, self._port, ready)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    # Where and how to call it

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        """The base URL of the API, as a client is given it."""
        return f"http://{self._host}:{self._port}/api/v1"

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that point OpenRouter clients here."""
        return {"OPENROUTER_API_KEY": self.api_key, "OPENROUTER_BASE_URL": self.base_url}

    # What is to happen

    def reply(
        self, reply: Reply | None = None, *, match: Match = None, times: int = 1, **fields: Any
    ) -> None:
        """Queue an answer, given as a `Reply` or by its fields, for the next *times* requests.

        `match` is a part of the model id, or a function of the `ChatRequest`; None is any request.
        Queued replies and faults are used in the order in which they were queued.
        """
        if reply is not None and fields:
            raise TypeError("give a Reply or its fields, not both")
        self._service.script.queued.append(Rule(reply or Reply(**fields), match, times))

    def on(self, match: Match, reply: Answering) -> None:
        """Answer every matching request with *reply* from now on; the latest rule is used first.

        *reply* is a `Reply`, a `FaultPlan`, or a function from `ChatRequest` to one of them (None
        leaves the request to other rules).
        """
        self._service.script.standing.append(Rule(reply, match, None))

    def fail(self, fault: str, *, times: int = 1, match: Match = None, **how: Any) -> None:
        """Queue a fault for the next *times* requests that match.

        The keywords are those of `FaultPlan`: `retry_after`, `message`, `metadata`, `after`,
        `seconds`. Raises `ValueError` for an unknown name.
        """
        plan = FaultPlan(fault=fault_named(fault), **how)
        self._service.script.queued.append(Rule(plan, match, times))

    def fault_rates(self, rates: Mapping[str, float], *, seed: int = 0) -> None:
        """Let a share of all unscripted requests fail: `{"http_502": 0.05, "cut_stream": 0.05}`."""
        self._service.script.set_rates(rates, seed)

    def reset(self) -> None:
        """Forget scripts, rates and received requests; the accounts stay."""
        self._service.script.clear()
        self._requests.clear()

    @property
    def unused(self) -> int:
        """How many queued replies and faults no request has used yet."""
        return sum(rule.times or 0 for rule in self._service.script.queued)

    # What happened

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests received, oldest first."""
        return list(self._requests)

    @property
    def chat_requests(self) -> list[ReceivedRequest]:
        """The requests of `/chat/completions` alone."""
        return [request for request in self.requests if "/chat/completions" in request.path]

    @property
    def bills(self) -> dict[str, Bill]:
        """The bills by generation id, oldest first."""
        return dict(self._service.bills)

    @property
    def total_billed(self) -> Decimal:
        """All that was spent, in USD: OpenRouter's charges and, under BYOK, the upstreams'."""
        return sum((bill.total for bill in self.bills.values()), Decimal(0))

    @property
    def in_flight(self) -> int:
        """Requests that are being answered at this moment."""
        return self._server.in_flight if self._server is not None else 0

    def wait_idle(self, timeout: float = 5.0) -> None:
        """Block until no request is in flight; in async code use `asyncio.to_thread`.

        The server notices a client's leaving a moment later: wait before looking at
        `disconnected` or at the bill of a cancelled stream. Raises `TimeoutError`.
        """
        until = time.monotonic() + timeout
        while self.in_flight:
            if time.monotonic() > until:
                raise TimeoutError(f"{self.in_flight} requests are still in flight")
            time.sleep(0.002)
