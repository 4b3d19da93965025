"""LiteLLM's exceptions as ours: the one table, and where it keeps what a provider said.

What broke comes first (a refused connection reaches us as status 500), then classes that mean one
thing only, then the status, then words. Headers and body are taken from the wire where we saw it,
else from where LiteLLM leaves them: `litellm_response_headers`, and the exception behind its own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from llm_router.errors import (
    BudgetExceededError,
    ConfigurationError,
    ContentFilteredError,
    ContextWindowExceededError,
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    NoEndpointError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    UnsupportedFeatureError,
)
from llm_router.redaction import redact
from llm_router.wires.errors import context, read_error
from llm_router.wires.statuses import error_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_router.options.request import ProviderRequest
    from llm_router.providers.litellm.connection import Exchange

_BY_STATUS = ProviderError
# By name, because importing the classes would import LiteLLM. `_BY_STATUS` leaves the choice to
# the status that the exception carries; a status never overrules the other entries.
TABLE: dict[str, type[LLMRouterError]] = {
    "APIConnectionError": _BY_STATUS,
    "APIError": _BY_STATUS,
    "APIResponseValidationError": InvalidResponseError,
    "AuthenticationError": _BY_STATUS,
    "BadGatewayError": _BY_STATUS,
    "BadRequestError": _BY_STATUS,
    "BlockedPiiEntityError": ContentFilteredError,
    "BudgetExceededError": BudgetExceededError,
    "ContentPolicyViolationError": ContentFilteredError,
    "ContextWindowExceededError": ContextWindowExceededError,
    "GuardrailInterventionNormalStringError": ContentFilteredError,
    "GuardrailRaisedException": ContentFilteredError,
    "ImageFetchError": InvalidRequestError,
    "InternalServerError": _BY_STATUS,
    "InvalidRequestError": _BY_STATUS,
    "JSONSchemaValidationError": InvalidResponseError,
    "LiteLLMUnknownProvider": ConfigurationError,
    "MidStreamFallbackError": _BY_STATUS,
    "MockException": _BY_STATUS,
    "ModelNotMappedError": ConfigurationError,
    "ModifyResponseException": ContentFilteredError,
    "NotFoundError": _BY_STATUS,
    "OpenAIError": _BY_STATUS,
    "PermissionDeniedError": _BY_STATUS,
    "RateLimitError": _BY_STATUS,
    "RejectedRequestError": ContentFilteredError,
    "SensitiveDataRouteException": ContentFilteredError,
    "ServiceUnavailableError": _BY_STATUS,
    "Timeout": ProviderTimeoutError,
    "UnprocessableEntityError": _BY_STATUS,
    "UnsupportedParamsError": UnsupportedFeatureError,
    "VectorStoreSearchError": InvalidRequestError,
}
_PREFIX = re.compile(r"^(?:litellm\.)?[A-Z]\w*(?:Error|Exception|Timeout)?(?:: | - )")
_APPENDICES = ("Traceback (most recent call last)", "\nThis looks like a bug in LiteLLM")
_WORDS_BEFORE_SENTENCE = ("Error", "Exception", "Timeout", "litellm.")
_TIMEOUTS = ("TimeoutException", "ReadTimeout", "ConnectTimeout", "APITimeoutError", "TimeoutError")
_BROKEN = (
    "ConnectionBrokenError",
    "NetworkError",
    "ConnectError",
    "ReadError",
    "RemoteProtocolError",
    "ClientConnectionError",
    "ConnectionError",
    "EndpointConnectionError",
)


def translate(
    error: BaseException,
    request: ProviderRequest,
    exchange: Exchange,
    secrets: Sequence[str] = (),
) -> LLMRouterError:
    """Return our error for what LiteLLM raised; never raises."""
    chain = list(_chain(error))
    status, headers, body = _evidence(chain, exchange)
    ours = next((e for e in chain if isinstance(e, LLMRouterError)), None)
    if ours is None:
        # LiteLLM calls a broken connection 500 and a read timeout 408; the wire's word is sure.
        sure = exchange.status is not None and exchange.status >= 400
        doubtful = not sure and (exchange.status is not None or status in (None, 408, 500))
        kind = _broken(list(_chain(exchange.failure or error))) if doubtful else None
        if kind is ProviderConnectionError and exchange.failure is not None and exchange.host:
            ours = _no_connection(exchange, request, secrets)
        else:
            ours = _error(kind, error, (status, headers, body), request, secrets)
    if isinstance(ours, ProviderError):
        ours.fill(**context(request, headers))
    return ours


def _no_connection(
    exchange: Exchange, request: ProviderRequest, secrets: Sequence[str]
) -> ProviderConnectionError:
    """Return what the wire says of its connection, and to where; "Connection error." is less."""
    said = redact(str(exchange.failure), secrets).rstrip(".") or "the connection broke"
    return ProviderConnectionError(
        f"{request.deployment.provider}: {exchange.host}: {said}",
        hint="Check base_url, the network, and that the server runs.",
    )


def _error(
    broken: type[ProviderError] | None,
    error: BaseException,
    evidence: tuple[int | None, Mapping[str, str], bytes],
    request: ProviderRequest,
    secrets: Sequence[str],
) -> LLMRouterError:
    status, headers, body = evidence
    sentence = redact(sentence_of(error), secrets)
    if broken is not None:
        return broken(f"{request.deployment.provider}: {sentence}")
    kind = TABLE.get(type(error).__name__)
    if kind is not None and kind is not _BY_STATUS and not issubclass(kind, ProviderError):
        return kind(sentence, **({"status_code": status} if status else {}))
    if status is not None and status >= 400:
        return _from_status(kind, sentence, (status, headers, body), request, secrets)
    if kind is None or kind is _BY_STATUS:
        # A 200 that LiteLLM could not read; without any status it failed on its own.
        kind = InvalidResponseError if status else ProviderError
    return kind(sentence, status_code=status)


def _from_status(
    kind: type[LLMRouterError] | None,
    sentence: str,
    evidence: tuple[int, Mapping[str, str], bytes],
    request: ProviderRequest,
    secrets: Sequence[str],
) -> ProviderError:
    """Return the error of a status, with what its body says where there is one."""
    status, headers, body = evidence
    said = body or json.dumps({"error": {"message": sentence}}).encode()
    found = read_error(status, headers, said, request, secrets)
    wanted = kind if kind is not None and kind is not _BY_STATUS else type(found)
    if wanted is NoEndpointError and request.deployment.provider != "openrouter":
        # Read as OpenRouter's: elsewhere a 404 is about the model.
        wanted = error_class(status, found.message, found.code)
    if wanted is type(found) or not issubclass(wanted, ProviderError):
        return found
    names = ("upstream_message", "raw", "status_code", "code", "retry_after", "response_id")
    return wanted(found.message, **{name: getattr(found, name) for name in names})


def sentence_of(error: BaseException) -> str:
    """Return the provider's own words in *error*, without LiteLLM's prefixes."""
    text = str(getattr(error, "message", None) or error).strip()
    for appendix in _APPENDICES:
        text = text.partition(appendix)[0].rstrip()
    while (found := _PREFIX.match(text)) and any(w in found[0] for w in _WORDS_BEFORE_SENTENCE):
        text = text[found.end() :]
    return text or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is behind it, nearest first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [getattr(one, "original_exception", None), one.__cause__, one.__context__]


def _broken(chain: list[BaseException]) -> type[ProviderError] | None:
    """Return the class for a connection that failed, or a body that is not JSON."""
    for one in chain:
        names = {cls.__name__ for cls in type(one).__mro__}
        is_litellms = type(one).__module__.startswith("litellm")
        if not names.isdisjoint(_TIMEOUTS) and not is_litellms:
            return ProviderTimeoutError
        if isinstance(one, json.JSONDecodeError):
            return InvalidResponseError
        if not names.isdisjoint(_BROKEN) and not is_litellms:
            return ProviderConnectionError
    return None


def _evidence(
    chain: list[BaseException], exchange: Exchange
) -> tuple[int | None, Mapping[str, str], bytes]:
    """Return status, headers and body of the answer, as far as anyone kept them."""
    if exchange.status is not None and exchange.status >= 400:
        return exchange.status, exchange.headers, exchange.take()
    headers: Mapping[str, str] = exchange.headers
    status, body = exchange.status, b""
    for one in chain:
        kept = getattr(one, "litellm_response_headers", None) or getattr(one, "headers", None)
        headers = headers or (dict(kept) if kept else {})
        body = body or _body_of(one)
        said = getattr(one, "status_code", None)
        if exchange.requests == 0 and status is None and isinstance(said, int):
            status = said
    if exchange.status is not None:
        said = getattr(chain[0], "status_code", None)
        status = said if body and isinstance(said, int) else exchange.status
    return status, headers, body


def _body_of(error: BaseException) -> bytes:
    """Return the body that an exception carries: its text is JSON, or it has it as an object."""
    text = str(getattr(error, "message", ""))
    if text.startswith("{"):
        return text.encode()
    body = getattr(error, "body", None)
    if not isinstance(body, dict):
        return b""
    return json.dumps(body if "error" in body else {"error": body}, default=str).encode()
