"""Which ways there are to ask for a schema; what a refusal is of: the mode, or this one schema."""

from __future__ import annotations

from typing import Any

import pytest

from llm_router.config.model import ProviderConfig
from llm_router.errors import InvalidRequestError
from llm_router.operations.structured.modes import (
    LADDER,
    Capabilities,
    is_about_schema,
    is_refusal,
)
from llm_router.options.values import StructuredMode

LLAMA_CPP = "Unable to generate parser for this template. Automatic parser generation failed: "


@pytest.mark.parametrize(
    "sentence",
    [
        f"{LLAMA_CPP}JSON schema error at #/x/w: cannot resolve $ref #/$defs/x, $defs not found",
        f"{LLAMA_CPP}JSON schema conversion failed:\nInvalid pattern ^(a$: unbalanced parentheses",
        f"{LLAMA_CPP}JSON schema error at #: unrecognized type nonsense",
    ],
)
def test_one_schema_is_refused_when_llama_cpp_cannot_compile_it(sentence: str) -> None:
    error = InvalidRequestError(sentence, status_code=400)
    assert is_refusal(error, "json_schema")
    assert is_about_schema(error)


def test_the_mode_is_refused_when_nothing_is_said_of_the_schema() -> None:
    error = InvalidRequestError("'response_format' is not supported here", status_code=400)
    assert is_refusal(error, "json_schema")
    assert not is_about_schema(error)


@pytest.mark.parametrize(
    ("kind", "row", "ladder"),
    [
        ("anthropic", {}, ("tool", "prompt")),
        ("bedrock", {}, ("tool", "prompt")),
        ("ollama_chat", {}, ("json_schema", "json_object", "prompt")),
        ("gemini", {}, LADDER),
        ("cohere_chat", {}, LADDER),
        ("anthropic", {"path": "acompletion"}, LADDER),
        ("anthropic", {"structured": "json_schema"}, ("json_schema", "tool", "prompt")),
        ("groq", {"structured": "tool"}, ("tool", "json_object", "prompt")),
    ],
)
def test_the_ladder_has_what_the_wire_has_and_the_configuration_wins(
    kind: str, row: dict[str, Any], ladder: tuple[StructuredMode, ...]
) -> None:
    assert Capabilities.of(ProviderConfig(litellm=kind, **row), "row").ladder == ladder
