"""The requests of the recordings, produced through the public API key for key."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from llm_router.answers.completion import Completion, ToolCall
from llm_router.options.parts import FilePart
from llm_router.options.tools import tool_result
from llm_router.router import Router
from tests import recordings
from tests.router.recorded import body_of, meaning, options_of, requests

pytestmark = recordings.needed
RECORDED = requests()
# Not to be produced on purpose: no messages at all is refused before it is sent.
REFUSED = {"err400_empty_input"}


@pytest.fixture(scope="module")
def router() -> Router:
    row = {"api_key": "sk-or-v1-test", "base_url": "http://127.0.0.1:9/api/v1"}
    router = Router.from_dict({"version": 1, "providers": {"openrouter": row}})
    asyncio.run(_open_and_close(router))
    return router


async def _open_and_close(router: Router) -> None:
    """`explain` needs what opening imports, and no connection."""
    async with router:
        pass


@pytest.mark.parametrize("name", sorted(RECORDED.keys() - REFUSED))
def test_a_request_is_sent_as_it_was_recorded_when_it_is_asked_in_plain_data(
    router: Router, name: str
) -> None:
    recorded = RECORDED[name]
    before = copy.deepcopy(recorded)
    model = recorded.get("model", "any/model")
    body = body_of(router, model, recorded["messages"], **options_of(recorded))
    assert meaning(body) == meaning({"model": model} | recorded)
    assert recorded == before


def _text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    assert isinstance(text, str)
    return text


def _described(request: dict[str, Any], place: int = 0) -> str:
    description = request["tools"][place]["function"]["description"]
    assert isinstance(description, str)
    return description


def structured_output(
    name: Annotated[str, Field(description="Person's full name")],
    age: Annotated[int, Field(ge=1, description="Person's age in years")],
    occupation: str = Field(default_factory=str, description="Person's job or profession"),
) -> None:
    """Generate structured output matching the provided schema"""


def get_weather(
    location: str,
    unit: Literal["celsius", "fahrenheit"] = Field(default_factory=lambda: "celsius"),  # type: ignore[assignment,unused-ignore]  # typed by its use
) -> None:
    """Get current weather information for a location"""


def tell_joke(topic: str = Field(default_factory=str, description="Topic for the joke")) -> None:
    """Tell a funny joke"""


def find_education_content(title: str | None = None) -> None: ...


def without_arguments(name: str, description: str) -> type[BaseModel]:
    return create_model(name, __doc__=description)


def _open(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the definition of *function* without the word that other arguments are refused."""
    from llm_router.options.tools import tool_definitions

    definition = copy.deepcopy(tool_definitions([function])[0])
    del definition["function"]["parameters"]["additionalProperties"]
    return definition


def one_text_argument(request: dict[str, Any], place: int = 0) -> type[BaseModel]:
    """Return a model like the recorded tool, which takes one required text."""
    function = request["tools"][place]["function"]
    (argument, schema), *_ = function["parameters"]["properties"].items()
    field = Field(description=schema.get("description"))
    doc = function["description"]
    fields: dict[str, Any] = {argument: (str, field)}
    model: type[BaseModel] = create_model(str(function["name"]), __doc__=doc, **fields)
    return model


def weather_of_no_city() -> None: ...


weather_of_no_city.__name__ = "get_weather"
weather_of_no_city.__doc__ = "Get weather for a city"

TOOLS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "err200_json_choice_error_finish_tool_calls": lambda r: [structured_output],
    "sse_err_with_choice_finish_stop_502": lambda r: [structured_output],
    "sse_err_bare_error_event_no_done_502": lambda r: [_open(structured_output)],
    "err404_no_endpoints_tool_choice": lambda r: [_open(structured_output)],
    "err404_no_endpoints_tool_use": lambda r: [
        get_weather,
        tell_joke,
        without_arguments("get_time", "Get the current time"),
    ],
    "ok_json_cache_read_openai": lambda r: [one_text_argument(r), one_text_argument(r, 1)],
    "sse_ok_cache_read": lambda r: [one_text_argument(r), one_text_argument(r, 1)],
    "ok_json_reasoning_encrypted_gemini_or_openai": lambda r: [weather_of_no_city],
    "ok_json_tool_call_without_arguments_key": lambda r: [_open(find_education_content)],
    "ok_json_tool_calls_truncated_by_length": lambda r: [one_text_argument(r)],
    "sse_ok_tool_calls_truncated": lambda r: [one_text_argument(r)],
    "sse_ok_reasoning_encrypted": lambda r: [one_text_argument(r)],
    "sse_ok_tool_calls_parallel": lambda r: [
        without_arguments("lookup_harbor_label", _described(r)),
        without_arguments("lookup_orchard_label", _described(r, 1)),
    ],
}


