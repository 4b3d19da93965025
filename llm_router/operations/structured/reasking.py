"""Asking again: an answer that does not fit its schema goes back with what is wrong with it.

Each question is an attempt of the same call: one budget, one deadline, one bill.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Completion, ParsedCompletion
from llm_router.errors import SchemaValidationError, StructuredOutputError
from llm_router.operations.structured.parsing import Invalid
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from llm_router.operations.structured.parsing import Parse
    from llm_router.operations.structured.reading import Reading
    from llm_router.options.request import Message
    from llm_router.routing.call import Call, RunningAttempt


async def parse_answer(
    call: Call,
    parse: Parse[Any],
    messages: Sequence[Message],
    ask: Callable[[Sequence[Message]], Awaitable[tuple[Completion, RunningAttempt]]],
    max_reasks: int,
) -> ParsedCompletion[Any]:
    """Ask until an answer fits, at most *max_reasks* times more than once.

    Raises SchemaValidationError with every text and what was wrong with it, TruncatedOutputError,
    RefusalError, and what *ask* raises.
    """
    texts: list[str] = []
    problems: list[str] = []
    turns = messages
    while True:
        answer, attempt = await ask(turns)
        try:
            reading = parse.read(answer, attempt.deployment)
        except Invalid as invalid:
            texts.append(invalid.text)
            problems.append(invalid.problem)
            attempt.reject(answer, SchemaValidationError(invalid.problem))
            if len(texts) > max_reasks or call.attempts_left <= 0:
                raise _ended(call, _never_fitted(texts, problems)) from None
            turns = parse.reask(turns, answer, invalid)
        except StructuredOutputError as error:
            attempt.reject(answer, error)
            error.add(raw_texts=(*texts, *error.raw_texts))
            raise _ended(call, error) from None
        else:
            attempt.succeed(answer)
            return _parsed(call, answer, reading, len(texts))


def _parsed(
    call: Call, answer: Completion, reading: Reading[Any], reasks: int
) -> ParsedCompletion[Any]:
    whole = call.summed(answer)
    parsed: ParsedCompletion[Any] = ParsedCompletion(
        **{field.name: getattr(whole, field.name) for field in fields(Completion)},
        parsed=reading.value,
        mode_used=call.mode_used or "prompt",
        reasks=reasks,
        repairs=reading.repairs,
    )
    call.finish("succeeded", completion=parsed)
    return parsed


def _never_fitted(texts: list[str], problems: list[str]) -> SchemaValidationError:
    times = "once" if len(texts) == 1 else f"{len(texts)} times"
    return SchemaValidationError(
        f"the answer did not fit the schema, asked {times}; the last problem: {problems[-1]}",
        raw_texts=tuple(texts),
        errors=tuple(problems),
    )


def _ended(call: Call, error: StructuredOutputError) -> StructuredOutputError:
    """Finish the call with *error*, which learns the bill of all attempts."""
    last = call.attempts[-1]
    error.fill(
        model=last.deployment,
        provider=last.provider,
        upstream_provider=last.upstream_provider,
        response_id=last.response_id,
        usage=Usage.sum(a.usage for a in call.attempts if a.usage is not None),
        cost=Cost.sum(a.cost for a in call.attempts if a.cost is not None),
    )
    call.describe(error)
    call.finish("failed", error=error)
    return error
