"""What the answers of operations beside chat have in common: the errors, the names, the bill."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_router.errors import EmptyResponseError, InvalidResponseError
from llm_router.wires import parts
from llm_router.wires.errors import context
from llm_router.wires.json_values import (
    UnreadableError,
    money,
    object_or_empty,
    read_json,
    text_or_none,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.answers.completion import Completion
    from llm_router.usage import Unit, Usage
    from llm_router.wires.openai import OpenAIWire

_OF_EVERY_ANSWER = ("model", "upstream_provider", "response_id", "usage", "cost")
_SPELT = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
_UNITS: dict[str, Unit] = {"search_units": "search_unit", "seconds": "second"}


def exact_json(body: bytes) -> dict[str, Any]:
    """Return the object in *body*, its numbers exact; empty where there is none."""
    try:
        return object_or_empty(read_json(body))
    except UnreadableError:
        return {}


def object_with(
    key: str,
    wire: OpenAIWire,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    loads: Callable[[bytes], dict[str, Any]] = exact_json,
) -> dict[str, Any]:
    """Return the object in *body*, which has *key*, or raise the ProviderError that it is.

    An error inside a 200, a page, or nothing, is what it is for a chat too: *wire* reads it.
    """
    if status != 200:
        raise wire.read_error(status, headers, body)
    answer = loads(body)
    if key not in answer:
        wire.read_answer(status, headers, body)
        raise InvalidResponseError(f"The answer has no {key} in it", status_code=200)
    return answer


def known(headers: Mapping[str, str], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that every answer has, as far as headers and body say them."""
    usage = {"usage": usage_of(answer)} if answer.get("usage") else {}
    return {"model": text_or_none(answer.get("model")), **context(headers, answer), **usage}


def bill(headers: Mapping[str, str], answer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what an error carries of a 200 that is no answer: it may be billed all the same."""
    return context(headers, answer) | {"status_code": 200}


def said_by(chat: Completion) -> dict[str, Any]:
    """Return who answered and for how much, of an operation that is asked as a chat."""
    return {name: getattr(chat, name) for name in _OF_EVERY_ANSWER}


def no_answer(chat: Completion, message: str) -> EmptyResponseError:
    """Return the error that a chat's answer is where it has nothing of what was asked for."""
    fields = said_by(chat)
    del fields["model"]  # an error's is the deployment
    return EmptyResponseError(message, status_code=200, **fields)


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """Read `usage`, in tokens of either spelling and in what the operation counts beside them."""
    report = object_or_empty(answer.get("usage"))
    tokens = {name: report[other] for name, other in _SPELT.items() if other in report}
    usage = parts.usage_of(tokens | report)
    for name, unit in _UNITS.items():
        counted = money(report.get(name))
        if counted is not None:
            return replace(usage, units=float(counted), unit=unit)
    return usage
