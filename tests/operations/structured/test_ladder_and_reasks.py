"""Stepping down and asking again, through the Router and the sandbox, with their bills."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from llm_router.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    NoEndpointError,
    ProviderTimeoutError,
    RefusalError,
    SchemaValidationError,
    TruncatedOutputError,
)
from llm_router.operations.structured.modes import LADDER
from llm_router.router import Router
from llm_router.testing import ChatRequest, Reply, Sandbox
from tests.operations.structured.helpers import check_bill
from tests.router.setup import CLAUDE, GPT, configuration, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "What is in it?"
PEN = '{"what": "pen", "price": 2}'
WRONG = '{"what": "pen", "price": "dear"}'
PLAIN = "openrouter/minimax/minimax-01"  # neither tools nor response_format
NO_STRICT = "openrouter/qwen/qwen-plus"  # tools and json_object, no structured_outputs
REFUSES = "openrouter/mistralai/mistral-7b-instruct"  # claims response_format, refuses it


class Line(BaseModel):
    what: str
    price: int


@dataclass
class Point:
    x: float
    y: float = 0.0


class Movie(TypedDict):
    name: str


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
WEIGHT = {"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]}


def sent_modes(sandbox: Sandbox) -> list[str]:
    """Return in which mode each request asked, as the wire shows it."""
    found = []
    for request in sandbox.chat_requests:
        form = request.body.get("response_format", {}).get("type")
        found.append(form or ("tool" if "tools" in request.body else "prompt"))
    return found


# --- which way is used ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "mode"), [(GPT, "json_schema"), (NO_STRICT, "tool"), (PLAIN, "prompt")]
)
async def test_the_catalogue_chooses_the_mode_without_a_refused_request(
    router: Router, sandbox: Sandbox, model: str, mode: str
) -> None:
    reply = await router.parse(model, PROMPT, schema=Line)
    assert isinstance(reply.parsed, Line)
    assert (reply.mode_used, sent_modes(sandbox)) == (mode, [mode])
    assert len(reply.attempts) == 1


@pytest.mark.parametrize("fault", ["no_parameter_endpoints", "response_format_refused"])
async def test_a_refused_mode_is_left_at_once_and_not_tried_again(
    newcomer: Router, sandbox: Sandbox, fault: str
) -> None:
    before = len(sandbox.bills)
    sandbox.fail(fault)
    first = await newcomer.parse("extract", PROMPT, schema=Line)
    assert (first.mode_used, first.reasks) == ("tool", 0)
    assert sent_modes(sandbox) == ["json_schema", "tool"]
    refused, answered = first.attempts
    assert (refused.status, answered.status) == ("failed", "succeeded")
    assert isinstance(refused.error, NoEndpointError | InvalidRequestError)
    assert refused.status_code in (400, 404)
    assert refused.cost is None
    check_bill(sandbox, before, first)

    second = await newcomer.parse("extract", PROMPT, schema=Line)
    assert (second.mode_used, len(second.attempts)) == ("tool", 1)
    assert sent_modes(sandbox)[2:] == ["tool"]
    assert newcomer.health()[GPT].consecutive_failures == 0


async def test_every_rung_is_taken_when_one_after_the_other_is_refused(
    newcomer: Router, sandbox: Sandbox
) -> None:
    for fault in ("response_format_refused", "no_tool_endpoints", "no_parameter_endpoints"):
        sandbox.fail(fault)
    reply = await newcomer.parse("extract", PROMPT, schema=Line)
    assert sent_modes(sandbox) == list(LADDER)
    assert (reply.mode_used, reply.repairs > 0) == ("prompt", True)
    assert [a.number for a in reply.attempts] == [1, 2, 3, 4]


async def test_refusals_use_up_the_attempts_like_any_failure(
    newcomer: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_parameter_endpoints", times=2)
    with pytest.raises(NoEndpointError) as caught:
        await newcomer.parse("extract", PROMPT, schema=Line, max_attempts=2)
    assert len(caught.value.attempts or ()) == len(sandbox.chat_requests) == 2
    reply = await newcomer.parse("extract", PROMPT, schema=Line, max_attempts=2)
    assert reply.mode_used == "json_object"


async def test_an_upstream_that_refuses_what_the_catalogue_promises_is_found_out(
    newcomer: Router, sandbox: Sandbox
) -> None:
    """It has tools, but none can be forced: the schema's own is called all the same."""
    sandbox.on("mistral", lambda request: _call(request, PEN) if "tools" in request.body else None)
    reply = await newcomer.parse(REFUSES, PROMPT, schema=Line)
    assert reply.parsed == Line(what="pen", price=2)
    assert (reply.mode_used, sent_modes(sandbox)) == ("tool", ["json_schema", "tool"])
    assert "tool_choice" not in sandbox.chat_requests[1].body
    again = await newcomer.parse(REFUSES, PROMPT, schema=Line)
    assert (again.mode_used, len(again.attempts)) == ("tool", 1)


