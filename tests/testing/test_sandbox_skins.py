"""The sandbox's other wires: /completions, /responses and /messages over the same models."""

from __future__ import annotations

import http.client
import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from llm_router.testing import Sandbox, pytest_plugin
from llm_router.testing.faults import FAULTS, Fault
from tests.testing.test_sandbox_endpoints import fits, post, specification
from tests.testing.test_sandbox_refusals import refused, send

sandbox = pytest_plugin.llm_sandbox

MODEL = "openai/gpt-4o-mini"
THINKS = "anthropic/claude-sonnet-4.5"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": PARAMETERS}
MESSAGES_TOOL = {"name": "weather", "input_schema": PARAMETERS}
RESPONSES: dict[str, dict[str, Any]] = {
    "text": {"model": MODEL, "input": "Hello", "instructions": "Be brief"},
    "reasoning": {"model": THINKS, "input": "Hello", "reasoning": {"effort": "low"}},
    "cut": {"model": MODEL, "input": "Hello", "max_output_tokens": 2},
    "tool": {
        "model": MODEL, "input": "Hello", "tools": [RESPONSES_TOOL], "tool_choice": "required"},
    "named tool": {
        "model": MODEL, "input": "Hello", "tools": [RESPONSES_TOOL],
        "tool_choice": {"type": "function", "name": "weather"}},
    "conversation": {
        "model": MODEL,
        "input": [
            {"role": "developer", "content": "Be brief"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "What is there?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                {"type": "input_file", "file_data": "data:,"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Rain?"}]},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "Rain"},
        ]},
}  # fmt: skip
MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "system": "Short"},
    "thinking": {
        "model": THINKS, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 900,
        "thinking": {"type": "enabled", "budget_tokens": 500}},
    "cut": {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    "tool": {
        "model": MODEL, "messages": [{"role": "user", "content": "Hello"}],
        "tools": [MESSAGES_TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "any"}},
    "named tool": {
        "model": MODEL, "messages": [{"role": "user", "content": "Hello"}],
        "tools": [MESSAGES_TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
    "conversation": {
        "model": MODEL,
        "system": [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is there?"},
                {"type": "image", "source": {
                    "type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm", "signature": ""},
                {"type": "text", "text": "Let me see"},
                {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Oslo"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [
                    {"type": "text", "text": "Rain"}]}]},
        ]},
}  # fmt: skip
ASKED = [("/responses", name) for name in RESPONSES] + [("/messages", name) for name in MESSAGES]


def body_of(path: str, name: str) -> dict[str, Any]:
    return (RESPONSES if path == "/responses" else MESSAGES)[name]


