"""The HTTP side of the sandbox: connections, and sending with all its pauses and ends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from llm_router.testing.requests import RefusedError
from llm_router.testing.script import ReceivedRequest
from llm_router.testing.service import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from llm_router.testing.sending import Sending
    from llm_router.testing.service import Service

_CLOSE_SECONDS = 0.2
_LARGEST_BODY = 64 * 2**20
_COST = b'"cost":'


@dataclass(slots=True)
class Server:
    """Serves a `Service` on one address until `closing` is set; lives in the sandbox's loop."""

    service: Service
    remember: Callable[[ReceivedRequest], None]
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0

    async def run(self, host: str, port: int, ready: Future[int]) -> None:
        """Listen, tell *ready* the port or why not, and serve."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        try:
            listener = socket.create_server((host, port), backlog=1024)
            await web.SockSite(runner, listener, backlog=1024).start()
            ready.set_result(runner.addresses[0][1])
            await self.closing.wait()
            await _stop_accepting(listener)
        except OSError as error:
            ready.set_exception(error)
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = CIMultiDict(request.headers)
        key = headers.get("Authorization")
        if key is not None:
            headers["Authorization"] = "Bearer ***"
        received = ReceivedRequest(request.method, request.path_qs, headers)
        self.in_flight += 1
        self.remember(received)
        try:
            try:
                sending = self.service.respond(received, key, await _read(request))
            except RefusedError as refused:
                sending = refusal(refused)
            return await self._send(request, sending, received)
        finally:
            self.in_flight -= 1

    async def _send(
        self, request: web.BaseRequest, sending: Sending, received: ReceivedRequest
    ) -> web.StreamResponse:
        sent: list[bytes] = []
        try:
            return await self._send_all(request, sending, received, sent)
        except (asyncio.CancelledError, ConnectionError):
            received.disconnected = not self.closing.is_set()
            answer = sending.billed
            if answer is not None and answer.id not in self.service.bills:
                events = sum(b"data: " in piece for piece in sent)
                self.service.record(answer.cancelled_bill(events))
            # A client that leaves is no defect of the server: aiohttp would log a traceback.
            raise asyncio.CancelledError from None

    async def _send_all(
        self,
        request: web.BaseRequest,
        sending: Sending,
        received: ReceivedRequest,
        sent: list[bytes],
    ) -> web.StreamResponse:
        if sending.ending == "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        await self._pause(sending.wait)
        received.status = sending.status
        headers = {"Content-Type": sending.content_type, **sending.headers}
        if sending.billed is not None:
            headers["X-Generation-Id"] = sending.billed.id
        if len(sending.steps) == 1 and sending.ending == "end":
            self._bill(sending)
            return web.Response(status=sending.status, body=sending.steps[0], headers=headers)
        response = web.StreamResponse(status=sending.status, headers=headers)
        await response.prepare(request)
        await self._write(response, sending, sent)
        if sending.ending == "end":
            await response.write_eof()
        elif request.transport is not None:
            request.transport.close()
        return response

    async def _write(
        self, response: web.StreamResponse, sending: Sending, sent: list[bytes]
    ) -> None:
        for number, step in enumerate(sending.steps, 1):
            if isinstance(step, bytes):
                # Billed before the client can have read the end, and ask for the bill.
                if _COST in step or number == len(sending.steps):
                    self._bill(sending)
                await response.write(step)
                sent.append(step)
            else:
                await self._pause(step)
        self._bill(sending)

    def _bill(self, sending: Sending) -> None:
        if sending.billed is not None and sending.billed.id not in self.service.bills:
            self.service.record(sending.billed.bill())

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not longer than the sandbox is open."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self.closing.wait()


async def _read(request: web.BaseRequest) -> bytes:
    """Return the body; raises `RefusedError` for one that is too large or not readable."""
    raw = bytearray()
    try:
        if (request.content_length or 0) <= _LARGEST_BODY:
            async for piece in request.content.iter_any():
                raw += piece
                if len(raw) > _LARGEST_BODY:
                    break
            else:
                return bytes(raw)
    except web.RequestPayloadError as error:
        raise RefusedError(400, f"The body cannot be read: {error}") from None
    raise RefusedError(413, "Request Entity Too Large")


async def _stop_accepting(listener: socket.socket) -> None:
    """Take no more connections, and wait for those that are being taken.

    asyncio hands an accepted connection over some turns of the loop later; were the listener
    closed in between, it would drop the connection's socket without closing it.
    """
    with contextlib.suppress(NotImplementedError):  # Windows' loop has no readers
        asyncio.get_running_loop().remove_reader(listener)
    for _ in range(3):
        await asyncio.sleep(0)
