"""The JSON Schema of the file, for editors."""

from __future__ import annotations

import ast
import inspect
import itertools
from typing import Any

import llm_router.config.model as config

_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${VAR} or ${VAR:-default}"}
_SECTIONS = ("defaults", "providers", "aliases")


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a configuration file, variables allowed as values."""
    schema: dict[str, Any] = _with_variables(config.Sections.model_json_schema())
    parts = {"Sections": schema, **schema["$defs"]}
    for (name, key), text in _field_descriptions().items():
        if key in parts.get(name, {}).get("properties", {}):
            parts[name]["properties"][key]["description"] = text
    rows = schema["properties"]["providers"]
    rows["additionalProperties"] = _or(rows["additionalProperties"], {"type": "null"})
    for name in _SECTIONS:  # a section whose rows are all commented out
        schema["properties"][name] = _or(schema["properties"][name], {"type": "null"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "llm_router configuration",
        "description": "Which deployments serve each alias, and how.",
    }


def _field_descriptions() -> dict[tuple[str, str], str]:
    """Read the docstrings under the fields; only here, since it would slow every import down."""
    return {
        (part.name, field.target.id): inspect.cleandoc(text.value.value)
        for part in ast.parse(inspect.getsource(config)).body
        if isinstance(part, ast.ClassDef)
        for field, text in itertools.pairwise(part.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }


def _with_variables(part: Any) -> Any:
    """Return *part* of a schema with `${VAR}` allowed wherever no text is."""
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") in ("number", "integer", "boolean") or {"enum", "const"} & part.keys():
        return _or(part, _VARIABLE)
    return {k: v if k == "propertyNames" else _with_variables(v) for k, v in part.items()}


def _or(part: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [part, other]}