@pytest.mark.parametrize("name", TOOLS)
def test_functions_and_models_make_the_recorded_tools(router: Router, name: str) -> None:
    recorded = RECORDED[name]
    options = options_of(recorded) | {"tools": TOOLS[name](recorded)}
    if isinstance(options.get("tool_choice"), dict):
        options["tool_choice"] = options["tool_choice"]["function"]["name"]
    system = [m for m in recorded["messages"] if m["role"] == "system"]
    messages: Any = [m for m in recorded["messages"] if m["role"] != "system"]
    # A content list may hold plain text.
    messages = [{"role": "system", "content": [_text_of(m)]} for m in system] + messages
    body = body_of(router, recorded["model"], messages, **options)
    assert meaning(body) == meaning(recorded)


@pytest.mark.parametrize(
    "name", ["err200_json_top_level_error_cloudflare", "err200_json_top_level_error_deepinfra"]
)
def test_an_answer_and_its_tool_result_make_the_recorded_second_turn(
    router: Router, name: str
) -> None:
    recorded = RECORDED[name]
    asked, answered, result = recorded["messages"]
    wire = answered["tool_calls"][0]
    raw = wire["function"]["arguments"]
    call = ToolCall(id=wire["id"], name="add", raw_arguments=raw, arguments=json.loads(raw))
    reply = Completion(tool_calls=(call,))
    assert call.arguments is not None
    messages = [asked, reply, tool_result(call, sum(call.arguments.values())) | {"name": "add"}]
    body = body_of(router, recorded["model"], messages, **options_of(recorded))
    assert meaning(body) == meaning(recorded)
    assert result == messages[2]


def test_bytes_make_the_recorded_pdf(router: Router) -> None:
    recorded = RECORDED["ok_json_pdf_file_annotation_plugin_cost"]
    text, file = recorded["messages"][0]["content"]
    data = base64.b64decode(file["file"]["file_data"].partition(",")[2])
    content = [text["text"], FilePart(data, filename=file["file"]["filename"])]
    body = body_of(router, recorded["model"], [{"role": "user", "content": content}])
    assert meaning(body) == meaning(recorded)


def test_a_budget_and_an_effort_make_the_recorded_reasoning(
    router: Router,
) -> None:
    for name, asked in (
        ("ok_json_reasoning_text_signature", 1024),
        ("sse_ok_reasoning_claude_signature", 1024),
        ("sse_ok_reasoning_encrypted", "high"),
        ("err403_provider_content_violation", "low"),
    ):
        recorded = RECORDED[name]
        options = options_of(recorded) | {"reasoning": asked}
        body = body_of(router, recorded["model"], recorded["messages"], **options)
        assert meaning(body) == meaning(recorded)


def test_a_cache_policy_makes_the_recorded_breakpoint_on_a_long_system_prompt(
    router: Router,
) -> None:
    recorded = RECORDED["ok_json_cache_read_and_write_gemini"]
    system, question = map(_text_of, recorded["messages"])
    for policy in ("auto", {"ttl": "1h"}):
        options = options_of(recorded) | {"system": system, "cache": policy}
        body = body_of(router, recorded["model"], question, **options)
        assert len(body.pop("session_id")) == 32, "of its own, which was not recorded"
        assert meaning(body) == meaning(recorded)


@pytest.mark.parametrize(
    "name",
    [
        "ok_json_cache_write_anthropic",
        "ok_json_cache_read_anthropic",
        "sse_ok_usage_choices_empty",
    ],
)
def test_a_cache_policy_keeps_the_recorded_breakpoints_and_adds_to_them(
    router: Router, name: str
) -> None:
    recorded = RECORDED[name]
    options = options_of(recorded) | {"cache": {"ttl": "5m"}}
    body = body_of(router, recorded["model"], recorded["messages"], **options)
    for sent, given in zip(body["messages"], recorded["messages"], strict=True):
        assert _text_of(sent) == _text_of(given)
        assert isinstance(given["content"], str) or sent == given
    marked = [m["role"] for m in body["messages"] if "cache_control" in json.dumps(m)]
    assert marked[0] == "system"
    assert set(marked[1:]) == {"user"}