def _call(request: ChatRequest, text: str) -> Reply:
    name = request.body["tools"][0]["function"]["name"]
    return Reply(tool_calls=[{"name": name, "arguments": text}])


async def test_a_refusal_is_remembered_for_its_deployment_alone(
    newcomer: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_parameter_endpoints")
    await newcomer.parse("extract", PROMPT, schema=Line)
    other = await newcomer.parse(CLAUDE, PROMPT, schema=Line)
    assert (other.mode_used, len(other.attempts)) == ("json_schema", 1)


async def test_each_deployment_of_a_fallback_has_its_own_mode(
    newcomer: Router, sandbox: Sandbox
) -> None:
    sandbox.fail("no_parameter_endpoints", match="gpt-4o")
    sandbox.fail("http_413", match="gpt-4o")
    reply = await newcomer.parse("safe", PROMPT, schema=Line)
    assert sent_modes(sandbox) == ["json_schema", "tool", "json_schema"]
    assert reply.mode_used == "json_schema"
    assert [a.deployment for a in reply.attempts] == [GPT, GPT, CLAUDE]


@pytest.mark.parametrize("mode", LADDER)
async def test_a_mode_is_fixed_by_the_alias_or_over_it_by_the_call(
    router: Router, sandbox: Sandbox, mode: Any
) -> None:
    by_alias = await router.parse(mode, PROMPT, schema=Line)
    by_call = await router.parse("json_object", PROMPT, schema=Line, mode=mode)
    assert by_alias.mode_used == by_call.mode_used == mode
    assert sent_modes(sandbox) == [mode, mode]


async def test_a_fixed_mode_never_steps_down(router: Router, sandbox: Sandbox) -> None:
    sandbox.fail("no_parameter_endpoints")
    with pytest.raises(NoEndpointError, match="requested parameters"):
        await router.parse("json_schema", PROMPT, schema=Line)
    assert sent_modes(sandbox) == ["json_schema"]
    assert (await router.parse("json_schema", PROMPT, schema=Line)).mode_used == "json_schema"


@pytest.mark.parametrize("alias", ["extract", "safe"])
async def test_no_attempt_is_counted_when_a_fixed_mode_cannot_carry_the_schema(
    router: Router, sandbox: Sandbox, alias: str
) -> None:
    with pytest.raises(ConfigurationError, match="no strict form") as caught:
        await router.parse(alias, PROMPT, schema=dict[str, int], mode="json_schema")
    assert caught.value.attempts == ()
    assert not sandbox.chat_requests


# --- asking again ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", LADDER)
async def test_every_question_of_a_parse_is_an_attempt_and_on_the_bill(
    router: Router, sandbox: Sandbox, mode: Any
) -> None:
    texts = iter([WRONG, "I would say a pen.", PEN])

    def say(request: ChatRequest) -> Reply:
        text = next(texts)
        is_call = "tools" in request.body and text.startswith("{")
        return _call(request, text) if is_call else Reply(text=text, provider="Azure")

    sandbox.on(None, say)
    before = len(sandbox.bills)
    reply = await router.parse("extract", PROMPT, schema=Line, mode=mode)
    assert reply.parsed == Line(what="pen", price=2)
    assert (reply.mode_used, reply.reasks) == (mode, 2)
    assert [a.status for a in reply.attempts] == ["failed", "failed", "succeeded"]
    assert [type(a.error) for a in reply.attempts[:2]] == [SchemaValidationError] * 2
    assert len(sandbox.chat_requests) == 3
    check_bill(sandbox, before, reply)
    assert [a.cost.total for a in reply.attempts if a.cost] == [
        bill.total for bill in list(sandbox.bills.values())[before:]
    ]
    first, second, third = (request.body["messages"] for request in sandbox.chat_requests)
    assert second[: len(first)] == first and third[: len(second)] == second
    assert "price" in second[-1]["content"]
    assert second[-1]["role"] == ("tool" if mode == "tool" else "user")


@pytest.mark.parametrize("cost", ["0.0000000123456789", "0.1", "12345678.000000000000001", "0"])
async def test_odd_amounts_are_summed_without_a_lost_digit(
    router: Router, sandbox: Sandbox, cost: str
) -> None:
    before = len(sandbox.bills)
    sandbox.reply(text=WRONG, usage={"cost": Decimal("0.0000000000000000007")})
    sandbox.reply(text=WRONG, byok=True)
    sandbox.reply(text=PEN, usage={"cost": Decimal(cost)})
    reply = await router.parse("extract", PROMPT, schema=Line)
    assert reply.reasks == 2
    check_bill(sandbox, before, reply)


async def test_a_bill_that_one_question_does_not_tell_is_not_made_up(
    router: Router, sandbox: Sandbox
) -> None:
    sandbox.reply(text=WRONG, omit=["usage.cost"])
    sandbox.reply(text=PEN)
    reply = await router.parse("extract", PROMPT, schema=Line)
    first, last = reply.attempts
    assert first.cost is not None and first.cost.total is None
    assert last.cost is not None and last.cost.total is not None
    assert (reply.cost.total, reply.cost.source) == (None, "unknown")


@pytest.mark.parametrize(("max_reasks", "asked"), [(0, 1), (1, 2), (2, 3)])
async def test_it_ends_with_every_text_and_every_error(
    router: Router, sandbox: Sandbox, max_reasks: int, asked: int
) -> None:
    before = len(sandbox.bills)
    texts = [WRONG, "none", '{"price": 1}'][:asked]
    for text in texts:
        sandbox.reply(text=text)
    with pytest.raises(SchemaValidationError) as caught:
        await router.parse("extract", PROMPT, schema=Line, max_reasks=max_reasks)
    error = caught.value
    assert error.raw_texts == tuple(texts)
    assert len(error.errors) == asked
    assert "price" in error.errors[0]
    assert len(error.attempts or ()) == len(sandbox.chat_requests) == asked
    check_bill(sandbox, before, error)


async def test_the_attempts_end_in_the_middle_of_asking_again(
    router: Router, sandbox: Sandbox
) -> None:
    before = len(sandbox.bills)
    sandbox.fail("http_502")
    sandbox.reply(text=WRONG)
    sandbox.reply(text="no")
    with pytest.raises(SchemaValidationError) as caught:
        await router.parse("extract", PROMPT, schema=Line, max_attempts=3, max_reasks=9)
    assert caught.value.raw_texts == (WRONG, "no")
    assert len(caught.value.attempts or ()) == len(sandbox.chat_requests) == 3
    check_bill(sandbox, before, caught.value)


async def test_the_deadline_ends_the_asking_and_what_was_answered_stays_known(
    router: Router, sandbox: Sandbox
) -> None:
    before = len(sandbox.bills)
    sandbox.reply(text=WRONG)
    sandbox.reply(text=PEN, delay=5.0)
    with pytest.raises((DeadlineExceededError, ProviderTimeoutError)) as caught:
        await router.parse("extract", PROMPT, schema=Line, deadline=0.2)
    first, second = caught.value.attempts or ()
    (bill,) = list(sandbox.bills.values())[before : before + 1]
    assert first.cost is not None and first.cost.total == bill.total
    assert (second.status, second.cost) == ("failed", None)


# --- long answers ---------------------------------------------------------------------------


class Slow(BaseModel):
    """A model whose validation takes its time, and notes where it took place."""

    text: str
    threads: ClassVar[list[int]] = []
    seconds: ClassVar[float] = 0.0

    @field_validator("text")
    @classmethod
    def _takes_time(cls, value: str) -> str:
        cls.threads.append(threading.get_ident())
        time.sleep(cls.seconds)
        return value


LONG = json.dumps({"text": "word " * 2_000})


@pytest.fixture
def slow() -> Iterator[type[Slow]]:
    Slow.threads.clear()
    yield Slow
    Slow.seconds = 0.0


@pytest.mark.parametrize(("text", "elsewhere"), [('{"text": "short"}', False), (LONG, True)])
async def test_a_long_answer_is_read_in_a_thread(
    router: Router, sandbox: Sandbox, slow: type[Slow], text: str, elsewhere: bool
) -> None:
    sandbox.reply(text=text)
    reply = await router.parse("extract", PROMPT, schema=slow)
    assert reply.parsed.model_dump() == json.loads(text)
    assert (slow.threads != [threading.get_ident()]) is elsewhere


async def test_a_long_answer_that_does_not_fit_is_asked_for_again(
    router: Router, sandbox: Sandbox
) -> None:
    before = len(sandbox.bills)
    sandbox.reply(text=json.dumps({"what": "pen", "price": "dear " * 2_000}))
    sandbox.reply(text=PEN)
    reply = await router.parse("extract", PROMPT, schema=Line)
    assert (reply.parsed, reply.reasks) == (Line(what="pen", price=2), 1)
    check_bill(sandbox, before, reply)


async def test_the_reading_of_a_long_answer_ends_with_the_deadline_and_is_billed(
    router: Router, sandbox: Sandbox, slow: type[Slow]
) -> None:
    before = len(sandbox.bills)
    slow.seconds = 1.5
    sandbox.reply(text=LONG)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="not read within the deadline") as caught:
        await router.parse("extract", PROMPT, schema=slow, deadline=0.6)
    assert time.monotonic() - begun < 1.4
    (attempt,) = caught.value.attempts or ()
    (bill,) = list(sandbox.bills.values())[before:]
    assert attempt.cost is not None and attempt.cost.total == bill.total
    assert (attempt.status, attempt.error) == ("failed", caught.value)


