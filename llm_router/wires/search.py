"""Search over OpenRouter: a chat that was made to search; bytes in, SearchAnswer out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llm_router.answers.search import SearchAnswer
from llm_router.wires.json_values import count, object_or_empty
from llm_router.wires.tasks import exact_json, no_answer, said_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.wires.openai import OpenAIWire

# The answers say the first, the guide says the second.
_DETAILS = ("server_tool_use_details", "server_tool_use")


def read_search(
    wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes
) -> SearchAnswer:
    """Return what was found, or raise the ProviderError that the answer is.

    Neither text nor source is no answer; text alone is one, for a model may know by itself.
    """
    answer = wire.read_answer(status, headers, body)
    if not (answer.text or answer.citations):
        raise no_answer(answer, "The answer has neither text nor sources in it")
    report = object_or_empty(exact_json(body).get("usage"))
    details = [object_or_empty(report.get(name)) for name in _DETAILS]
    counts = (count(detail.get("web_search_requests")) for detail in details)
    searches = next((found for found in counts if found is not None), None)
    usage = answer.usage
    if searches is not None:
        usage = replace(usage, units=searches, unit="search")
    fields = said_by(answer) | {"usage": usage}
    return SearchAnswer(text=answer.text, citations=answer.citations, **fields)
