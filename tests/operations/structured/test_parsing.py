"""One parse: what is sent in each mode, refusals of a mode, answers, and asking again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from llm_router.answers.completion import Completion, ToolCall
from llm_router.answers.models import ModelInfo
from llm_router.config.model import ProviderConfig
from llm_router.errors import (
    ConfigurationError,
    ContextWindowExceededError,
    InvalidRequestError,
    NoEndpointError,
    ProviderError,
    RateLimitError,
    RefusalError,
    TruncatedOutputError,
)
from llm_router.operations.structured.modes import LADDER, Capabilities, ModeMemory
from llm_router.operations.structured.parsing import Invalid, Parse
from llm_router.operations.structured.schema import Schema
from llm_router.options.request import Deployment
from llm_router.options.values import StructuredMode
from tests.operations.structured.cases import Mapped, Point
from tests.operations.structured.helpers import DEPLOYMENT, QUESTION, calls, request, says


class City(BaseModel):
    name: str
    size: int = 1


BERN = '{"name":"Bern","size":2}'
WRONG = '{"name":1}'


def parse_for(
    known: Capabilities | None = None,
    *,
    mode: StructuredMode | None = None,
    memory: ModeMemory | None = None,
    schema: Any = City,
) -> Parse[Any]:
    memory = ModeMemory() if memory is None else memory
    found = known or Capabilities()
    return Parse(Schema.of(schema), mode=mode, memory=memory, capabilities=lambda _: found)


def supporting(*names: str) -> Capabilities:
    return Capabilities(frozenset(names))


@pytest.mark.parametrize(
    ("known", "mode"),
    [
        (Capabilities(), "json_schema"),
        (supporting("structured_outputs", "response_format", "tools"), "json_schema"),
        (supporting("response_format", "tools", "tool_choice"), "tool"),
        (supporting("response_format", "seed"), "json_object"),
        (supporting("seed"), "prompt"),
        (supporting(), "prompt"),
        (Capabilities(best_mode="tool"), "tool"),
        (Capabilities(frozenset({"structured_outputs"}), best_mode="prompt"), "prompt"),
    ],
)
def test_the_mode_follows_from_what_is_known(known: Capabilities, mode: StructuredMode) -> None:
    assert parse_for(known).mode_for(DEPLOYMENT) == mode


def test_capabilities_come_from_the_row_and_the_catalogue() -> None:
    info = ModelInfo(id="m", supported_parameters=frozenset({"tools"}))
    assert Capabilities.of(ProviderConfig(), "openrouter", info).ladder == ("tool", "prompt")
    assert Capabilities.of(ProviderConfig(), "openrouter").ladder == LADDER
    row = ProviderConfig(structured="json_object")
    assert Capabilities.of(row, "mistral", info).ladder == ("json_object", "prompt")
    own = ProviderConfig(litellm="openai", base_url="http://127.0.0.1:1/v1")
    assert Capabilities.of(own, "local").any_schema
    assert not Capabilities.of(ProviderConfig(), "openai").any_schema


def test_json_schema_mode_sends_the_strict_schema_and_requires_it() -> None:
    parse = parse_for(mode="json_schema")
    sent = parse.prepare(request(params={"seed": 1}, openrouter={"provider": {"sort": "price"}}))
    assert sent.params == {
        "seed": 1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "City", "strict": True, "schema": parse.schema.strict},
        },
    }
    assert sent.openrouter == {"provider": {"sort": "price", "require_parameters": True}}
    assert sent.messages == QUESTION


def test_the_callers_word_on_required_parameters_stands() -> None:
    sent = parse_for().prepare(request(openrouter={"provider": {"require_parameters": False}}))
    assert sent.openrouter["provider"] == {"require_parameters": False}


def test_a_server_of_any_schema_gets_it_unchanged() -> None:
    parse = parse_for(Capabilities(any_schema=True), schema=Mapped)
    sent = parse.prepare(request())
    shown = sent.params["response_format"]["json_schema"]["schema"]
    assert shown == parse.schema.json_schema
    assert parse.read(says('{"prices":{"a":1}}'), DEPLOYMENT).value == Mapped(prices={"a": 1})


def test_tool_mode_adds_a_tool_and_forces_it() -> None:
    parse = parse_for(mode="tool")
    own = {"type": "function", "function": {"name": "mine"}}
    sent = parse.prepare(request(params={"tools": [own]}))
    assert sent.params["tools"][0] == own
    assert sent.params["tools"][1]["function"]["parameters"] == parse.schema.json_schema
    assert sent.params["tool_choice"] == {"type": "function", "function": {"name": "City"}}
    assert sent.openrouter == {"provider": {"require_parameters": True}}


def test_tool_mode_forces_nothing_where_that_is_not_supported() -> None:
    sent = parse_for(supporting("tools")).prepare(request())
    assert "tool_choice" not in sent.params


@pytest.mark.parametrize("mode", ["json_object", "prompt"])
@pytest.mark.parametrize(
    ("messages", "before"),
    [
        (QUESTION, ""),
        ([{"role": "system", "content": "Be brief."}, *QUESTION], "Be brief.\n\n"),
        ([{"role": "system", "content": None}, *QUESTION], ""),
    ],
)
def test_the_schema_goes_into_the_system_message(
    mode: StructuredMode, messages: Any, before: str
) -> None:
    parse = parse_for(mode=mode)
    sent = parse.prepare(request(messages))
    system, *others = sent.messages
    assert system["role"] == "system"
    assert system["content"].startswith(before + "Answer with one JSON object")
    assert parse.schema.text in system["content"]
    assert others == QUESTION
    asked = {"response_format": {"type": "json_object"}} if mode == "json_object" else {}
    assert sent.params == asked
    assert bool(sent.openrouter) is (mode == "json_object")


def test_a_system_message_of_parts_gets_another_part() -> None:
    parts = [{"type": "text", "text": "Be brief."}]
    sent = parse_for(mode="prompt").prepare(request([{"role": "system", "content": parts}]))
    assert [part["type"] for part in sent.messages[0]["content"]] == ["text", "text"]
    assert len(parts) == 1


REFUSALS: list[tuple[StructuredMode, ProviderError]] = [
    ("json_schema", NoEndpointError("No endpoints found that support the provided parameters")),
    ("json_schema", NoEndpointError("No endpoints can handle the requested parameters.")),
    ("tool", NoEndpointError("No endpoints found that support tool use. To learn more…")),
    ("tool", NoEndpointError("No endpoints found that support the provided 'tool_choice' value.")),
    ("json_schema", InvalidRequestError("'response_format.type' must be 'text'")),
    ("json_schema", InvalidRequestError("This model does not support structured outputs")),
    ("json_object", InvalidRequestError("json mode is not supported with this model")),
    ("tool", InvalidRequestError("Thinking may not be enabled when tool_choice forces tool use.")),
    (
        "json_schema",
        InvalidRequestError("Provider returned error", upstream_message="json_schema unsupported"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "error"), REFUSALS)
def test_a_refused_mode_steps_down_and_is_remembered(
    mode: StructuredMode, error: ProviderError
) -> None:
    memory = ModeMemory()
    parse = parse_for(Capabilities(best_mode=mode), memory=memory)
    parse.prepare(request())
    assert parse.stepped_down(DEPLOYMENT, error)
    lower = LADDER[LADDER.index(mode) + 1]
    assert parse.mode_for(DEPLOYMENT) == lower
    assert parse_for(Capabilities(best_mode=mode), memory=memory).mode_for(DEPLOYMENT) == lower
    other = Deployment(provider="openrouter", model="other/model")
    assert parse.mode_for(other) == mode


@pytest.mark.parametrize(
    "error",
    [
        NoEndpointError("No endpoints found matching your data policy (Free model publication)."),
        NoEndpointError("No endpoints found for x/y."),
        ContextWindowExceededError("the schema is too long"),
        InvalidRequestError("temperature must be at most 2"),
        RateLimitError("json_schema requests are limited"),
    ],
)
def test_other_failures_do_not_step_down(error: ProviderError) -> None:
    parse = parse_for()
    parse.prepare(request())
    assert not parse.stepped_down(DEPLOYMENT, error)
    assert parse.mode_for(DEPLOYMENT) == "json_schema"


def test_the_prompt_cannot_be_refused() -> None:
    parse = parse_for(supporting())
    parse.prepare(request())
    assert not parse.stepped_down(DEPLOYMENT, REFUSALS[0][1])


def test_a_fixed_mode_never_steps_down() -> None:
    parse = parse_for(mode="json_schema")
    parse.prepare(request())
    assert not parse.stepped_down(DEPLOYMENT, REFUSALS[0][1])


def test_a_fixed_mode_that_cannot_carry_the_schema_is_a_mistake_of_the_set_up() -> None:
    with pytest.raises(ConfigurationError, match=r"\$\.prices: keys that are not named") as caught:
        parse_for(mode="json_schema", schema=Mapped).prepare(request())
    assert "tool" in str(caught.value)


def test_a_refused_schema_leaves_the_mode_to_other_schemas() -> None:
    memory = ModeMemory()
    parse = parse_for(memory=memory)
    parse.prepare(request())
    error = InvalidRequestError("Invalid schema for response_format 'City': 'x' is not permitted.")
    assert parse.stepped_down(DEPLOYMENT, error)
    assert parse.mode_for(DEPLOYMENT) == "tool"
    assert parse_for(memory=memory, schema=Point).mode_for(DEPLOYMENT) == "json_schema"


def test_a_call_that_ran_beside_the_refused_one_steps_down_too() -> None:
    memory = ModeMemory()
    one, two = parse_for(memory=memory), parse_for(memory=memory)
    one.prepare(request())
    two.prepare(request())
    assert one.stepped_down(DEPLOYMENT, REFUSALS[0][1])
    assert two.stepped_down(DEPLOYMENT, REFUSALS[0][1])
    assert two.mode_used(DEPLOYMENT) == "json_schema"
    assert two.mode_for(DEPLOYMENT) == "tool"


def test_a_refusal_is_forgotten_after_an_hour() -> None:
    now = [0.0]
    memory = ModeMemory(clock=lambda: now[0])
    memory.refuse("d", "tool")
    assert memory.is_refused("d", "tool", "any")
    now[0] = 3601
    assert not memory.is_refused("d", "tool", "any")


def test_the_memory_is_bounded() -> None:
    memory = ModeMemory()
    for number in range(3000):
        memory.refuse("d", "tool", str(number))
    assert not memory.is_refused("d", "tool", "0")
    assert memory.is_refused("d", "tool", "2999")


@pytest.mark.parametrize(
    "answer",
    [
        calls("City", BERN),
        calls("City", WRONG, BERN),
        calls("City", BERN + BERN),
        calls("City", json.dumps(BERN)),
        says(BERN),
        says(f"```json\n{BERN}\n```"),
        Completion(text=f"So: {BERN}", tool_calls=(ToolCall(name="City", raw_arguments=""),)),
        Completion(text=BERN, tool_calls=(ToolCall(name="other", raw_arguments="{}"),)),
    ],
)
@pytest.mark.parametrize("mode", LADDER)
def test_the_object_is_read_wherever_it_came(answer: Completion, mode: StructuredMode) -> None:
    parse = parse_for(mode=mode)
    parse.prepare(request())
    assert parse.read(answer, DEPLOYMENT).value == City(name="Bern", size=2)


@pytest.mark.parametrize(
    ("answer", "text", "problem"),
    [
        (says(WRONG), WRONG, "name: Input should be a valid string (got 1)"),
        (calls("City", WRONG), WRONG, "name: Input should be a valid string (got 1)"),
        (says(""), "", "the answer is empty"),
        (says(" \n"), "", "the answer is empty"),
        (calls("other", BERN), "", "called other instead of answering"),
        (calls("City", WRONG, "{}"), WRONG, "name: Input should be a valid string (got 1)"),
    ],
)
def test_an_answer_that_does_not_fit_says_why(answer: Completion, text: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_for().read(answer, DEPLOYMENT)
    assert caught.value.text == text
    assert caught.value.problem == problem


def test_of_two_calls_that_fit_and_differ_neither_is_the_answer() -> None:
    answer = calls("City", BERN, BERN.replace("Bern", "Basel"))
    with pytest.raises(Invalid, match="2 objects in it fit, and they differ: give one") as caught:
        parse_for().read(answer, DEPLOYMENT)
    assert caught.value.text == BERN


def test_what_is_said_beside_a_call_that_fits_is_no_second_answer() -> None:
    call = ToolCall(name="City", raw_arguments=BERN)
    answer = Completion(text='I take {"name": "Basel"}.', tool_calls=(call,))
    assert parse_for().read(answer, DEPLOYMENT).value == City(name="Bern", size=2)


@pytest.mark.parametrize(
    "answer", [says(BERN, finish_reason="length"), says("", finish_reason="length")]
)
def test_a_cut_answer_is_never_read_even_when_it_parses(answer: Completion) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        parse_for().read(answer, DEPLOYMENT)
    assert caught.value.raw_texts == (answer.text,)


def test_a_cut_tool_call_keeps_its_text() -> None:
    cut = Completion(
        tool_calls=(ToolCall(name="City", raw_arguments='{"na', complete=False),),
        finish_reason="length",
    )
    with pytest.raises(TruncatedOutputError) as caught:
        parse_for().read(cut, DEPLOYMENT)
    assert caught.value.raw_texts == ('{"na',)


def test_a_refusal_is_raised_with_its_sentence() -> None:
    with pytest.raises(RefusalError, match="I'm sorry") as caught:
        parse_for().read(says("", refusal="I'm sorry, I can't assist."), DEPLOYMENT)
    assert caught.value.refusal == "I'm sorry, I can't assist."


def test_a_filtered_answer_is_a_refusal_with_its_code() -> None:
    with pytest.raises(RefusalError, match="content filter") as caught:
        parse_for().read(says(BERN, finish_reason="content_filter"), DEPLOYMENT)
    assert (caught.value.code, caught.value.refusal) == ("content_filter", None)


def invalid(parse: Parse[Any], answer: Completion) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse.read(answer, DEPLOYMENT)
    return caught.value


def test_asking_again_shows_the_answer_and_what_is_wrong() -> None:
    parse = parse_for()
    answer = says(WRONG)
    turns = parse.reask(QUESTION, answer, invalid(parse, answer))
    assert turns[:1] == QUESTION
    assert turns[1] == {"role": "assistant", "content": WRONG}
    assert turns[2]["role"] == "user"
    assert "name: Input should be a valid string (got 1)" in turns[2]["content"]


def test_asking_again_answers_every_tool_call() -> None:
    parse = parse_for(mode="tool")
    answer = calls("City", WRONG, '{"na', id=None)
    turns = parse.reask(QUESTION, answer, invalid(parse, answer))
    assistant, *results = turns[1:]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call_0", "call_1"]
    assert [result["tool_call_id"] for result in results] == ["call_0", "call_1"]
    sent = [call["function"]["arguments"] for call in assistant["tool_calls"]]
    assert sent == [WRONG, "{}"]
    assert '{"na' in results[1]["content"]


def test_asking_again_after_an_empty_answer_sends_no_empty_turn() -> None:
    parse = parse_for()
    turns = parse.reask(QUESTION, says(""), invalid(parse, says("")))
    assert [turn["role"] for turn in turns] == ["user", "user"]


def test_asking_again_stays_bounded() -> None:
    parse = parse_for(mode="tool")
    huge = json.dumps({"name": ["x" * 100_000]})
    for answer in (says(huge), calls("City", huge), calls("City", huge[:-3])):
        turns = parse.reask(QUESTION, answer, invalid(parse, answer))
        assert len(json.dumps(turns)) < 15_000
