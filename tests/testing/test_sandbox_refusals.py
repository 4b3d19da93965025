"""Whatever a client sends, the answer is one that OpenRouter could have given."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_router.testing import CATALOG, Sandbox, pytest_plugin
from llm_router.testing.catalog import Catalog
from llm_router.testing.requests import Body, ChatBody, EmbeddingsBody, read_body
from llm_router.testing.script import ReceivedRequest
from llm_router.testing.service import Service
from tests import recordings

sandbox = pytest_plugin.llm_sandbox

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
KNOWN = {200, 400, 401, 402, 403, 404, 405, 413, 429}


def send(
    sandbox: Sandbox,
    raw: bytes | str | None,
    path: str = "/chat/completions",
    method: str = "POST",
    **headers: str,
) -> tuple[int, Any]:
    """Send bytes as they are, and return the status and the parsed answer."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=20)
    given = {"Authorization": f"Bearer {sandbox.api_key}", "Content-Type": "application/json"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, f"/api/v1{path}", raw, given | named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def refused(status: int, body: Any, *words: str) -> None:
    """Assert that *body* is OpenRouter's envelope of an error, with these words."""
    assert body.keys() <= {"error", "user_id"}
    assert body["error"].keys() <= {"code", "message", "metadata"}
    assert body["error"]["code"] == status
    for word in words:
        assert word in body["error"]["message"]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("messages", {"messages": "Hi"}),
        ("messages", {"messages": None}),
        ("messages.0", {"messages": ["Hi"]}),
        ("role", {"messages": [{"role": "narrator", "content": "Hi"}]}),
        ("messages.0.content", {"messages": [{"role": "user"}]}),
        ("messages.0.content", {"messages": [{"role": "user", "content": 5}]}),
        (
            "messages.0.content.0.text",
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        ),
        ("messages.1.tool_call_id", {"messages": [USER, {"role": "tool", "content": "4"}]}),
        ("messages.0.tool_calls", {"messages": [{"role": "assistant", "tool_calls": 5}]}),
        ("model", {"model": 5}),
        ("nobody/nothing", {"model": "nobody/nothing"}),
        ("models", {"models": "openai/gpt-4o-mini"}),
        ("temperature", {"temperature": 2.5}),
        ("temperature", {"temperature": "hot"}),
        ("top_p", {"top_p": -1}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": "many"}),
        ("top_logprobs", {"top_logprobs": 21}),
        ("stop", {"stop": 5}),
        ("stream", {"stream": "yes"}),
        ("logit_bias", {"logit_bias": []}),
        ("seed", {"seed": 1.5}),
        ("tools", {"tools": {}}),
        ("tools.0", {"tools": [5]}),
        ("tools.0.function", {"tools": [{"type": "function"}]}),
        ("tools.0.function.name", {"tools": [{"type": "function", "function": {}}]}),
        (
            "tools.0.function.name",
            {"tools": [{"type": "function", "function": {"name": "x" * 65}}]},
        ),
        ("tool_choice", {"tools": [TOOL], "tool_choice": "maybe"}),
        ("response_format", {"response_format": "json"}),
        ("response_format", {"response_format": {"type": "yaml"}}),
        ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
        ("json_schema.name", {"response_format": {"type": "json_schema", "json_schema": {}}}),
        ("provider", {"provider": "azure"}),
        ("provider.order", {"provider": {"order": "azure"}}),
        ("provider.data_collection", {"provider": {"data_collection": "maybe"}}),
        ("reasoning.effort", {"reasoning": {"effort": "extreme"}}),
        ("reasoning_effort", {"reasoning_effort": "extreme"}),
        ("reasoning_effort", {"reasoning_effort": "low", "reasoning": {"effort": "high"}}),
        ("reasoning: give effort", {"reasoning": {"effort": "low", "max_tokens": 2000}}),
        ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ("n", {"n": 0}),
        ("plugins.0.id", {"plugins": [{}]}),
        ("metadata", {"metadata": {"a": 1}}),
        ("session_id", {"session_id": "x" * 257}),
    ],
)
def test_the_sentence_names_the_field_when_a_body_is_wrong(
    sandbox: Sandbox, field: str, body: dict[str, Any]
) -> None:
    status, answer = send(sandbox, json.dumps({"messages": [USER], **body}))

    assert status == 400
    refused(400, answer, field)
    assert sandbox.bills == {}


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[]", b'"x"', b"null", b'{"seed": NaN}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_a_400(sandbox: Sandbox, raw: bytes) -> None:
    for path in ("/chat/completions", "/embeddings"):
        status, answer = send(sandbox, raw, path)

        assert status == 400
        refused(400, answer, "body")


