"""OpenRouter's answers as Completions. Pure: bytes in, a Completion or a ProviderError out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Completion
from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderConnectionError,
    ProviderError,
)
from llm_router.redaction import redact
from llm_router.usage import Cost, Usage
from llm_router.wires import answer_parts as parts
from llm_router.wires.error_facts import header, page_sentence
from llm_router.wires.errors import context, error_from_object, read_error
from llm_router.wires.json_values import (
    UnreadableError,
    count,
    has_surrogates,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    read_json,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.options.request import ProviderRequest

_NO_USAGE, _NO_COST = Usage(), Cost()


def read_answer(
    body: bytes,
    status: int,
    headers: Mapping[str, str],
    request: ProviderRequest,
    secrets: Sequence[str] = (),
) -> Completion:
    """Return the whole answer that *body* is, or raise the ProviderError that it is.

    A 200 may hold an error, at the top or in a choice; blanks are what a cut connection leaves
    of a keep-alive padding.
    """
    if status != 200:
        raise read_error(status, headers, body, request, secrets)
    try:
        answer = read_json(body)
        if has_surrogates(body):
            answer = mend_all(answer)
        if not isinstance(answer, dict):
            raise UnreadableError("is not a JSON object")
        error = error_in(answer, request, headers, secrets)
        if error is None:
            return _whole(answer, request, headers)
    except UnreadableError as problem:
        raise unreadable(body, str(problem), request, headers, secrets) from problem
    raise error


def error_in(
    answer: dict[str, Any],
    request: ProviderRequest,
    headers: Mapping[str, str],
    secrets: Sequence[str],
) -> ProviderError | None:
    """Return the error inside a 200 body or a stream's event, None when there is none."""
    error = answer.get("error")
    if not is_error(error):
        error = next((e for e in map(_choice_error, objects(answer.get("choices"))) if e), None)
    if not is_error(error):
        return None
    return error_from_object(
        error, status=None, headers=headers, request=request, body=answer, secrets=secrets
    )


def is_error(value: Any) -> bool:
    return value is not None and value is not False


def _choice_error(choice: dict[str, Any]) -> Any:
    """Return a choice's error; one that finished with "error" and no object gets a sentence."""
    error = choice.get("error")
    if is_error(error):
        return error or {"message": "The provider reported an error without a message"}
    if choice.get("finish_reason") != "error":
        return None
    native = text_or_none(choice.get("native_finish_reason"))
    return {"message": f"The answer ended in an error{f' ({native})' if native else ''}"}


def _whole(
    answer: dict[str, Any], request: ProviderRequest, headers: Mapping[str, str]
) -> Completion:
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise UnreadableError("has no choices")
    if not choices:
        raise _empty("The answer has no choices", answer, request, headers)
    if not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
        raise UnreadableError("has a choice without a message")
    completion = build(answer, choices[0], request, headers)
    if is_empty(completion, choices[0].get("finish_reason")):
        raise no_answer(answer, request, headers)
    return completion


def is_empty(completion: Completion, finish: Any) -> bool:
    """Say whether this is the wire's "no content generated": nothing said, nothing finished."""
    return finish is None and not (
        completion.text
        or completion.tool_calls
        or completion.reasoning
        or completion.refusal
        or completion.images
        or completion.audio
        or completion.usage.output_tokens
    )


def no_answer(
    answer: Mapping[str, Any], request: ProviderRequest, headers: Mapping[str, str]
) -> EmptyResponseError:
    return _empty("The answer is empty: no content was generated", answer, request, headers)


def _empty(
    message: str,
    answer: Mapping[str, Any],
    request: ProviderRequest,
    headers: Mapping[str, str],
) -> EmptyResponseError:
    return EmptyResponseError(message, **context(request, headers, answer), status_code=200)


def unreadable(
    body: bytes,
    problem: str,
    request: ProviderRequest,
    headers: Mapping[str, str],
    secrets: Sequence[str] = (),
) -> ProviderError:
    """Return the error of a 200 body that is no answer: nothing, blanks, a page, broken JSON."""
    known = context(request, headers) | {"status_code": 200}
    text = body.strip()
    if body and not text:
        return ProviderConnectionError("The connection broke before the answer came", **known)
    if not text:
        return InvalidResponseError("The answer is empty: not one byte came", **known)
    if text[:1] == b"<":
        title = page_sentence(text)
        shown = f" ({redact(title, secrets)})" if title else ""
        return InvalidResponseError(f"The answer is a web page{shown}, not JSON", **known)
    return InvalidResponseError(f"The answer {problem}", **known)


def build(
    answer: Mapping[str, Any],
    choice: dict[str, Any],
    request: ProviderRequest,
    headers: Mapping[str, str],
    *,
    whole: bool = True,
) -> Completion:
    """Read every field of an answer; UnreadableError where a part is of the wrong kind.

    Calls of an answer that is not *whole*, or was cut by its length, are not complete.
    """
    message = object_or_empty(choice.get("message"))
    native = text_or_none(choice.get("native_finish_reason"))
    finish = parts.finish_reason(choice.get("finish_reason"), native)
    annotations = [plain_json(note) for note in objects(message.get("annotations"))]
    usage = answer.get("usage")
    report = usage if isinstance(usage, dict) else None
    return Completion(
        text=parts.text_of(message.get("content")),
        reasoning=parts.reasoning_of(message),
        reasoning_details=tuple(
            plain_json(detail) for detail in objects(message.get("reasoning_details"))
        ),
        refusal=text_or_none(message.get("refusal")),
        tool_calls=parts.tool_calls_of(message, complete=whole and finish != "length"),
        citations=parts.citations_of(annotations, answer.get("citations")),
        annotations=tuple(annotations),
        images=parts.images_of(message),
        audio=parts.audio_of(message),
        logprobs=parts.logprobs_of(choice),
        finish_reason=finish,
        native_finish_reason=native,
        alias=request.alias,
        requested_model=request.deployment.name,
        model=text_or_none(answer.get("model")),
        provider=request.deployment.provider,
        upstream_provider=text_or_none(answer.get("provider"))
        or header(headers, "X-Provider-Name"),
        request_id=request.request_id,
        response_id=text_or_none(answer.get("id")) or header(headers, "X-Generation-Id"),
        service_tier=text_or_none(answer.get("service_tier")),
        created=count(answer.get("created")),
        usage=parts.usage_of(report) if report else _NO_USAGE,
        cost=parts.cost_of(report) if report else _NO_COST,
    )
