"""`parse` from the application to the wire and back: schemas, modes, re-asks and their bills."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from llm_router.errors import (
    AllDeploymentsFailedError,
    ConfigurationError,
    DeadlineExceededError,
    ProviderUnavailableError,
    RefusalError,
    SchemaValidationError,
    TruncatedOutputError,
)
from llm_router.router import Router
from llm_router.testing import Reply, Sandbox
from tests.router.setup import GPT

Build = Callable[..., Router]
REFUSES = "openrouter/mistralai/mistral-7b-instruct"
GOOD = '{"total": 12, "lines": ["a"]}'
WRONG = '{"total": "much", "lines": []}'


class Invoice(BaseModel):
    total: int
    lines: list[str]


class Point(TypedDict):
    x: int
    y: int


POINT_SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer"}},
    "required": ["x"],
}


@pytest.mark.parametrize(
    ("schema", "text", "parsed"),
    [
        (Invoice, GOOD, Invoice(total=12, lines=["a"])),
        (Point, '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (int, "7", 7),
        (int | None, "null", None),
        (POINT_SCHEMA, '{"x": 3}', {"x": 3}),
    ],
)
async def test_an_answer_is_read_into_the_schema(
    router: Router, sandbox: Sandbox, schema: Any, text: str, parsed: Any
) -> None:
    sandbox.reply(text=text)
    reply = await router.parse("extract", "Read this.", schema=schema)
    assert reply.parsed == parsed
    assert type(reply.parsed) is type(parsed)
    assert (reply.mode_used, reply.reasks, reply.text) == ("json_schema", 0, text)
    assert reply.cost.total == sandbox.total_billed
    sent = sandbox.chat_requests[0].body
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["provider"]["require_parameters"] is True
    assert sent["temperature"] == 0


async def test_the_sandbox_answers_any_schema_by_itself(router: Router) -> None:
    reply = await router.parse("extract", "Anything", schema=Invoice)
    assert isinstance(reply.parsed, Invoice)
    assert reply.to_dict()["parsed"] == reply.parsed.model_dump()


async def test_what_was_parsed_is_plain_json_in_to_dict(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(text='["2026-05-03"]')
    reply = await router.parse("extract", "Anything", schema=list[date])
    assert reply.parsed == [date(2026, 5, 3)]
    assert json.loads(json.dumps(reply.to_dict()))["parsed"] == ["2026-05-03"]


@pytest.mark.parametrize("mode", ["json_schema", "tool", "json_object", "prompt"])
async def test_a_fixed_mode_is_used_and_reported(
    router: Router, sandbox: Sandbox, mode: Any
) -> None:
    reply = await router.parse("extract", "Anything", schema=Invoice, mode=mode)
    assert reply.mode_used == mode
    assert isinstance(reply.parsed, Invoice)
    assert len(sandbox.chat_requests) == 1


async def test_the_mode_steps_down_when_the_provider_refuses_and_is_remembered(
    router: Router, sandbox: Sandbox
) -> None:
    first = await router.parse(REFUSES, "Anything", schema=Invoice)
    assert isinstance(first.parsed, Invoice)
    assert first.mode_used != "json_schema"
    assert {a.status for a in first.attempts[:-1]} == {"failed"}
    assert len(first.attempts) == len(sandbox.chat_requests) > 1
    second = await router.parse(REFUSES, "Anything", schema=Invoice)
    assert second.mode_used == first.mode_used
    assert len(second.attempts) == 1


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_is_wrong(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=WRONG)
    sandbox.reply(text=f"Sorry. ```json\n{GOOD}\n```")
    reply = await router.parse("extract", "Read this.", schema=Invoice)
    assert reply.parsed == Invoice(total=12, lines=["a"])
    assert (reply.reasks, reply.repairs > 0) == (1, True)
    assert [a.status for a in reply.attempts] == ["failed", "succeeded"]
    shown = sandbox.chat_requests[1].body["messages"]
    assert shown[1]["content"] == WRONG
    assert "total" in shown[2]["content"]


async def test_all_attempts_of_a_parse_are_billed_to_the_last_digit(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=WRONG, usage={"cost": Decimal("0.0000000123456789")})
    sandbox.fail("http_502")
    sandbox.reply(text=WRONG)
    sandbox.reply(text=GOOD, usage={"cost": Decimal("0.1")})
    reply = await router.parse("extract", "Read this.", schema=Invoice, max_attempts=4)
    bills = list(sandbox.bills.values())
    assert reply.cost.total == sandbox.total_billed
    assert reply.usage.input_tokens == sum(bill.tokens.prompt for bill in bills)
    assert reply.usage.output_tokens == sum(bill.tokens.completion for bill in bills)
    assert len(reply.attempts) == 4


async def test_answers_that_never_fit_are_all_shown(router: Router, sandbox: Sandbox) -> None:
    texts = [WRONG, '{"lines": []}', "I would rather not."]
    for text in texts:
        sandbox.reply(text=text)
    with pytest.raises(SchemaValidationError, match="asked 3 times") as caught:
        await router.parse("extract", "Read this.", schema=Invoice)
    error = caught.value
    assert error.raw_texts == tuple(texts)
    assert len(error.errors) == 3
    assert "total" in error.errors[0]
    assert error.cost is not None and error.cost.total == sandbox.total_billed
    assert (error.alias, error.model, error.upstream_provider) == ("extract", GPT, "OpenAI")
    assert [a.status for a in error.attempts or ()] == ["failed"] * 3
    assert router.health()[GPT].consecutive_failures == 0


async def test_no_answer_is_asked_for_again_when_the_caller_wants_none(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=WRONG)
    with pytest.raises(SchemaValidationError, match="asked once"):
        await router.parse("extract", "Read this.", schema=Invoice, max_reasks=0)
    assert len(sandbox.chat_requests) == 1


async def test_reasks_and_retries_share_the_attempts(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("http_502")
    sandbox.reply(text=WRONG)
    with pytest.raises(SchemaValidationError):
        await router.parse("extract", "Read this.", schema=Invoice, max_attempts=2)
    assert len(sandbox.chat_requests) == 2


async def test_reasks_share_the_deadline(router: Router, sandbox: Sandbox) -> None:
    sandbox.on(None, Reply(text=WRONG, delay=0.15))
    with pytest.raises(DeadlineExceededError) as caught:
        await router.parse("extract", "Read this.", schema=Invoice, deadline=0.25, max_reasks=9)
    assert 2 <= len(caught.value.attempts or ()) <= 3


async def test_a_failure_while_asking_again_keeps_the_whole_story(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=WRONG)
    sandbox.fail("http_503", times=9)
    with pytest.raises(ProviderUnavailableError) as caught:
        await router.parse("extract", "Read this.", schema=Invoice)
    attempts = caught.value.attempts or ()
    assert isinstance(attempts[0].error, SchemaValidationError)
    assert attempts[0].cost is not None
    assert attempts[0].cost.total == sandbox.total_billed


async def test_a_truncated_answer_is_never_repaired(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(text='{"total": 12, "lines": ["a"', finish_reason="length")
    with pytest.raises(TruncatedOutputError, match="max_tokens") as caught:
        await router.parse("extract", "Read this.", schema=Invoice)
    assert caught.value.raw_texts == ('{"total": 12, "lines": ["a"',)
    assert caught.value.cost is not None
    assert caught.value.cost.total == sandbox.total_billed
    assert len(sandbox.chat_requests) == 1


async def test_a_refusal_is_raised_with_its_sentence(router: Router, sandbox: Sandbox) -> None:
    sandbox.reply(text=WRONG)
    sandbox.reply(refusal="I cannot help with that.")
    with pytest.raises(RefusalError, match="I cannot help with that") as caught:
        await router.parse("extract", "Read this.", schema=Invoice)
    assert caught.value.refusal == "I cannot help with that."
    assert caught.value.raw_texts[0] == WRONG
    assert len(sandbox.chat_requests) == 2


async def test_a_parse_falls_back_like_any_call(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("no_providers")
    sandbox.reply(text=GOOD)
    reply = await router.parse("safe", "Read this.", schema=Invoice)
    assert [a.status for a in reply.attempts] == ["failed", "succeeded"]
    sandbox.fail("http_503", times=9)
    with pytest.raises(AllDeploymentsFailedError):
        await router.parse("safe", "Read this.", schema=Invoice)


async def test_a_mode_of_the_alias_is_fixed_for_its_calls(routed: Build) -> None:
    router = routed(aliases={"extract": {"model": GPT, "structured": "tool"}})
    reply = await router.parse("extract", "Anything", schema=Invoice)
    assert reply.mode_used == "tool"


async def test_a_fixed_mode_that_cannot_carry_the_schema_sends_nothing(
    router: Router, sandbox: Sandbox
) -> None:
    with pytest.raises(ConfigurationError, match="no strict form"):
        await router.parse("extract", "Hi", schema=dict[str, int], mode="json_schema")
    assert not sandbox.chat_requests


async def test_a_misspelt_option_of_parse_is_a_type_error(router: Router) -> None:
    with pytest.raises(TypeError, match=r"parse\(\) got an unexpected .* 'temperature'"):
        await router.parse("extract", "Hi", schema=int, temprature=1)  # type: ignore[call-overload]  # the point
