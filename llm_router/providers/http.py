"""One HTTP session per event loop: how requests leave this process and bodies come in.

aiohttp, with everything switched off that would act behind the caller's back: redirects, cookies,
~/.netrc, its own timeouts (the attempt loop cancels), its pool limit. Nothing here retries.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
from collections.abc import Mapping
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

from llm_router.config.checks import is_loopback
from llm_router.errors import (
    ConfigurationError,
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    ProviderConnectionError,
    ProviderError,
)
from llm_router.redaction import Secret
from llm_router.wires.json_values import READ_AT_ONCE_BYTES

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import aiohttp

R = TypeVar("R")
CLOSING_SECONDS = 2.0
"""How long `aclose` waits for a loop of another thread; it may be busy for longer, or ending."""
STAND_IN = "llm-router-no-key"
"""Given to LiteLLM in place of a key: it shows where the key goes, and reads none by itself."""
MAX_BODY_BYTES = 64 * 1024 * 1024
# aiohttp warns about larger bodies given as bytes, and sends file-like ones piece by piece.
_PIECEMEAL_BYTES = 2**20
_PROXY_HINT = "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY."


class HttpClient:
    """Sends requests to the host of one address. `prepare()` first: it blocks, so in a thread.

    *keyed* says that requests carry a key, which no proxy may read.
    """

    def __init__(self, address: str, *, keyed: bool) -> None:
        self._address = address
        self._keyed = keyed
        self._proxy: dict[str, Any] = {}
        self._tls: ssl.SSLContext | None = None
        self._sessions: PerLoop[_Session] | None = None

    def prepare(self) -> None:
        """Import aiohttp, load the certificates (SSL_CERT_FILE) and read the proxy variables.

        Done here once: aiohttp's own `trust_env` would look them up for every request, through
        two hops over the loop's default thread pool, and read ~/.netrc as well.
        """
        import ssl

        importlib.import_module("aiohttp")
        self._proxy = _proxy_of(self._address, keyed=self._keyed)
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._sessions = PerLoop(lambda: _Session(self._tls), _Session.close)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Send one request; return when the status and headers are there. The caller closes it.

        Raises ProviderConnectionError, and InvalidResponseError for a redirect, for what is not
        HTTP, and for an encoding that was not asked for.
        """
        assert self._sessions is not None, "prepare() comes first"
        session = await self._sessions.get()
        response = await session.request(method, url, headers, body, self._proxy)
        if isinstance(response, LLMRouterError):
            # Not inside `except`: aiohttp's error shows the request, its key among it.
            raise response
        problem = _refused_head(response)
        if problem is not None:
            response.close()
            raise problem
        return response

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the whole body, at most 64 MiB; the connection is free or closed afterwards."""
        import aiohttp

        broken: ProviderError | None = None
        try:
            pieces, size = [], 0
            while piece := await response.content.readany():
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    broken = _too_large(response)
                    break
        except (aiohttp.ClientError, OSError) as error:
            broken = connection_error(error, str(response.url))
        finally:
            # Released at its end by aiohttp; in any other case nothing may be left to arrive.
            if not response.content.at_eof() or response.content.exception() is not None:
                response.close()
        if broken is not None:
            raise broken
        return b"".join(pieces)

    async def read_as(
        self,
        response: aiohttp.ClientResponse,
        read: Callable[[int, Mapping[str, str], bytes], R],
    ) -> R:
        """Return what *read* makes of the status, the headers and the whole body.

        A large body is read in a thread, which is left to itself when the wait is cancelled.
        """
        body = await self.read(response)
        if len(body) <= READ_AT_ONCE_BYTES:
            return read(response.status, response.headers, body)
        return await asyncio.to_thread(read, response.status, response.headers, body)

    async def aclose(self) -> None:
        """Close the sessions. Idempotent; a later request opens a new one."""
        if self._sessions is not None:
            await self._sessions.aclose()


class _Session:
    """One loop's connections, and the responses that are being read from them."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        import aiohttp

        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls or True),
            # A body inflates up to a thousand times, in aiohttp before anyone can count.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )
        self.open: WeakSet[aiohttp.ClientResponse] = WeakSet()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        proxy: Mapping[str, Any],
    ) -> aiohttp.ClientResponse | LLMRouterError:
        """Return the response once its head is there, or our error for why there is none."""
        import aiohttp

        large = body is not None and len(body) > _PIECEMEAL_BYTES
        data = io.BytesIO(body) if large and body else body
        try:
            response = await self.client.request(
                method, url, headers=headers, data=data, allow_redirects=False, **proxy
            )
        except (aiohttp.ClientConnectionError, aiohttp.ClientResponseError, OSError) as error:
            return connection_error(error, url)
        except ValueError as error:  # a URL or header that cannot be put on the wire
            return ConfigurationError(f"No request can be built for {url}: {error}")
        self.open.add(response)
        return response

    async def close(self) -> None:
        # aiohttp closes the connections, but lets those wait for ever who read from them.
        for response in list(self.open):
            response.close()
        await self.client.close()


