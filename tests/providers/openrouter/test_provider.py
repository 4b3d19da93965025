"""One call over real sockets: what goes out, what comes back, and what can go wrong between."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from llm_router.config.model import ProviderConfig
from llm_router.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitError,
)
from llm_router.providers import http
from llm_router.providers.openrouter.provider import OpenRouterProvider
from llm_router.testing.sandbox import Sandbox
from tests.providers.loopback import ANSWER, KEY, answer, asking, provider_at, serving


@asynccontextmanager
async def raw_server(reply: bytes, *, reset: bool = False) -> AsyncIterator[str]:
    """Answer each connection with these very bytes and close it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        if reset:
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"


async def test_one_call_is_one_request_and_one_completion() -> None:
    async with serving() as server, provider_at(server.url) as provider:
        reply = await provider.complete(asking())
    assert (reply.text, reply.upstream_provider, reply.response_id) == ("Hi", "Azure", "gen-1")
    assert reply.cost.total == Decimal("0.000125")
    assert (reply.alias, reply.request_id, reply.requested_model) == (None, "", "")
    assert [path for method, path, _ in server.received if method == "POST"] == [
        "/api/v1/chat/completions"
    ]


async def test_call_opens_the_provider_when_nobody_did() -> None:
    async with serving() as server:
        provider = OpenRouterProvider(
            "openrouter", ProviderConfig(api_key=SecretStr(KEY), base_url=server.url)
        )
        with pytest.raises(RuntimeError, match="open"):
            provider._ready()
        replies = await asyncio.gather(*(provider.complete(asking()) for _ in range(5)))
        await provider.aclose()
        await provider.aclose()
        assert {reply.text for reply in replies} == {"Hi"}
        assert await server.empties()


async def test_sandbox_is_served_with_padding_and_its_bill(sandbox: Sandbox) -> None:
    async with provider_at(sandbox.base_url, api_key=sandbox.api_key) as provider:
        reply = await provider.complete(asking())
    assert reply.text
    assert reply.cost.total == sandbox.total_billed


async def test_late_failure_inside_a_200_after_padding_is_the_error_it_speaks_of() -> None:
    async def late(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"\n         \n")
        await response.write(b'{"error":{"code":429,"message":"Slow down"}}')
        return response

    async with serving(late) as server, provider_at(server.url) as provider:
        with pytest.raises(RateLimitError, match="Slow down") as caught:
            await provider.complete(asking())
    assert caught.value.status_code == 429


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (503, ProviderUnavailableError)]
)
async def test_status_is_read_for_texts_and_streams_alike(
    status: int, kind: type[ProviderError]
) -> None:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"error": {"code": status, "message": "No"}}, status=status)

    async with serving(refuse) as server, provider_at(server.url) as provider:
        for call in (provider.complete, provider.stream):
            with pytest.raises(kind) as caught:
                await call(asking(stream=call == provider.stream))
            assert caught.value.status_code == status


async def test_redirect_is_not_followed_and_says_so() -> None:
    async def elsewhere(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "https://other.example/"})

    async with serving(elsewhere) as server, provider_at(server.url) as provider:
        with pytest.raises(InvalidResponseError, match=r"307 .*other\.example.*base_url") as caught:
            await provider.complete(asking())
    assert caught.value.status_code == 307


async def test_body_of_megabytes_is_sent_without_a_warning() -> None:
    image = "data:image/png;base64," + "A" * 3 * 2**20
    async with serving() as server, provider_at(server.url) as provider:
        provider_messages = [{"role": "user", "content": image}]
        await provider.complete(asking(messages=provider_messages))
    assert server.posts[0]["messages"] == provider_messages


WHOLE = json.dumps(ANSWER).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (len(WHOLE), WHOLE)


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"Content-Length: 5000\r\n\r\n" + WHOLE,
        CHUNKED[:-40],
        CHUNKED + b"\r\n",
        b"",
        HEAD,
    ],
    ids=["content-length", "inside a chunk", "no last chunk", "nothing", "headers only"],
)
async def test_cut_answer_is_a_connection_error(reply: bytes) -> None:
    async with raw_server(reply) as url, provider_at(url) as provider:
        with pytest.raises(ProviderConnectionError, match=r"127\.0\.0\.1") as caught:
            await provider.complete(asking())
    assert caught.value.__cause__ is None


async def test_cut_answer_keeps_its_id_so_that_its_bill_can_be_found() -> None:
    head = HEAD + b"X-Generation-Id: gen-cut\r\nContent-Length: 5000\r\n\r\n"
    async with raw_server(head + WHOLE) as url, provider_at(url) as provider:
        ids: list[str] = []
        with pytest.raises(ProviderConnectionError):
            await provider.complete(replace(asking(), answering=ids.append))
    assert ids == ["gen-cut"]


async def test_reset_connection_is_a_connection_error() -> None:
    async with raw_server(b"", reset=True) as url, provider_at(url) as provider:
        with pytest.raises(ProviderConnectionError):
            await provider.complete(asking())


async def test_answer_that_is_not_http_is_an_invalid_response() -> None:
    async with raw_server(b"SSH-2.0-OpenSSH_9.6\r\n") as url, provider_at(url) as provider:
        with pytest.raises(InvalidResponseError, match="not HTTP"):
            await provider.complete(asking())


