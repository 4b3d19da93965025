"""The table of `docs/providers.md`: each cell is what the code does, or names its test."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import SecretStr

from llm_router.config.model import ProviderConfig
from llm_router.errors import UnsupportedFeatureError
from llm_router.operations.structured.modes import Capabilities
from llm_router.options.messages import normalise_messages
from llm_router.options.parts import ImagePart
from llm_router.providers.registry import FOREIGN, build_provider
from tests.providers import (
    test_foreign,
    test_foreign_calls,
    test_native,
    test_native_streams,
    test_requests,
)
from tests.providers.foreign import KEY, MODELS
from tests.providers.scripted import ask
from tests.router import test_complete, test_conversations, test_round_trip, test_streams

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40
CLAUDES = ("anthropic", "bedrock", "openrouter")
OPENAIS = "openai"

# Which tests show a cell: those of wires of their own must have been run for the row's kind.
SHOWN: dict[str, dict[str, list[Callable[..., Any]]]] = {
    "own": {
        "text": [test_foreign_calls.test_an_answer_is_read_from_the_wires_own_bytes],
        "stream": [test_foreign_calls.test_a_stream_is_whole_only_when_the_wire_says_so],
        "cut noticed": [test_foreign_calls.test_a_stream_is_whole_only_when_the_wire_says_so],
        "tools": [test_foreign.test_what_every_provider_does_unasked_may_be_asked_for],
        "errors": [test_foreign_calls.test_an_error_is_the_providers_own],
    },
    "openrouter": {
        "text": [test_complete.test_an_answer_carries_text_tokens_cost_and_who_served_it],
        "stream": [test_streams.test_events_come_in_order_and_the_completion_is_whole_after_them],
        "cut noticed": [test_streams.test_a_cut_names_the_lost_connection],
        "tools": [test_conversations.test_a_tool_is_called_and_its_result_answered],
        "errors": [test_streams.test_a_wrong_key_is_an_authentication_error_of_the_stream],
    },
    OPENAIS: {
        "text": [test_native.test_an_answer_is_read_whole_when_a_local_server_gives_it],
        "stream": [
            test_native_streams.test_a_stream_gives_events_and_the_whole_answer_when_it_ends_well
        ],
        "cut noticed": [test_native_streams.test_a_stream_is_not_whole_when_it_is_cut],
        "tools": [test_requests.test_every_parameter_is_sent_whatever_the_configuration_knows],
        "errors": [test_native_streams.test_the_status_is_raised_when_a_stream_is_refused],
    },
}
THINKING: dict[str, list[Callable[..., Any]]] = {
    "anthropic": [
        test_foreign_calls.test_a_tool_loop_with_thinking_goes_on_where_the_provider_checks_signatures
    ],
    "bedrock": [
        test_foreign_calls.test_a_tool_loop_with_thinking_goes_on_where_the_provider_checks_signatures
    ],
    "gemini": [test_foreign.test_signatures_of_gemini_go_back_on_the_parts_they_came_with],
    "vertex_ai": [test_foreign.test_signatures_of_gemini_go_back_on_the_parts_they_came_with],
    "cohere_chat": [test_foreign.test_a_plan_of_cohere_goes_back_as_one],
    "openrouter": [test_round_trip.test_a_message_goes_back_as_it_came],
}


def table(heading: str) -> dict[str, dict[str, str]]:
    """Return the rows of the page's table whose second column is *heading*, by their kinds."""
    lines = PAGE.splitlines()
    start = next(
        n for n, line in enumerate(lines) if line.startswith(f"| `litellm:` | {heading} |")
    )
    names = cells(lines[start])
    rows: dict[str, dict[str, str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found = cells(line)
        rows[found[0].split("`")[1]] = dict(zip(names[1:], found[1:], strict=True))
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


TABLE, REFUSED = table("text"), table("not taken")


def kinds_of(test: Callable[..., Any]) -> set[str]:
    """Return the kinds that a parametrised test is run for."""
    found: set[str] = set()
    for mark in getattr(test, "pytestmark", ()):
        names = mark.args[0] if mark.name == "parametrize" else ()
        names = names.split(",") if isinstance(names, str) else names
        if "kind" in names:
            values: Iterable[Any] = mark.args[1]
            place = list(names).index("kind")
            found |= {value if isinstance(value, str) else value[place] for value in values}
    return found


def row_of(kind: str) -> ProviderConfig:
    return ProviderConfig(litellm=kind, base_url="http://127.0.0.1:9/v1", api_key=SecretStr(KEY))


async def body(kind: str, *, model: str | None = None, **options: Any) -> str:
    provider = build_provider(kind, row_of(kind))
    await provider.open()
    name = model or MODELS.get(kind, "anthropic/claude-sonnet-4.5")
    return json.dumps(provider.preview(ask(name, **options)).body)


def test_the_page_has_every_wire_that_we_read() -> None:
    assert TABLE.keys() == FOREIGN.keys() - {"cohere"} | {"openrouter", OPENAIS}
    assert REFUSED.keys() == FOREIGN.keys() - {"cohere"}


@pytest.mark.parametrize("kind", TABLE)
def test_a_yes_has_a_test_of_its_kind(kind: str) -> None:
    for column, tests in SHOWN["own" if kind in FOREIGN else kind].items():
        assert TABLE[kind][column] == "yes"
        for test in tests:
            assert kind not in FOREIGN or kind in kinds_of(test), f"{kind}: {column}"


@pytest.mark.parametrize("kind", TABLE)
def test_thinking_goes_back_where_a_test_shows_it(kind: str) -> None:
    assert (TABLE[kind]["thinking goes back"] == "no") is (kind not in THINKING)
    for test in THINKING.get(kind, ()):
        assert kind in kinds_of(test) | {"cohere_chat", "openrouter"}


@pytest.mark.parametrize("kind", TABLE)
def test_the_modes_of_a_schema_are_the_ladder(kind: str) -> None:
    ladder = Capabilities.of(row_of(kind), kind).ladder
    assert TABLE[kind]["schema, best first"] == ", ".join(ladder)


@pytest.mark.parametrize("kind", TABLE)
async def test_images_are_taken_as_the_page_says(kind: str) -> None:
    taken = []
    links: dict[str, bytes | str] = {
        "bytes": PNG,
        "URL": "http://a.example/a.png",
        "https URL": "https://a.example/a.png",
    }
    for name, image in links.items():
        messages = normalise_messages([{"role": "user", "content": ["look", ImagePart(image)]}])
        try:
            sent = await body(kind, messages=messages)
        except UnsupportedFeatureError:
            continue
        assert "iVBOR" in sent or "a.example" in sent
        taken.append(name)
    said = TABLE[kind]["images in"].split(", ")
    assert said == [name for name in taken if name != "https URL" or "URL" not in taken]


@pytest.mark.parametrize("kind", TABLE)
async def test_breakpoints_are_placed_where_the_page_says(kind: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    placed = "cache" in await body(kind, messages=messages, cache="auto")
    assert placed is (TABLE[kind]["prompt cache"] == "breakpoints") is (kind in CLAUDES)


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_the_page_calls_refused_is(kind: str) -> None:
    refused = []
    for name, value in test_foreign.TRACES.items():
        params = test_foreign.asked(name, value)
        user = params.pop("user", None)
        try:
            await body(kind, params=params, user=user)
        except UnsupportedFeatureError:
            refused.append(name)
    assert REFUSED[kind]["not taken"] == ", ".join(refused)