def test_another_content_type_method_path_key_or_coding_is_refused(sandbox: Sandbox) -> None:
    body = json.dumps({"messages": [USER]})

    form = send(sandbox, body, Content_Type="application/x-www-form-urlencoded")
    packed = send(sandbox, body, Content_Encoding="gzip")
    method = send(sandbox, None, method="GET")
    path = send(sandbox, None, "//[nowhere", method="GET")
    key = send(sandbox, body, Authorization="Basic x")

    assert [form[0], packed[0], method[0], path[0], key[0]] == [400, 400, 405, 404, 401]
    refused(400, form[1], "Content-Type")
    for status, answer in (packed, method, path, key):
        refused(status, answer)


def test_a_body_beyond_all_bounds_is_a_413(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=20)
    connection.putrequest("POST", "/api/v1/chat/completions")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()

    response = connection.getresponse()

    assert response.status == 413
    refused(413, json.loads(response.read()))
    connection.close()


def test_header_names_are_read_in_any_case(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=20)
    connection.putrequest("GET", "/api/v1/key")
    connection.putheader("authorization", f"Bearer {sandbox.api_key}")
    connection.endheaders()

    assert connection.getresponse().status == 200
    assert sandbox.api_key not in repr(sandbox.requests)
    connection.close()


def test_a_schema_format_without_a_schema_is_served(sandbox: Sandbox) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "anything"}}

    status, answer = send(sandbox, json.dumps({"messages": [USER], "response_format": form}))

    assert status == 200 and json.loads(answer["choices"][0]["message"]["content"]) == {}


@pytest.mark.parametrize("schema", [{"type": 5}, {"$ref": 5}, {"enum": 5}])
def test_what_is_no_schema_is_a_400(sandbox: Sandbox, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    status, answer = send(sandbox, json.dumps({"messages": [USER], "response_format": form}))

    assert status == 400
    refused(400, answer, "schema")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
VALID: dict[str, Any] = {
    "model": "openai/gpt-4o-mini",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "x", "cache_control": {}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "4"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}},
    "provider": {"order": ["azure"], "max_price": {"prompt": 1}},
    "reasoning": {"effort": "low"},
    "input": ["a", "b"], "prompt": "Hi", "stream": False, "max_tokens": 5, "stop": ["a"],
    "dimensions": 3, "encoding_format": "float", "models": ["openai/gpt-5.5"],
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Draw the valid body with some of its fields, at any depth, left out or put wrong."""
    body = json.loads(json.dumps(VALID))
    for _ in range(draw(st.integers(1, 4))):
        node = body
        while node:
            key = draw(
                st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node)))
            )
            if isinstance(node[key], dict | list) and draw(st.booleans()):
                node = node[key]
                continue
            if draw(st.booleans()):
                node[key] = draw(JSON)
            else:
                del node[key]
            break
    return body


def fresh_service() -> Service:
    return Service(
        api_key="k",
        catalog=Catalog(CATALOG),
        padding=0,
        chunks=None,
        generation_lookups=0,
        generation_seconds=0,
    )


@given(body=damaged() | JSON, path=st.sampled_from(["/chat/completions", "/embeddings"]))
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_gets_an_answer_or_a_refusal_in_the_envelope(body: Any, path: str) -> None:
    received = ReceivedRequest("POST", f"/api/v1{path}", {"Content-Type": "application/json"})

    sending = fresh_service().respond(received, "Bearer k", json.dumps(body).encode())

    assert sending.status in KNOWN
    if sending.status != 200:
        (raw,) = sending.steps
        assert isinstance(raw, bytes)
        refused(sending.status, json.loads(raw))


@pytest.mark.parametrize("name", ["chat", "embeddings"])
@pytest.mark.skipif(not recordings.FOLDER.is_dir(), reason="the recordings are not here")
def test_what_openrouter_served_is_not_refused(name: str) -> None:
    served = [json.loads(path.read_bytes()) for path in recordings.FOLDER.glob("*.meta.json")]
    known: dict[str, tuple[str, type[Body]]] = {
        "chat": ("/chat/completions", ChatBody),
        "embeddings": ("/embeddings", EmbeddingsBody),
    }
    end, shape = known[name]
    bodies = [
        meta["request"] for meta in served
        if meta["url"].endswith(end) and meta["status"] == 200
        if isinstance(meta.get("request"), dict)
    ]  # fmt: skip

    for body in bodies:
        assert read_body(json.dumps(body).encode(), "application/json", shape) == body
    assert bodies
