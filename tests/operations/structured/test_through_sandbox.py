"""The table of schemas through the Router: real requests, real bills, every mode."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from llm_router.errors import ConfigurationError
from llm_router.operations.structured.modes import LADDER
from llm_router.operations.structured.schema import Schema
from llm_router.options.values import StructuredMode
from llm_router.router import Router
from llm_router.testing import ChatRequest, Reply, Sandbox
from tests.operations.structured.cases import CASES, Case
from tests.operations.structured.helpers import check_bill, in_strict_form

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "Which one?"
# What strict mode can only say in a description: a server that reads no prose cannot know it.
SAID_IN_WORDS = {"named tuple", "tuple", "json: many keywords"}


# --- what is right, found out apart from the code under test -------------------------------


def expected(case: Case) -> Any:
    if isinstance(case.schema, dict):
        return json.loads(case.text)
    if case.schema is Decimal:
        return Decimal(case.text)
    return TypeAdapter(case.schema).validate_json(case.text)


def valid(schema: Any, data: Any) -> Any:
    """Return *data* as a value of *schema*; nulls may stand for what is left out."""
    if isinstance(schema, dict):
        fits = Draft202012Validator(schema).is_valid
        found = next((d for d in (data, without_nulls(data)) if fits(d)), None)
        assert found is not None or fits(None)
        return found
    adapter: TypeAdapter[Any] = TypeAdapter(schema)
    try:
        return adapter.validate_json(json.dumps(data))
    except ValidationError:
        return adapter.validate_json(json.dumps(without_nulls(data)))


def without_nulls(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    return [without_nulls(item) for item in data] if isinstance(data, list) else data


@dataclass
class Author:
    """Answers with a case's instance, in the form in which the request wants it."""

    case: Case

    def __call__(self, request: ChatRequest) -> Reply:
        body = request.body
        schema = Schema.of(self.case.schema)
        text = f'{{"value":{self.case.text}}}' if schema.wrapped else self.case.text
        if body.get("tools"):
            name = body["tools"][-1]["function"]["name"]
            return Reply(tool_calls=[{"name": name, "arguments": text}])
        form = body.get("response_format", {}).get("type")
        if form == "json_schema" and self.case.schema is not Decimal:
            shown = schema.json_schema
            text = json.dumps(in_strict_form(json.loads(text), shown, shown))
            strict = body["response_format"]["json_schema"]["schema"]
            Draft202012Validator(strict).validate(json.loads(text))
        return Reply(text=text)


def check_request(body: Any, mode: str) -> None:
    """What each mode means on the wire."""
    form = body.get("response_format", {}).get("type")
    instructed = "JSON Schema" in json.dumps(body["messages"])
    relied_on = (body.get("provider") or {}).get("require_parameters")
    if mode == "tool":
        assert body["tool_choice"]["function"] == {"name": body["tools"][-1]["function"]["name"]}
    assert (form, "tools" in body, instructed, relied_on) == {
        "json_schema": ("json_schema", False, False, True),
        "tool": (None, True, False, True),
        "json_object": ("json_object", False, True, True),
        "prompt": (None, False, True, None),
    }[mode]


# --- the table ------------------------------------------------------------------------------


def mode_of(case: Case, mode: StructuredMode | None) -> StructuredMode:
    return mode or ("json_schema" if case.strict else "tool")


@pytest.mark.parametrize("mode", [None, *LADDER], ids=lambda mode: mode or "chosen")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_instance_comes_back_through_the_wire(
    router: Router, sandbox: Sandbox, case: Case, mode: StructuredMode | None
) -> None:
    sandbox.on(None, Author(case))
    before = len(sandbox.bills)
    if mode == "json_schema" and not case.strict:
        with pytest.raises(ConfigurationError, match="no strict form"):
            await router.parse("extract", PROMPT, schema=case.schema, mode=mode)
        assert not sandbox.chat_requests
        return
    reply = await router.parse("extract", PROMPT, schema=case.schema, mode=mode)
    assert reply.parsed == expected(case)
    assert type(reply.parsed) is type(expected(case))
    assert (reply.mode_used, reply.reasks, reply.repairs) == (mode_of(case, mode), 0, 0)
    (request,) = sandbox.chat_requests
    check_request(request.body, reply.mode_used)
    assert [attempt.status for attempt in reply.attempts] == ["succeeded"]
    check_bill(sandbox, before, reply)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_a_server_makes_of_the_schema_it_was_shown_is_read(
    router: Router, sandbox: Sandbox, case: Case
) -> None:
    """The sandbox composes an instance from the request alone; in a fence where only prompted."""
    for mode in LADDER:
        if mode == "json_schema" and (not case.strict or case.name in SAID_IN_WORDS):
            continue
        reply = await router.parse("extract", PROMPT, schema=case.schema, mode=mode)
        sent = reply.tool_calls[0].raw_arguments if reply.tool_calls else reply.text
        if mode == "prompt":
            sent = sent.partition("```json\n")[2].removesuffix("\n```")
        data = json.loads(sent)
        if Schema.of(case.schema).wrapped:
            assert list(data) == ["value"]
            data = data["value"]
        assert reply.parsed == valid(case.schema, data)
        assert (reply.mode_used, reply.reasks) == (mode, 0)
        assert (reply.repairs > 0) == (mode == "prompt")