def _proxy_of(url: str, *, keyed: bool) -> dict[str, Any]:
    """Return the request arguments for the proxy that the environment names for *url*.

    Loopback needs none. A key goes to a proxy only inside TLS; ConfigurationError otherwise.
    """
    from yarl import URL

    parts = urlsplit(url)
    proxies = getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return {}
    proxy = URL(address if "://" in address else f"http://{address}")
    if proxy.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"The proxy variable for {parts.scheme} names a {proxy.scheme}:// proxy; "
            "only http:// and https:// proxies are served."
        )
    if keyed and parts.scheme == "http":
        raise ConfigurationError(
            f"The key for {parts.hostname} would be readable to the proxy {proxy.host}.",
            hint="Use https:// in base_url, or name the host in NO_PROXY.",
        )
    return {"proxy": proxy}


def connection_error(error: Exception, url: str) -> ProviderError:
    """Return our error for one of aiohttp's or the socket's, with what to do about it."""
    import aiohttp

    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    kinds = (
        (aiohttp.ClientProxyConnectionError, "The proxy for {host} did not answer", _PROXY_HINT),
        (aiohttp.ClientHttpProxyError, "The proxy refused to connect to {host}", _PROXY_HINT),
        (aiohttp.ClientConnectorCertificateError, "The certificate of {host} was not accepted",
         "Behind an inspecting proxy, point SSL_CERT_FILE at its certificate."),
        (aiohttp.ClientSSLError, "No TLS connection to {host}",
         "Check that base_url has the right scheme and port."),
        (aiohttp.ClientConnectorDNSError, "The name {host} was not found",
         "Check base_url and the network."),
        (aiohttp.ClientConnectorError, "No connection to {host}",
         "Check base_url, the network, and that the server runs."),
        (aiohttp.ClientPayloadError, "The connection to {host} broke in the middle of the body",
         "The answer is lost and may still be billed."),
        (aiohttp.ClientResponseError, "What {host} sent is not HTTP", "Check base_url."),
        (Exception, "The connection to {host} broke before the answer was whole", None),
    )  # fmt: skip
    sentence, hint = next((text, hint) for kind, text, hint in kinds if isinstance(error, kind))
    made = InvalidResponseError if sentence.endswith("not HTTP") else ProviderConnectionError
    unsent = (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError)
    return made(
        f"{sentence.format(host=host)} ({_reason(error)})",
        hint=hint,
        sent=False if isinstance(error, unsent) else None,
    )


def _reason(error: Exception) -> str:
    """Return the shortest true words: the system's own where there are some."""
    strerror = getattr(error, "strerror", None) or getattr(
        getattr(error, "os_error", None), "strerror", None
    )
    certificate = getattr(error, "certificate_error", None)
    return str(certificate or strerror or error or type(error).__name__)