async def test_blanks_without_an_end_of_length_are_no_answer() -> None:
    async with raw_server(HEAD + b"\r\n\n   \n") as url, provider_at(url) as provider:
        with pytest.raises(ProviderError):
            await provider.complete(asking())


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def test_refused_connection_names_the_address_and_what_to_check() -> None:
    port = free_port()
    async with provider_at(f"http://127.0.0.1:{port}/api/v1") as provider:
        with pytest.raises(ProviderConnectionError, match=rf"127\.0\.0\.1:{port} .*base_url"):
            await provider.complete(asking())


async def test_unknown_name_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with provider_at("https://nowhere.invalid/v1") as provider:
        with pytest.raises(ProviderConnectionError, match=r"nowhere\.invalid was not found"):
            await provider.complete(asking())


async def test_tls_to_a_plain_port_is_readable() -> None:
    async with serving() as server, provider_at(server.url.replace("http:", "https:")) as provider:
        with pytest.raises(ProviderConnectionError, match="No TLS connection"):
            await provider.complete(asking())


def test_certificate_error_names_the_variable_to_set() -> None:
    import aiohttp
    from aiohttp.client_reqrep import ConnectionKey

    key = ConnectionKey("x.example", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorCertificateError(
        key, ssl.SSLCertVerificationError("self-signed")
    )
    assert "SSL_CERT_FILE" in str(http.connection_error(error, "https://x.example/v1"))


async def test_url_that_cannot_be_called_is_a_configuration_error() -> None:
    row = ProviderConfig(api_key=SecretStr(KEY)).model_copy(  # which nobody validates
        update={"base_url": "http://127.0.0.1:99999/v1"}
    )
    with pytest.raises(ConfigurationError, match="No request can be built"):
        await OpenRouterProvider("openrouter", row).complete(asking())


async def test_cancelled_call_closes_its_connection() -> None:
    begun = asyncio.Event()

    async def never(_: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        return web.Response()

    async with serving(never) as server, provider_at(server.url) as provider:
        call = asyncio.create_task(provider.complete(asking()))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await provider.catalog.aclose()
        assert await server.empties()


async def test_provider_closed_under_a_call_is_a_connection_error() -> None:
    begun = asyncio.Event()

    async def never(_: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        return web.Response()

    async with serving(never) as server, provider_at(server.url) as provider:
        call = asyncio.create_task(provider.complete(asking()))
        await begun.wait()
        await provider.aclose()
        with pytest.raises(ProviderConnectionError):
            await call


def test_several_loops_one_after_the_other_need_no_closing(sandbox: Sandbox) -> None:
    """`asyncio.run` closes the session with its loop: no ResourceWarning, no open connection."""
    row = ProviderConfig(api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url)
    provider = OpenRouterProvider("openrouter", row)
    before = threading.active_count()
    for _ in range(3):
        assert asyncio.run(provider.complete(asking())).text
    assert threading.active_count() <= before
    deadline = time.monotonic() + 2
    while sandbox_connections(sandbox) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not sandbox_connections(sandbox)


def sandbox_connections(sandbox: Sandbox) -> int:
    """Count the established connections to the sandbox, as the system sees them."""
    from pathlib import Path

    port = f":{int(sandbox.base_url.split(':')[2].partition('/')[0]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(port) and row[3] == "01" for row in rows)


async def test_generation_is_none_until_it_is_there(sandbox: Sandbox) -> None:
    async with provider_at(sandbox.base_url, api_key=sandbox.api_key) as provider:
        reply = await provider.complete(asking())
        assert reply.response_id
        assert await provider.fetch_generation(reply.response_id) is None
        generation = await provider.fetch_generation(reply.response_id)
    assert generation is not None
    assert generation.cost.total == reply.cost.total
    assert generation.usage.input_tokens == reply.usage.input_tokens
    assert generation.usage.total_tokens == reply.usage.total_tokens
    assert generation.upstream_provider == reply.upstream_provider


async def test_generation_that_does_not_come_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_router.providers.openrouter.provider.LOOK_UP_SECONDS", 0.05)

    async def never(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async def stalls(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    for handler in (never, stalls):
        async with serving(handler) as server, provider_at(server.url) as provider:
            with pytest.raises(ProviderTimeoutError, match="/generation gave no answer"):
                await provider.fetch_generation("gen-1")
            assert await server.empties()


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": 1}', '{"data": {}}'])
async def test_generation_that_cannot_be_read_is_an_invalid_response(body: str) -> None:
    async def strange(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=body)

    async with serving(strange) as server, provider_at(server.url) as provider:
        with pytest.raises(InvalidResponseError):
            await provider.fetch_generation("gen-1")


async def test_generation_refused_is_the_error_of_its_status() -> None:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401)

    async with serving(refuse) as server, provider_at(server.url) as provider:
        with pytest.raises(AuthenticationError):
            await provider.fetch_generation("gen-1")


async def test_answer_of_another_success_status_is_no_answer() -> None:
    async def created(request: web.BaseRequest) -> web.StreamResponse:
        response = await answer(request)
        response.set_status(202)
        return response

    async with serving(created) as server, provider_at(server.url) as provider:
        with pytest.raises(ProviderError):
            await provider.complete(asking())
