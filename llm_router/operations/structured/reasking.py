"""Asking again: an answer that does not fit its schema goes back with what is wrong with it.

Each question is an attempt of the same call: one budget, one deadline, one bill. A stream is asked
once: what its reader has seen cannot be taken back.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from llm_router.answers.completion import Completion, ParsedCompletion
from llm_router.errors import (
    DeadlineExceededError,
    SchemaValidationError,
    StructuredOutputError,
)
from llm_router.operations.structured.parsing import Invalid
from llm_router.routing import loop
from llm_router.routing.loop import Asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_router.errors import ProviderError
    from llm_router.operations.chat import Chat
    from llm_router.operations.structured.parsing import Parse
    from llm_router.operations.structured.reading import Reading
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call, RunningAttempt

R = TypeVar("R")
# Characters. jsonschema takes up to five milliseconds for a thousand of them.
_READ_AT_ONCE = 8_192


class AskingForSchema(Asking[Completion]):
    """Puts the schema into each request, in the mode of its deployment."""

    def __init__(
        self, chat: Chat, call: Call, provider_of: Callable[[Deployment], Any], parse: Parse[Any]
    ) -> None:
        super().__init__(chat, call, provider_of)
        self.parse = parse

    def prepare(self, deployment: Deployment) -> Any:
        prepared = self.parse.prepare(super().prepare(deployment))
        self.call.mode_used = self.parse.mode_used(deployment)
        return prepared

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        return self.parse.stepped_down(deployment, error)


async def parse_answer(step: AskingForSchema, chat: Chat, max_reasks: int) -> ParsedCompletion[Any]:
    """Ask until an answer fits, at most *max_reasks* times more than once.

    Raises SchemaValidationError with every text and what was wrong with it, TruncatedOutputError,
    RefusalError, DeadlineExceededError, and what the loop raises.
    """
    call, parse = step.call, step.parse
    texts: list[str] = []
    problems: list[str] = []
    turns = chat.messages
    while True:
        step.operation = replace(chat, messages=turns)
        answer = await loop.run(call, step)
        attempt = call.running
        assert attempt is not None, "the loop returned with an attempt that is open"
        try:
            reading = await _read(step, attempt, answer, call.time_left)
        except Invalid as invalid:
            texts.append(invalid.text)
            problems.append(invalid.problem)
            attempt.reject(answer, SchemaValidationError(invalid.problem))
            if len(texts) > max_reasks or call.attempts_left <= 0:
                raise _never_fitted(texts, problems) from invalid.__cause__
            turns = parse.reask(turns, answer, invalid)
        except DeadlineExceededError as error:
            attempt.reject(answer, error)
            raise
        except StructuredOutputError as error:
            attempt.reject(answer, error)
            error.add(raw_texts=(*texts, *error.raw_texts))
            raise
        else:
            return call.succeed(_parsed(call, answer, reading, len(texts)))


async def parse_stream(
    step: AskingForSchema, attempt: RunningAttempt, answer: Completion
) -> ParsedCompletion[Any]:
    """Return the object in *answer*, the whole of a stream, whose attempt ends if there is none.

    Raises SchemaValidationError, TruncatedOutputError and RefusalError.
    """
    try:
        reading = await _read(step, attempt, answer, None)
    except Invalid as invalid:
        error = _never_fitted([invalid.text], [invalid.problem])
        error.add(hint="A stream is not asked again; `parse` asks again.")
        attempt.reject(answer, error)
        raise error from invalid.__cause__
    except StructuredOutputError as error:
        attempt.reject(answer, error)
        raise
    return _parsed(step.call, answer, reading, 0)


async def off_the_loop(size: int, read: Callable[..., R], *args: Any) -> R:
    """Return what *read* does, done in a thread when *size*, in characters, is large."""
    return await asyncio.to_thread(read, *args) if size > _READ_AT_ONCE else read(*args)


async def _read(
    step: AskingForSchema, attempt: RunningAttempt, answer: Completion, seconds: float | None
) -> Reading[Any]:
    """Return what `Parse.read` does; a long answer is read in a thread, within *seconds*.

    However the wait for it ends, the answer came and is billed.
    """
    call = step.call
    size = len(answer.text) + sum(len(called.raw_arguments) for called in answer.tool_calls)
    attempt.partial = lambda: answer
    try:
        async with asyncio.timeout(seconds):
            return await off_the_loop(size, step.parse.read, answer, attempt.deployment)
    except TimeoutError:
        raise DeadlineExceededError(
            f"the answer came, and was not read within the deadline of {call.limits.deadline:.3g} s"
        ) from None


def _parsed(
    call: Call, answer: Completion, reading: Reading[Any], reasks: int
) -> ParsedCompletion[Any]:
    return ParsedCompletion(
        **{field.name: getattr(answer, field.name) for field in fields(Completion)},
        parsed=reading.value,
        mode_used=call.mode_used or "prompt",
        reasks=reasks,
        repairs=reading.repairs,
    )


def _never_fitted(texts: list[str], problems: list[str]) -> SchemaValidationError:
    times = "once" if len(texts) == 1 else f"{len(texts)} times"
    return SchemaValidationError(
        f"the answer did not fit the schema, asked {times}; the last problem: {problems[-1]}",
        raw_texts=tuple(texts),
        errors=tuple(problems),
    )