async def test_an_answer_is_billed_when_its_reader_goes_away(
    sandbox: Sandbox, caches: None, slow: type[Slow]
) -> None:
    class Noting:
        def __init__(self) -> None:
            self.ended: list[Any] = []

        def request_started(self, record: Any) -> None: ...

        def request_finished(self, record: Any) -> None: ...

        def attempt_finished(self, record: Any) -> None:
            self.ended.append(record.attempt)

    before, observer, slow.seconds = len(sandbox.bills), Noting(), 0.5
    sandbox.reply(text=LONG)
    async with Router.from_dict(configuration(sandbox), observers=[observer]) as router:
        asking = asyncio.ensure_future(router.parse("extract", PROMPT, schema=slow))
        await until(lambda: slow.threads)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    (attempt,) = observer.ended
    (bill,) = list(sandbox.bills.values())[before:]
    assert (attempt.status, attempt.cost.total) == ("cancelled", bill.total)


# --- answers that are none, and answers in wrappings ----------------------------------------


@pytest.mark.parametrize("mode", LADDER)
async def test_a_cut_answer_is_never_an_object(router: Router, sandbox: Sandbox, mode: Any) -> None:
    """Even where what came could be read: it may be a part."""
    before = len(sandbox.bills)

    def cut(request: ChatRequest) -> Reply:
        if "tools" not in request.body:
            return Reply(text=PEN, finish_reason="length")
        call = _call(request, PEN).tool_calls
        return Reply(tool_calls=call, native_finish_reason="max_output_tokens")

    sandbox.on(None, cut)
    with pytest.raises(TruncatedOutputError, match="max_tokens") as caught:
        await router.parse("extract", PROMPT, schema=Line, mode=mode)
    assert caught.value.raw_texts == (PEN,)
    assert len(sandbox.chat_requests) == 1
    check_bill(sandbox, before, caught.value)


