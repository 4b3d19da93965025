"""The table of `docs/operations.md`: each cell is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_router.config.model import ProviderConfig
from llm_router.providers.registry import build_provider

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROWS = {
    "`openrouter`": [{"litellm": "openrouter"}],
    "rows of OpenAI's wire": [{"litellm": "openai"}, {"litellm": "groq"}, {"litellm": "azure"}],
    "all others": [
        {"litellm": "anthropic"}, {"litellm": "gemini"}, {"litellm": "bedrock"},
        {"litellm": "watsonx"}, {"litellm": "openrouter", "path": "acompletion"},
    ],
}  # fmt: skip


def cells() -> list[tuple[str, str, bool]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [
        (row[0].strip("`"), column, cell == "yes")
        for row in rows
        for column, cell in zip(head[1:], row[1:], strict=True)
    ]


@pytest.mark.parametrize(("operation", "column", "served"), cells())
def test_a_cell_of_the_table_is_true(operation: str, column: str, served: bool) -> None:
    for row in ROWS[column]:
        provider = build_provider("row", ProviderConfig.model_validate(row))
        assert hasattr(provider, operation) is served, row


def test_the_table_has_every_operation() -> None:
    named = {operation for operation, _, _ in cells()}
    assert named == {"embed", "rerank", "generate_image", "speak", "transcribe", "search"}
