"""What the real server refuses, and what happens when it goes."""

from __future__ import annotations

from typing import Any

import pytest

from llm_router.cli.local_model import CONTEXT_TOKENS, LocalModel
from llm_router.config.loading import from_dict
from llm_router.errors import (
    ContextWindowExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    StreamInterruptedError,
)
from llm_router.router import Router
from llm_router.routing.clock import Clock
from tests.local_model.mortal import mortal_model

pytestmark = pytest.mark.local_model


def at(base_url: str) -> Router:
    row = {"litellm": "openai", "base_url": base_url}
    config = from_dict({"version": 1, "providers": {"local": row}})
    return Router(config, clock=Clock(random=lambda: 0.0))  # no pauses between retries


async def test_the_context_window_is_exceeded_when_the_prompt_is_too_long(router: Router) -> None:
    with pytest.raises(ContextWindowExceededError, match=str(CONTEXT_TOKENS)) as caught:
        await router.complete("fast", "word " * CONTEXT_TOKENS)
    assert (caught.value.status_code, caught.value.provider) == (400, "local")
    assert len(caught.value.attempts or ()) == 1


async def test_a_stream_is_refused_before_it_begins_when_the_prompt_is_too_long(
    router: Router,
) -> None:
    with pytest.raises(ContextWindowExceededError):
        async with router.stream("fast", "word " * CONTEXT_TOKENS):
            pass


async def test_nothing_is_found_when_the_path_is_wrong(model: LocalModel) -> None:
    async with at(f"{model.base_url}/nowhere") as router:
        with pytest.raises(ModelNotFoundError, match="File Not Found") as caught:
            await router.complete("local/smollm2", "Hello!")
    assert caught.value.status_code == 404


async def test_a_request_is_invalid_when_the_server_does_not_understand_it(
    router: Router,
) -> None:
    wrong: dict[str, Any] = {"type": "no_such_format"}
    with pytest.raises(InvalidRequestError, match="response_format") as caught:
        await router.complete("fast", "Hello!", response_format=wrong, max_tokens=4)
    assert caught.value.status_code == 400


async def test_the_text_so_far_is_kept_when_the_server_dies(model: LocalModel) -> None:
    with mortal_model() as (base_url, process):
        async with at(base_url) as router:
            with pytest.raises(StreamInterruptedError) as cut:
                async with router.stream("local/smollm2", "Tell a story.", max_tokens=500) as story:
                    async for _ in story.text_stream:
                        process.kill()
            assert cut.value.partial is not None and cut.value.partial.text
            assert cut.value.partial.finish_reason == "unknown"

            with pytest.raises(ProviderConnectionError, match="that the server runs") as refused:
                await router.complete("local/smollm2", "Are you there?", max_attempts=2)
            assert [a.status_code for a in refused.value.attempts or ()] == [None, None]
