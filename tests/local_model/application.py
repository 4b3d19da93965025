"""An application as its author writes it: aliases only, no word about who serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llm_router import Completion, Router, SyncRouter

TOKENS = 24


@dataclass
class Talk:
    first: Completion
    second: Completion
    streamed: Completion
    pieces: list[str]

    @property
    def replies(self) -> tuple[Completion, ...]:
        return (self.first, self.second, self.streamed)


async def talk(question: str) -> Talk:
    """Ask, ask on with the answer in the conversation, and read a stream."""
    async with Router.from_yaml() as router:
        turns: list[Any] = [{"role": "user", "content": question}]
        first = await router.complete("fast", turns, system="Be brief.", max_tokens=TOKENS)
        turns += [first.as_message(), {"role": "user", "content": "Now in other words."}]
        second = await router.complete("smart", turns, max_tokens=TOKENS)
        async with router.stream("smart", question, max_tokens=TOKENS) as stream:
            pieces = [text async for text in stream.text_stream]
        return Talk(first, second, stream.completion, pieces)


def talk_without_a_loop(question: str) -> Talk:
    """The same, in an application without an event loop."""
    with SyncRouter.from_yaml() as router:
        turns: list[Any] = [{"role": "user", "content": question}]
        first = router.complete("fast", turns, system="Be brief.", max_tokens=TOKENS)
        turns += [first.as_message(), {"role": "user", "content": "Now in other words."}]
        second = router.complete("smart", turns, max_tokens=TOKENS)
        with router.stream("smart", question, max_tokens=TOKENS) as stream:
            pieces = list(stream.text_stream)
        return Talk(first, second, stream.completion, pieces)