@pytest.mark.parametrize("mode", LADDER)
async def test_a_refusal_keeps_its_sentence(router: Router, sandbox: Sandbox, mode: Any) -> None:
    before = len(sandbox.bills)
    sandbox.reply(refusal="I cannot help with that.")
    with pytest.raises(RefusalError, match="I cannot help with that") as caught:
        await router.parse("extract", PROMPT, schema=Line, mode=mode)
    assert caught.value.refusal == "I cannot help with that."
    check_bill(sandbox, before, caught.value)


@pytest.mark.parametrize("mode", LADDER)
@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{PEN}\n```",
        f"```\n{PEN}\n```\nAnything else?",
        f"Here {{as you asked}} it is: {PEN} Good luck!",
        f'<think>Perhaps {{"what": "ink", "price": 1}}?</think>\n{PEN}',
        f'Let me think: {{"what": "ink", "price": 1}}</think>{PEN}',
        f"\ufeff{PEN}",
        json.dumps(PEN),
        '{"what": "pen", "price": 2,}',
    ],
)
async def test_wrappings_are_taken_off_and_counted(
    router: Router, sandbox: Sandbox, text: str, mode: Any
) -> None:
    sandbox.reply(text=text)
    reply = await router.parse("extract", PROMPT, schema=Line, mode=mode)
    assert reply.parsed == Line(what="pen", price=2)
    assert reply.text == text
    assert (reply.reasks, reply.mode_used) == (0, mode)
    assert reply.repairs > 0


@pytest.mark.parametrize("text", [PEN, f" \n{PEN}\n", f'{{"value": {PEN}}}'])
async def test_a_plain_answer_counts_no_repair(router: Router, sandbox: Sandbox, text: str) -> None:
    sandbox.reply(text=text)
    reply = await router.parse("extract", PROMPT, schema=Line | list[Line])
    assert (reply.parsed, reply.repairs) == (Line(what="pen", price=2), 0)


@pytest.mark.parametrize(
    ("schema", "text", "parsed"),
    [
        (list[Line], f"[{PEN}]", [Line(what="pen", price=2)]),
        (int, "7", 7),
        (bool, "true", True),
        (str, '"seven"', "seven"),
        (Movie, '{"name": "Heat"}', {"name": "Heat"}),
        (Pet, '{"kind": "dog"}', Dog(kind="dog")),
        (int | None, "null", None),
        (Point, '{"x": 1, "y": null}', Point(1.0)),
        (WEIGHT, '{"kg": 1.5}', {"kg": 1.5}),
    ],
)
@pytest.mark.parametrize("wrapping", ["{}", "```json\n{}\n```", "<think>Hm.</think>\n{}"])
async def test_every_kind_of_schema_is_found_in_its_wrapping(
    router: Router, sandbox: Sandbox, schema: Any, text: str, parsed: Any, wrapping: str
) -> None:
    sandbox.reply(text=wrapping.replace("{}", text))
    reply = await router.parse("extract", PROMPT, schema=schema, max_reasks=0)
    assert reply.parsed == parsed
    assert type(reply.parsed) is type(parsed)
    assert (reply.repairs > 0) == (wrapping != "{}")


async def test_a_bare_word_in_prose_is_asked_for_again(router: Router, sandbox: Sandbox) -> None:
    """It is not told from the prose around it: better none than a wrong one."""
    sandbox.reply(text="There are 3 in it; I counted 7.")
    sandbox.reply(text="7")
    reply = await router.parse("extract", PROMPT, schema=int)
    assert (reply.parsed, reply.reasks) == (7, 1)
