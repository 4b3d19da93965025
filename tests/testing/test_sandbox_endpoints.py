"""What an application may ask beside its calls, and every answer beside OpenRouter's own words."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from llm_router.testing import Sandbox, pytest_plugin
from llm_router.testing.faults import Fault
from tests.testing.test_sandbox_refusals import USER, refused, send

sandbox = pytest_plugin.llm_sandbox

SPECIFICATION = Path(__file__).parents[3] / "shared" / "openrouter_openapi.yaml"
MODEL = "openai/gpt-4o-mini"
CHAT = {"model": MODEL, "messages": [USER]}


@functools.cache
def specification() -> dict[str, Any]:
    if not SPECIFICATION.is_file():
        pytest.skip("OpenRouter's specification is not here")
    read = yaml.load(SPECIFICATION.read_text("utf-8"), yaml.CSafeLoader)
    plain: dict[str, Any] = json.loads(json.dumps(read, default=str))  # its dates are text
    return plain


def fits(answer: Any, path: str, method: str = "get", status: int = 200) -> None:
    """Assert that *answer* is what the specification says of this path."""
    said = specification()["paths"][path][method]["responses"][str(status)]
    schema = said["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": specification()["components"]})
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(answer)] == []


def get(sandbox: Sandbox, path: str) -> Any:
    status, body = send(sandbox, None, path, "GET")
    assert status == 200
    return body


def post(sandbox: Sandbox, path: str, body: Any) -> Any:
    status, answer = send(sandbox, json.dumps(body), path)
    assert status == 200, answer
    return answer


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/models", "/models?output_modalities=all"),
        ("/models/user", "/models/user"),
        ("/models/count", "/models/count"),
        ("/models/{author}/{slug}/endpoints", f"/models/{MODEL}/endpoints"),
        ("/models/{author}/{slug}/endpoints", "/models/openrouter/auto/endpoints"),
        ("/model/{author}/{slug}", f"/model/{MODEL}"),
        ("/model/{author}/{slug}", "/model/qwen/qwen3-8b:free"),
        ("/providers", "/providers"),
        ("/key", "/key"),
        ("/key", "/auth/key"),
        ("/credits", "/credits"),
    ],
)
def test_an_answer_has_what_the_specification_requires(
    sandbox: Sandbox, path: str, asked: str
) -> None:
    post(sandbox, "/chat/completions", CHAT)

    fits(get(sandbox, asked), path)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", CHAT),
        ("/chat/completions", CHAT | {"reasoning": {"effort": "low"}, "model": "openai/gpt-5.5"}),
        ("/embeddings", {"model": "openai/text-embedding-3-small", "input": ["a", "b"]}),
    ],
)
def test_an_answer_of_a_model_and_its_record_fit_the_specification(
    sandbox: Sandbox, path: str, body: dict[str, Any]
) -> None:
    answer = post(sandbox, path, body)

    fits(answer, path, "post")
    send(sandbox, None, f"/generation?id={answer['id']}", "GET")  # not there at the first look-up
    fits(get(sandbox, f"/generation?id={answer['id']}"), "/generation")


@pytest.mark.parametrize(
    "fault",
    [
        "bad_request", "unauthorized", "insufficient_credits", "moderation", "no_endpoints",
        "http_408", "http_413", "http_422", "rate_limit", "upstream_rate_limit", "http_500",
        "http_502", "http_503", "http_529",
    ],
)  # fmt: skip
def test_a_failure_fits_the_specification(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.fail(fault)

    status, body = send(sandbox, json.dumps(CHAT))

    fits(body, "/chat/completions", "post", status)


def test_a_models_endpoints_are_its_upstreams_at_its_prices(sandbox: Sandbox) -> None:
    data = get(sandbox, f"/models/{MODEL}/endpoints")["data"]

    row = get(sandbox, f"/model/{MODEL}")["data"]
    assert data["id"] == row["id"] == MODEL
    assert [endpoint["tag"] for endpoint in data["endpoints"]] == ["openai", "azure"]
    assert {json.dumps(endpoint["pricing"]) for endpoint in data["endpoints"]} == {
        json.dumps(row["pricing"])
    }
    assert get(sandbox, "/providers")["data"][1]["name"] == "Azure"


def test_models_are_counted_as_they_are_listed(sandbox: Sandbox) -> None:
    for query in ("", "?output_modalities=embeddings", "?output_modalities=all"):
        listed = get(sandbox, f"/models{query}")
        assert get(sandbox, f"/models/count{query}")["data"]["count"] == len(listed["data"])


def test_what_was_spent_is_told_by_the_key_and_the_credits(sandbox: Sandbox) -> None:
    sandbox.reply(byok=True)
    spent = [post(sandbox, "/chat/completions", CHAT)["usage"] for _ in range(2)]

    key = get(sandbox, "/key")["data"]
    cost = spent[1]["cost"]
    assert key["usage"] == key["usage_daily"] == key["usage_monthly"] == cost > 0
    assert key["byok_usage"] == spent[0]["cost_details"]["upstream_inference_cost"]
    assert get(sandbox, "/auth/key")["data"] == key
    assert get(sandbox, "/credits")["data"]["total_usage"] == cost


@pytest.mark.parametrize("path", ["/model/nobody/nothing", "/models/nobody/nothing/endpoints"])
def test_a_model_that_is_not_there_is_a_404(sandbox: Sandbox, path: str) -> None:
    refused(*send(sandbox, None, path, "GET"), "nobody/nothing")


@pytest.mark.parametrize("path", ["/models/user", "/auth/key", "/credits"])
def test_what_belongs_to_a_key_needs_it(sandbox: Sandbox, path: str) -> None:
    refused(*send(sandbox, None, path, "GET", Authorization="Bearer wrong"))
