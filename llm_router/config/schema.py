"""The JSON Schema of the file: what an editor completes, and what `check` knows the keys by."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
from typing import Any

import llm_router.config.model as config
from llm_router.errors import KINDS
from llm_router.options.request import PARAM_NAMES

_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "${VAR} or ${VAR:-default}"}
_SECTIONS = ("defaults", "providers", "aliases")


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a configuration file, variables allowed as values."""
    schema: dict[str, Any] = _with_variables(file_schema())
    for name in _SECTIONS:  # a section whose rows are all commented out
        schema["properties"][name] = _or(schema["properties"][name], {"type": "null"})
    rows = schema["properties"]["providers"]["anyOf"][0]
    rows["additionalProperties"] = _or(rows["additionalProperties"], {"type": "null"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "llm_router configuration",
        **schema,
    }


@functools.cache
def file_schema() -> dict[str, Any]:
    """Return the schema of the data after variables are filled in. Not to be changed."""
    schema = config.Sections.model_json_schema()
    descriptions = _field_descriptions()
    for name, part in [("Sections", schema), *schema["$defs"].items()]:
        part.pop("title", None)
        for key, field in part["properties"].items():
            for noise in ("title", "default") if field.get("default") is None else ("title",):
                field.pop(noise, None)
            if (name, key) in descriptions:
                field["description"] = descriptions[name, key]
    aliases = schema["$defs"]["AliasConfig"]["properties"]
    fallbacks = schema["$defs"]["FallbackConfig"]["properties"]
    for params in (aliases["params"], fallbacks["params"]["anyOf"][0]):
        params["propertyNames"] = {"enum": sorted(PARAM_NAMES)}
    aliases["on_error"]["propertyNames"] = {"enum": list(KINDS)}
    schema["properties"]["ledger"]["anyOf"].append({"const": "none"})
    schema["description"] = "Which deployments serve each alias, and how."
    return schema


def _field_descriptions() -> dict[tuple[str, str], str]:
    """Read the docstrings under the fields; only here, since it would slow every import down."""
    parts = ast.parse(inspect.getsource(config)).body
    return {
        (part.name, field.target.id): inspect.cleandoc(text.value.value)
        for part in parts
        if isinstance(part, ast.ClassDef)
        for field, text in itertools.pairwise(part.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }


def _with_variables(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") in ("number", "integer", "boolean") or {"enum", "const"} & part.keys():
        outer = {key: part[key] for key in ("description", "default") if key in part}
        inner = {key: value for key, value in part.items() if key not in outer}
        return {**_or(inner, _VARIABLE), **outer}
    return {k: v if k == "propertyNames" else _with_variables(v) for k, v in part.items()}


def _or(part: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    outer = {key: part[key] for key in ("description",) if key in part}
    return {**outer, "anyOf": [{k: v for k, v in part.items() if k not in outer}, other]}
