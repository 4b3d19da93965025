"""Answers and requests for the tests of structured output."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from llm_router.answers.completion import Completion, ToolCall
from llm_router.operations.structured.json_schema import Node, resolve
from llm_router.options.request import Deployment, Message, ProviderRequest
from llm_router.testing import Sandbox

DEPLOYMENT = Deployment(provider="openrouter", model="openai/gpt-4o-mini")
QUESTION: list[Message] = [{"role": "user", "content": "Which one?"}]


def request(messages: list[Message] | None = None, **details: Any) -> ProviderRequest:
    return ProviderRequest(deployment=DEPLOYMENT, messages=messages or QUESTION, **details)


def says(text: str, **details: Any) -> Completion:
    details.setdefault("finish_reason", "stop")
    return Completion(text=text, **details)


def calls(name: str, *arguments: str, id: str | None = "c1") -> Completion:
    made = [ToolCall(id=id, name=name, raw_arguments=a, arguments=_object(a)) for a in arguments]
    return Completion(tool_calls=tuple(made), finish_reason="tool_calls")


def _object(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def follow(schema: Any, root: Node) -> Any:
    """Return *schema*, or where its chain of references ends."""
    while "$ref" in schema:
        schema = resolve(schema["$ref"], root)
    return schema


def in_strict_form(data: Any, schema: Any, root: Node) -> Any:
    """Return *data* as a model under a strict schema writes it: null for what is left out."""
    schema = follow(schema, root)
    if isinstance(data, list):
        prefix, items = schema.get("prefixItems", []), schema.get("items", {})
        parts = [*prefix, *[items] * len(data)]
        for branch in schema.get("anyOf", ()):
            branch = follow(branch, root)
            if branch.get("type") == "array":
                parts = [branch["items"]] * len(data)
        return [in_strict_form(item, part, root) for item, part in zip(data, parts, strict=False)]
    if not isinstance(data, dict):
        return data
    properties = _properties_for(data, schema, root)
    return {
        name: in_strict_form(data[name], part, root) if name in data else None
        for name, part in properties.items()
    }


def _properties_for(data: dict[str, Any], schema: Node, root: Node) -> Node:
    own: Node = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        own |= _properties_for(data, follow(part, root), root)
    if own:
        return own
    branches: list[Any] = schema.get("oneOf") or schema.get("anyOf") or []
    for branch in branches:
        branch = follow(branch, root)
        if branch.get("type") == "array" or "properties" not in branch:
            continue
        names = branch["properties"]
        required = branch.get("required", ())
        kind = names.get("kind", {}).get("const")
        if (
            data.keys() <= names.keys()
            and set(required) <= data.keys()
            and data.get("kind") == kind
        ):
            return dict(names)
    return {}


def check_bill(sandbox: Sandbox, before: int, found: Any) -> None:
    """Usage and cost are those of the sandbox's books, to the last digit."""
    sandbox.wait_idle()
    bills = list(sandbox.bills.values())[before:]
    assert found.cost.total == sum((bill.total for bill in bills), Decimal(0))
    assert found.cost.reported == sum((bill.cost for bill in bills), Decimal(0))
    assert found.usage.input_tokens == sum(bill.tokens.prompt for bill in bills)
    assert found.usage.output_tokens == sum(bill.tokens.completion for bill in bills)
    ids = [attempt.response_id for attempt in found.attempts if attempt.usage is not None]
    assert ids == [bill.generation_id for bill in bills]
