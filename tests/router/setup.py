"""The configuration that the tests of the Router share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox

GPT = "openrouter/openai/gpt-4o-mini"
CLAUDE = "openrouter/anthropic/claude-haiku-4.5"
LLAMA = "openrouter/meta-llama/llama-3.3-70b-instruct"
WRONG_KEY = "sk-or-v1-" + "0badc0de" * 8
EAGER = Clock(random=lambda: 0.0)
"""Back-off waits nothing; a Retry-After is still obeyed."""


def configuration(sandbox: Sandbox, **sections: Any) -> dict[str, Any]:
    """Return a configuration of the file's shape; *sections* replace its own."""
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    return {
        "version": 1,
        "providers": {"openrouter": row},
        "aliases": {
            "fast": {"model": GPT, "params": {"temperature": 0.2, "max_tokens": 512}},
            "safe": {"model": GPT, "fallbacks": [CLAUDE]},
            "extract": {"model": GPT, "params": {"temperature": 0}},
        },
        **sections,
    }


async def until(ready: Callable[[], Any]) -> None:
    """Wait until *ready* says something true; TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0.005)