def streamed(sandbox: Sandbox, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a stream; what is not one (comments, a fault's garbage) is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=20)
    headers = {"Authorization": f"Bearer {sandbox.api_key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/api/v1{path}", json.dumps(body | {"stream": True}), headers)
        response = connection.getresponse()
        lines = response.read().splitlines() if response.status == 200 else []
    except http.client.IncompleteRead as cut:
        lines = cut.partial.splitlines()
    except (http.client.HTTPException, ConnectionError):
        return []
    finally:
        connection.close()
    data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return [json.loads(line) for line in data if line.endswith(b"}")]


def are_events(events: list[dict[str, Any]], component: str) -> None:
    """Assert that each event is what the specification says of its type."""
    components = specification()["components"]
    mapping = components["schemas"][component]["discriminator"]["mapping"]
    for event in events:
        schema = {"$ref": mapping[event["type"]], "components": components}
        problems = [f"{e.json_path}: {e.message}" for e in
                    Draft202012Validator(schema).iter_errors(event)]  # fmt: skip
        assert problems == [], event["type"]


@pytest.mark.parametrize(("path", "name"), ASKED)
def test_an_answer_and_its_stream_say_the_same_when_both_are_asked(
    sandbox: Sandbox, path: str, name: str
) -> None:
    body = body_of(path, name)
    answer = post(sandbox, path, body)
    events = streamed(sandbox, path, body)

    if path == "/responses":
        last = events[-1]["response"]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        done = [event["item"] for event in events if event["type"].endswith("item.done")]
        assert done == last["output"]
        key, usage = "output", last["usage"]
        shown, whole = last["output"], answer["output"]
    else:
        assert events[-1] == {"type": "message_stop"}
        key, usage = "content", events[-2]["usage"]
        starts = [event for event in events if event["type"] == "content_block_start"]
        shown, whole = [event["content_block"] for event in starts], answer["content"]
    assert [part["type"] for part in shown] == [part["type"] for part in whole], key
    assert usage == answer["usage"]
    assert sandbox.total_billed == 2 * Decimal(str(usage["cost"]))


@pytest.mark.parametrize(("path", "name"), ASKED)
def test_answers_and_events_fit_the_specification(sandbox: Sandbox, path: str, name: str) -> None:
    body = body_of(path, name)

    fits(post(sandbox, path, body), path, "post")
    component = "StreamEvents" if path == "/responses" else "MessagesStreamEvents"
    are_events(streamed(sandbox, path, body), component)


def test_a_tool_is_called_and_its_result_answered_on_both_wires(sandbox: Sandbox) -> None:
    item = post(sandbox, "/responses", RESPONSES["named tool"])["output"][0]
    block = post(sandbox, "/messages", MESSAGES["tool"])["content"][0]

    assert json.loads(item["arguments"]) == block["input"] == {"city": "text"}
    assert (item["type"], block["type"]) == ("function_call", "tool_use")
    told = post(sandbox, "/responses", RESPONSES["conversation"])["output"][0]["content"][0]["text"]
    assert told == "The tool answered: Rain"
    assert post(sandbox, "/messages", MESSAGES["conversation"])["content"][0]["text"] == told


def test_a_schema_is_answered_on_both_wires(sandbox: Sandbox) -> None:
    form = {"type": "json_schema", "name": "place", "strict": True, "schema": PARAMETERS}
    answer = post(sandbox, "/responses", RESPONSES["text"] | {"text": {"format": form}})
    config = {"output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}}}
    message = post(sandbox, "/messages", MESSAGES["text"] | config)

    assert json.loads(answer["output"][0]["content"][0]["text"]) == {"city": "text"}
    assert json.loads(message["content"][0]["text"]) == {"city": "text"}


def test_an_answer_that_is_cut_says_so(sandbox: Sandbox) -> None:
    answer = post(sandbox, "/responses", RESPONSES["cut"])

    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert post(sandbox, "/messages", MESSAGES["cut"])["stop_reason"] == "max_tokens"


def test_replies_scripted_for_a_chat_come_on_every_wire(sandbox: Sandbox) -> None:
    sandbox.reply(text="Paris", reasoning="France", times=3)

    output = post(sandbox, "/responses", RESPONSES["text"])["output"]
    content = post(sandbox, "/messages", MESSAGES["text"])["content"]
    choice = post(sandbox, "/completions", {"model": MODEL, "prompt": "Capital?"})["choices"][0]
    assert output[0]["summary"][0]["text"] == content[0]["thinking"] == "France"
    assert output[1]["content"][0]["text"] == content[1]["text"] == choice["text"] == "Paris"


def test_text_completions_are_served_whole_and_streamed(sandbox: Sandbox) -> None:
    body = {"model": MODEL, "prompt": "Once upon a time"}
    answer = post(sandbox, "/completions", body)
    events = streamed(sandbox, "/completions", body)

    assert answer["object"] == "text_completion"
    pieces = [choice["text"] for event in events for choice in event["choices"]]
    assert "".join(pieces) == answer["choices"][0]["text"] != ""
    assert events[-1]["usage"] == answer["usage"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/responses", {"input": "Hi", "store": True}, "store"),
        ("/responses", {"input": "Hi", "previous_response_id": "r"}, "previous_response_id"),
        ("/responses", {"input": 5}, "input"),
        ("/responses", {"input": [{"role": "user"}]}, "input.0.content"),
        ("/responses", {"input": "Hi", "text": {"format": {"type": "odd"}}}, "text.format"),
        ("/responses", {"input": "Hi", "max_output_tokens": 0}, "max_output_tokens"),
        ("/responses", {"input": "Hi", "model": "nobody/nothing"}, "nobody/nothing"),
        ("/completions", {"model": MODEL}, "prompt"),
    ],
)
def test_a_wrong_body_is_refused_in_the_envelope(
    sandbox: Sandbox, path: str, body: dict[str, Any], named: str
) -> None:
    refused(*send(sandbox, json.dumps({"model": MODEL} | body), path), named)


@pytest.mark.parametrize(
    ("change", "status", "kind", "named"),
    [
        ({"messages": []}, 400, "invalid_request_error", "messages"),
        ({"messages": [{"role": "user", "content": [{}]}]}, 400, "invalid_request_error", "type"),
        ({"tool_choice": {"type": "tool"}}, 400, "invalid_request_error", "tool_choice.name"),
        ({"model": "demo/rate-limit"}, 429, "rate_limit_error", "Rate limit"),
        ({"model": "demo/always-down"}, 503, "api_error", "Provider"),
    ],
)
def test_an_error_on_the_wire_of_messages_is_anthropics(
    sandbox: Sandbox, change: dict[str, Any], status: int, kind: str, named: str
) -> None:
    got, answer = send(sandbox, json.dumps(MESSAGES["text"] | change), "/messages")

    assert (got, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert named in answer["error"]["message"]
    fits(answer, "/messages", "post", status)


@pytest.mark.parametrize("path", ["/responses", "/messages"])
@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("stalled_stream", "http_504")])
def test_every_fault_can_be_played_on_every_wire(sandbox: Sandbox, path: str, fault: Fault) -> None:
    seconds = 0.01 if fault.startswith("slow") else None
    sandbox.fail(fault, times=2, seconds=seconds)

    events = streamed(sandbox, path, body_of(path, "text"))

    assert all(event.keys() & {"type"} for event in events)
    if fault.startswith("stream_error") and fault != "stream_error_stop":
        assert [e["type"] for e in events if e["type"] == "error"] == ["error"]
    if fault in ("cut_stream", "ended_stream"):
        assert events[-1]["type"] not in ("response.completed", "message_stop")


def test_what_a_client_left_is_billed_up_to_there(sandbox: Sandbox) -> None:
    sandbox.reply(text="a b c d e f g h", chunk_delay=0.02)
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=20)
    headers = {"Authorization": f"Bearer {sandbox.api_key}", "Content-Type": "application/json"}
    body = json.dumps(MESSAGES["text"] | {"stream": True})
    connection.request("POST", "/api/v1/messages", body, headers)
    connection.getresponse().read(500)
    connection.close()
    sandbox.close()

    assert [bill.cancelled for bill in sandbox.bills.values()] == [True]
