"""Plain data → RouterConfig and every problem in it, however many there are.

What is wrong is noted and then left out, so that the rest is still looked at: a misspelt key
does not hide a loop among aliases.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llm_router.config.checks import Problem, check
from llm_router.config.model import RouterConfig, Sections
from llm_router.config.report import Path, quote
from llm_router.config.schema import file_schema
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llm_router.config.variables import Substitution

_ROUNDS = 8
_BRANCHES_OF_TEXT = ("string_type", "literal_error")
_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "string_type": "must be a text (put it in quotes)",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than_equal": "must be {le:g} or less",
    "literal_error": "must be {expected}",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


def validate(
    data: dict[str, Any], filled: Substitution, source: str | None
) -> tuple[RouterConfig, list[Problem]]:
    """Return a configuration of what is right in *data* (which is changed), and all problems."""
    check_up = _CheckUp(data, filled.raw)
    for path in filled.unset:
        check_up.leave_out(path)
    check_up.unknown_keys()
    check_up.wrong_values()
    check_up.name_key_variables(filled.key_variables)
    config = RouterConfig(**check_up.data, source=source)
    problems = [p for p in check(config) if p.path not in check_up.left_out]
    return config, check_up.problems + problems


class _CheckUp:
    def __init__(self, data: dict[str, Any], raw: Mapping[Path, str]) -> None:
        self.data = data
        self.raw = raw
        self.problems: list[Problem] = []
        self.left_out: set[Path] = set()

    def unknown_keys(self) -> None:
        for path, known in list(_unknown_keys(self.data, file_schema(), ())):
            name = str(path[-1])
            what = "parameter" if path[-2:-1] == ("params",) else "key"
            message = f"unknown {what}: {quote(name, ())}{did_you_mean(name, known)}"
            self.problems.append(Problem(path, message))
            self.leave_out(path)

    def wrong_values(self) -> None:
        """Validate, leave out what is wrong, and again: pydantic sees some things only then."""
        for _ in range(_ROUNDS):
            try:
                Sections.model_validate(self.data)
            except ValidationError as error:
                for path, message in self._distinct(error):
                    if path not in self.left_out:
                        self.problems.append(Problem(path, message))
                    self.leave_out(path)
            else:
                return
        self.problems.append(Problem((), "cannot be understood"))
        self.data = {}

    def name_key_variables(self, variables: Mapping[str, str]) -> None:
        for row, variable in variables.items():
            if row in self.data.get("providers", {}):
                self.data["providers"][row]["api_key_env"] = variable

    def _distinct(self, error: ValidationError) -> Iterator[tuple[Path, str]]:
        """One message a place: of a union's branches, the one that fits what is written."""
        found: dict[Path, str] = {}
        for item in error.errors(include_url=False):
            path, value = self._walk(item["loc"], item["type"] == "missing")
            of_a_branch = item["loc"][-1:] != path[-1:]
            if isinstance(value, dict) and of_a_branch and item["type"] in _BRANCHES_OF_TEXT:
                continue
            found.setdefault(path, self._words(item, path, value))
        yield from found.items()

    def _walk(self, loc: tuple[str | int, ...], missing: bool) -> tuple[Path, Any]:
        """Follow *loc* as far as data goes: pydantic puts names of union branches between."""
        value: Any = self.data
        path: Path = ()
        for part in loc[:-1] if missing else loc:
            in_list = isinstance(value, list) and isinstance(part, int)
            if in_list or (isinstance(value, dict) and part in value):
                value, path = value[part], (*path, part)
        return (*path, loc[-1]) if missing else path, value

    def _words(self, item: Any, path: Path, value: Any) -> str:
        if item["type"] == "missing":
            fix = ": write `model: provider/model`" if path[-1] == "model" else ""
            return f"key {path[-1]!r} is missing{fix}"
        context = item.get("ctx", {})
        if item["type"] == "value_error":
            said = str(context["error"])
            return f"{said}: {self._quoted(path, value)}" if not isinstance(value, dict) else said
        said = _WORDS.get(item["type"], item["msg"].replace("Input should", "must"))
        hint = ""
        if item["type"] == "literal_error" and isinstance(value, str):
            hint = did_you_mean(value, re.findall("'([^']*)'", context["expected"]))
        return f"{said.format(**context)}: {self._quoted(path, value)}{hint}"

    def _quoted(self, path: Path, value: Any) -> str:
        return quote(self.raw.get(path, value), path)

    def leave_out(self, path: Path) -> None:
        """Take the value at *path* away; where something must stand, a stand-in takes its place."""
        self.left_out.add(path)
        if not path:
            self.data = {}
            return
        parent: Any = self.data
        key: Any = path[-1]
        for part in path[:-1]:
            try:
                parent = parent[part]
            except (KeyError, IndexError, TypeError):
                return  # left out with something around it
        stand_in = self._stand_in(path)
        if isinstance(parent, dict) and stand_in is None:
            parent.pop(key, None)
        elif isinstance(parent, dict | list):
            parent[key] = stand_in

    def _stand_in(self, path: Path) -> Any:
        model = f"openrouter/unreadable-{len(self.left_out)}"
        if len(path) == 2 and path[0] in ("providers", "aliases"):
            return {"model": model} if path[0] == "aliases" else {}
        if isinstance(path[-1], int) or (path[0] == "aliases" and path[-1] == "model"):
            return model
        if path[2:] == ("cache", "ttl"):
            return "5m"
        return 0 if path[2:3] == ("prices",) and path[-1] in ("input", "output") else None


def _unknown_keys(
    value: Any, schema: Mapping[str, Any], path: Path
) -> Iterator[tuple[Path, list[str]]]:
    """Yield each key that its place does not know, with those it does."""
    part = _resolved(schema, value)
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unknown_keys(item, part.get("items", {}), (*path, place))
    elif isinstance(value, dict):
        known = [*part.get("properties", {}), *part.get("propertyNames", {}).get("enum", [])]
        for key, item in value.items():
            if known and key not in known:
                yield (*path, key), known
            else:
                inner = part.get("properties", {}).get(key, part.get("additionalProperties"))
                yield from _unknown_keys(item, inner, (*path, key)) if inner else ()


def _resolved(schema: Any, value: Any) -> Mapping[str, Any]:
    if not isinstance(schema, dict):
        return {}
    for branch in schema.get("anyOf", ()):
        found = _resolved(branch, value)
        if found.get("type") == ("object" if isinstance(value, dict) else "array"):
            return found
    if "$ref" in schema:
        part: dict[str, Any] = file_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        return part
    return schema
