"""How requests leave and bodies come in: proxies, encodings, limits, and what nobody may see."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import resource
import socket
import traceback
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from aiohttp import web

from llm_router.errors import (
    ConfigurationError,
    InvalidResponseError,
    LLMRouterError,
    ProviderConnectionError,
)
from llm_router.providers import http
from llm_router.redaction import Secret
from tests.providers.loopback import KEY, asking, provider_at, serving
from tests.providers.openrouter.test_provider import free_port, raw_server
from tests.providers.scripted import ask, provider

HEADER = "a-header-value-that-is-a-key"


# --- proxies --------------------------------------------------------------------------------


@asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, scheme: str) -> AsyncIterator[Any]:
    async with serving() as seen:
        port = seen.url.split(":")[2].partition("/")[0]
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:pass@127.0.0.1:{port}")
        yield seen


async def test_the_proxy_of_the_environment_is_used_when_no_key_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy(monkeypatch, "http") as seen, provider("http://models.test/v1") as row:
        assert (await row.complete(ask())).text == "Hi"
    sent = next(headers for method, _, headers in seen.received if method == "POST")
    assert sent["Host"] == "models.test"
    assert sent["Proxy-Authorization"].startswith("Basic ")


async def test_nothing_is_sent_when_a_proxy_could_read_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy(monkeypatch, "http") as seen:
        for secret in ({"api_key": KEY}, {"headers": {"X-Gate": HEADER}}):
            async with provider("http://models.test/v1", **secret) as row:
                with pytest.raises(ConfigurationError, match=r"readable to the proxy.*https://"):
                    await row.complete(ask())
    assert not seen.received


@pytest.mark.parametrize("name", ["http", "all"])
async def test_loopback_is_asked_directly_when_there_is_a_proxy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy(monkeypatch, name) as seen, serving() as direct:
        async with provider_at(direct.url) as row:
            await row.complete(asking())
        assert len(direct.posts) == 1
    assert not seen.received


async def test_a_host_is_asked_directly_when_no_proxy_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "nowhere.invalid")

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with proxy(monkeypatch, "http") as seen, provider("http://nowhere.invalid/v1") as row:
        with pytest.raises(ProviderConnectionError, match="was not found"):
            await row.complete(ask())
    assert not seen.received


async def test_proxy_that_is_away_or_of_a_kind_we_lack_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{free_port()}")
    async with provider_at("https://openrouter.test/api/v1") as row:
        with pytest.raises(ProviderConnectionError, match="HTTPS_PROXY"):
            await row.complete(asking())
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="socks5"):
        async with provider_at("https://openrouter.test/api/v1"):
            pass


async def test_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as url:
        monkeypatch.setenv("https_proxy", url)
        async with provider_at("https://openrouter.test/api/v1") as row:
            with pytest.raises(ProviderConnectionError, match="refused"):
                await row.complete(asking())


# --- bodies ---------------------------------------------------------------------------------


async def test_body_beyond_the_limit_is_refused_and_the_connection_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 2**20)

    async def huge(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b" " * 2**22)

    async with serving(huge) as server, provider_at(server.url) as row:
        with pytest.raises(InvalidResponseError, match="larger than 1 MiB"):
            await row.complete(asking())
        await row.catalog.aclose()
        assert await server.empties()


@functools.cache
def bomb() -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(pack.compress(bytes(2**20)) for _ in range(256)), pack.flush()])


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_a_body_that_would_inflate_is_refused_and_the_connection_closed(
    encoding: str, status: int
) -> None:
    """No encoding is asked for, and none is read: 256 KiB of gzip would be 256 MiB."""

    async def reply(_: web.BaseRequest) -> web.StreamResponse:
        headers = {"Content-Encoding": encoding}
        return web.Response(body=bomb(), headers=headers, status=status)

    async with serving(reply) as server, provider(server.url) as row:
        await row.open()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for call in (row.complete, row.stream):
            with pytest.raises(
                InvalidResponseError, match="encoding '.*', which was not asked for"
            ):
                await call(ask())
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert await server.empties()
    assert grown < 50 * 1024, f"{grown >> 10} MiB"
    assert server.received[0][2]["Accept-Encoding"] == "identity"


def test_aiohttp_keeps_what_came_before_a_cut_where_streams_look_for_it() -> None:
    """Its private buffer: there is no public way to what came ahead of an error."""
    from unittest.mock import Mock

    from aiohttp.streams import StreamReader

    loop = asyncio.new_event_loop()
    content = StreamReader(Mock(_reading_paused=False), limit=2**16, loop=loop)
    content.feed_data(b"a")
    content.feed_data(b"b")
    content.set_exception(OSError())
    assert b"".join(content._buffer) == b"ab"
    loop.close()


# --- secrets --------------------------------------------------------------------------------


def test_a_secret_is_sent_and_never_shown() -> None:
    secret = Secret("Bearer sk-0123456789")
    assert f"{secret}" == "Bearer sk-0123456789" and secret == "Bearer sk-0123456789"
    for shown in (repr(secret), repr({"a": [secret]}), repr(secret[:9]), repr(secret[3])):
        assert "sk-" not in shown and "B" not in shown
    assert pickle.loads(pickle.dumps(secret)) == "[redacted]"
    assert copy.copy(secret) == copy.deepcopy(secret) == secret


def shown_everywhere(error: BaseException) -> str:
    """Return all that loggers show of an error: causes, and the locals of every frame."""
    parts = [repr(error), str(error), repr(vars(error))]
    parts += traceback.format_exception(error)
    one: BaseException | None = error
    while one is not None:
        parts += [repr(one), repr(one.args), repr(vars(one))]
        frame = one.__traceback__
        while frame is not None:
            parts.append(repr(frame.tb_frame.f_locals))
            frame = frame.tb_next
        one = one.__cause__ or one.__context__
    how = structlog.tracebacks.ExceptionDictTransformer(show_locals=True)
    parts.append(repr(how((type(error), error, error.__traceback__))))
    return "\n".join(parts)


async def refused(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"error": {"message": "No"}}, status=401)


async def moved(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "https://x.example/"})


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response()


async def garbage(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="{")


FAILING = {"refused": refused, "moved": moved, "cut": cut, "garbage": garbage}


@pytest.mark.parametrize("kind", ["openrouter", "openai"])
@pytest.mark.parametrize("how", [*FAILING, "nobody", "not http", "line break"])
async def test_no_key_is_seen_in_causes_or_frames_when_a_call_fails(how: str, kind: str) -> None:
    row = {"api_key": KEY, "headers": {"X-Gate": HEADER}, "name": kind}
    if how == "line break":
        row["headers"] = {"X-Gate": f"{HEADER}\n"}
    error = await failure_of(how, kind, row)
    shown = shown_everywhere(error)
    assert KEY not in shown and HEADER not in shown


async def failure_of(how: str, kind: str, row: dict[str, Any]) -> LLMRouterError:
    if how in FAILING:
        async with serving(FAILING[how]) as server:
            return await caught(server.url, kind, row)
    if how == "not http":
        async with raw_server(b"SSH-2.0-OpenSSH_9.6\r\n") as url:
            return await caught(url, kind, row)
    return await caught(f"http://127.0.0.1:{free_port()}/v1", kind, row)


async def caught(url: str, kind: str, row: dict[str, Any]) -> LLMRouterError:
    async with provider(url, kind, **row) as made:
        del row, url
        for stream in (False, True):
            call = made.stream if stream else made.complete
            try:
                await call(ask(provider=kind, stream=stream))
            except LLMRouterError as error:
                found = error
    # From the package's own frame on: the test's hold what it configured.
    assert found.__traceback__ is not None
    return found.with_traceback(found.__traceback__.tb_next)


async def test_no_header_of_the_row_is_seen_in_a_preview() -> None:
    headers = {"X-Gate": HEADER}
    async with serving() as server, provider(server.url, api_key=KEY, headers=headers) as row:
        await row.open()
        shown = row.preview(ask())
        await row.complete(ask())
    assert shown.headers["X-Gate"] == shown.headers["Authorization"] == "[redacted]"
    assert HEADER not in repr(shown) and KEY not in repr(shown)
    assert server.received[0][2]["X-Gate"] == HEADER
    assert row.secrets == (KEY, HEADER)