def _refused_head(response: aiohttp.ClientResponse) -> ProviderError | None:
    """Return why nothing of an answer is read: a redirect, or an encoding nobody asked for."""
    host, status = response.url.host, response.status
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")
        return InvalidResponseError(
            f"{host} answered {status} and points to {target}",
            status_code=status,
            hint="Redirects are not followed, for the key would go with them: set base_url to "
            "the final address.",
        )
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return None
    return InvalidResponseError(
        f"{host} answered in the encoding {encoding!r}, which was not asked for",
        status_code=status,
    )


def _too_large(response: aiohttp.ClientResponse) -> ProviderError:
    limit = f"{MAX_BODY_BYTES >> 20} MiB"
    return InvalidResponseError(f"The body is larger than {limit}.", status_code=response.status)


def filled(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return *headers* with *key* where it belongs; without one nothing is sent there."""
    sent = {n: value for n, value in headers.items() if key or STAND_IN not in value}
    for name, value in sent.items():
        if STAND_IN in value:
            refuse_line_break(name, key)
            sent[name] = Secret(value.replace(STAND_IN, key))
    return sent


def refuse_line_break(name: str, value: str) -> None:
    """Raise ConfigurationError for a value that would end its header and begin another one."""
    if "\n" in value or "\r" in value:
        raise ConfigurationError(f"The value of the header {name!r} has a line break in it")


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Return *body* as JSON in UTF-8; InvalidRequestError when a value has no JSON form."""
    try:
        text = json.dumps(
            body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            "A text of the request holds half a character (a lone surrogate): it has no UTF-8 form",
            hint="Clean it with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')",
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"The request is not JSON: {error}") from error


def _plain(value: Any) -> Any:
    """Serve the values json does not know: read-only mappings and exact decimals."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        # A JSON number where it says exactly the same, else text (OpenRouter takes both).
        number = float(value)
        return number if Decimal(repr(number)) == value else format(value, "f")
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


class PerLoop(Generic[R]):
    """Gives each running loop its own resource, and closes it with `aclose()` or with its loop.

    An asynchronous generator holds the resource: `asyncio.run` finishes the generators of its
    loop before it closes it (`loop.shutdown_asyncgens`), so that a script which runs several
    loops one after the other, and never closes its Router, still leaks no connection.
    """

    def __init__(self, make: Callable[[], R], close: Callable[[R], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._held: dict[asyncio.AbstractEventLoop, tuple[R, AsyncGenerator[R, None]]] = {}

    async def get(self) -> R:
        """Return the resource of the running loop, made now if this is the first time."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            keeper = self._keep(loop)
            # The generator runs to its first yield without suspending: no one gets in between.
            held = self._held[loop] = (await anext(keeper), keeper)
        return held[0]

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[R, None]:
        resource = self._make()
        try:
            yield resource
        finally:
            self._held.pop(loop, None)
            await self._close(resource)

    async def aclose(self) -> None:
        """Close the resource of this loop, and those of loops that run in other threads.

        A loop that stands still cannot be asked, and one that is busy is not waited for beyond
        `CLOSING_SECONDS`: its resource is closed when it gets to it, or shuts down.
        """
        here = asyncio.get_running_loop()
        for loop, (_, keeper) in list(self._held.items()):
            self._held.pop(loop, None)
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                await _close_in(loop, keeper)


async def _close_in(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[R, None]) -> None:
    closed: Future[None] = Future()

    async def close() -> None:
        await keeper.aclose()

    def begin() -> None:
        loop.create_task(close()).add_done_callback(lambda _: closed.set_result(None))

    try:
        loop.call_soon_threadsafe(begin)
    except RuntimeError:  # it ended at this moment, and closed what it held
        return
    await asyncio.wait([asyncio.wrap_future(closed)], timeout=CLOSING_SECONDS)
