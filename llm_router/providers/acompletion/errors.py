"""LiteLLM's exceptions as ours: one table, and where they keep what the provider said.

What broke comes first (a refused connection has status 500 here), then classes that mean one
thing only, then the status with the body, read as on the wire.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_router.errors import (
    BudgetExceededError,
    ConfigurationError,
    ContentFilteredError,
    ContextWindowExceededError,
    InvalidRequestError,
    InvalidResponseError,
    LLMRouterError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    UnsupportedFeatureError,
)
from llm_router.providers.requests import sentence_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.wires.reading import Wire

# By name, because importing the classes would import LiteLLM. All others go by the status that
# they carry; a contract test looks for new ones.
TABLE: dict[str, type[LLMRouterError]] = {
    "APIResponseValidationError": InvalidResponseError,
    "BlockedPiiEntityError": ContentFilteredError,
    "BudgetExceededError": BudgetExceededError,
    "ContentPolicyViolationError": ContentFilteredError,
    "ContextWindowExceededError": ContextWindowExceededError,
    "EndpointNotSupportedByModelError": UnsupportedFeatureError,
    "GuardrailInterventionNormalStringError": ContentFilteredError,
    "GuardrailRaisedException": ContentFilteredError,
    "ImageFetchError": InvalidRequestError,
    "JSONSchemaValidationError": InvalidResponseError,
    "LiteLLMUnknownProvider": ConfigurationError,
    "MalformedRequestFieldError": InvalidRequestError,
    "ModelNotMappedError": ConfigurationError,
    "ModifyResponseException": ContentFilteredError,
    "RejectedRequestError": ContentFilteredError,
    "SensitiveDataRouteException": ContentFilteredError,
    "Timeout": ProviderTimeoutError,
    "UnsupportedEndpointError": UnsupportedFeatureError,
    "UnsupportedParamsError": UnsupportedFeatureError,
    "VectorStoreSearchError": InvalidRequestError,
}
_INSIDE_A_STREAM = "MidStreamFallbackError"
_CUT = "Stream ended before a finish_reason"
_TIMEOUTS = {"TimeoutException", "ReadTimeout", "ConnectTimeout", "APITimeoutError", "TimeoutError"}
_BROKEN = {
    "NetworkError", "RemoteProtocolError", "ClientConnectionError", "ClientPayloadError",
    "ConnectionError", "EndpointConnectionError",
}  # fmt: skip


def translate(error: BaseException, wire: Wire) -> LLMRouterError:
    """Return our error for what LiteLLM raised; never raises. *wire* reads what was sent."""
    chain = list(_chain(error))
    sentence = sentence_of(error)
    status, headers, body = _evidence(chain)
    # A broken connection has status 500 here, a read timeout 408; a status with a body is true.
    broken = None if body or status not in (None, 408, 500) else _broken(chain)
    if broken is not None or _CUT in sentence:
        return (broken or ProviderConnectionError)(sentence)
    kind = TABLE.get(type(error).__name__, ProviderError)
    if not issubclass(kind, ProviderError):
        return kind(sentence, status_code=status)
    if status is None or status < 400:
        # Without a status LiteLLM failed on its own, with one it could not read a good answer.
        unnamed = kind is ProviderError and status is not None
        return (InvalidResponseError if unnamed else kind)(sentence, status_code=status)
    if body and type(error).__name__ == _INSIDE_A_STREAM:
        status = 200  # then the code in the body counts, and LiteLLM's own is a guess
    said = body or json.dumps({"error": {"message": sentence}}).encode()
    found = wire.read_error(status, headers, said)
    if isinstance(found, kind):
        return found
    names = ("upstream_message", "raw", "status_code", "code", "retry_after", "response_id")
    return kind(found.message, **{name: getattr(found, name) for name in names})


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
        if type(one).__module__.startswith("litellm"):
            continue
        if names & _TIMEOUTS:
            return ProviderTimeoutError
        if isinstance(one, json.JSONDecodeError):
            return InvalidResponseError
        if names & _BROKEN:
            return ProviderConnectionError
    return None


def _evidence(chain: list[BaseException]) -> tuple[int | None, Mapping[str, str], bytes]:
    """Return status, headers and body of the answer, as far as anyone kept them."""
    status: int | None = None
    headers: dict[str, str] = {}
    body = b""
    for one in chain:
        said = getattr(one, "status_code", None)
        found = b"" if body else _body_of(one)
        # What holds the body is the provider's own: its status is the wire's, LiteLLM's a class's.
        if isinstance(said, int) and (found or status is None):
            status = said
        kept: Any = getattr(one, "litellm_response_headers", None) or getattr(one, "headers", None)
        headers, body = headers or dict(kept or {}), body or found
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
