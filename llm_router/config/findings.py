"""What is found in a configuration: `file:line: key.path: what is wrong`, without any secret.

Also what pydantic finds is said here, in plain words and where it stands in the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from llm_router.errors import ConfigurationError
from llm_router.options.request import did_you_mean
from llm_router.redaction import MASK, redact, redact_data

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from llm_router.config.model import RouterConfig

Path = tuple[str | int, ...]
"""The keys and places that lead to a value: `("aliases", "fast", "fallbacks", 1)`."""
_LONGEST_MESSAGE = 400
_LONGEST_QUOTE = 60
_MOST_READ = 4 * _LONGEST_MESSAGE
_MOST_BITS = 1000
_NUMBER = "must be a number"
_MAPPING = "must be a mapping of keys"
_TEXT_OR_WORD = ("string_type", "literal_error")
# By pydantic's type of error, or by the first word of it.
_WORDS = {
    "int": "must be a whole number",
    "float": _NUMBER,
    "finite": _NUMBER,
    "decimal": _NUMBER,
    "string": "must be a text (put it in quotes)",
    "dict": _MAPPING,
    "model": _MAPPING,
    "tuple": "must be a list",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than_equal": "must be {le:g} or less",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must be a version such as 2024-10-21 or 2025-04-01-preview",
    "value_error": "{error}",
}
_QUOTED = re.compile(r"'([^']*)'")
_PLAIN_KEY = re.compile(r"[\w@:/+-]{1,80}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a configuration; `str()` is a paragraph."""

    path: Path
    message: str
    severity: Literal["error", "warning", "note"] = "error"
    line: int | None = None
    """Counted from 1; None where no line says it (a row that only the environment completes)."""
    file: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, dotted(self.path), self.message) if part)

    def placed(
        self, file: str | None, lines: Mapping[Path, int], secrets: Collection[str]
    ) -> Finding:
        """Return it with file and line, and without *secrets*: as it may be shown."""
        line = _line_of(self.path, lines) if self.line is None else self.line
        path = tuple(
            p if isinstance(p, int) else redact(p[:_MOST_READ], secrets) for p in self.path
        )
        message = shorten(redact(self.message[:_MOST_READ], secrets), _LONGEST_MESSAGE)
        return Finding(path, message, self.severity, line, file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found in a configuration, and the configuration where there is no error."""

    source: str | None
    config: RouterConfig | None
    findings: tuple[Finding, ...]

    @classmethod
    def of(
        cls,
        findings: Iterable[Finding],
        *,
        source: str | None,
        config: RouterConfig | None = None,
        lines: Mapping[Path, int] | None = None,
        secrets: Collection[str] = (),
    ) -> Report:
        """Place *findings* in the file, each once and in the file's order."""
        placed = dict.fromkeys(item.placed(source, lines or {}, secrets) for item in findings)
        in_order = tuple(sorted(placed, key=lambda item: item.line or 0))
        return cls(source=source, config=config, findings=in_order)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What keeps it from being used."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What works and should not stay so: a key in clear."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is good to know: a provider without credentials, plain http."""
        return self._of("note")

    def _of(self, severity: str) -> tuple[Finding, ...]:
        return tuple(item for item in self.findings if item.severity == severity)

    def unwrap(self) -> RouterConfig:
        """Return the configuration, or raise one ConfigurationError that holds every problem."""
        if self.config is None:
            raise refusal(self.problems)
        return self.config


def refusal(findings: Iterable[Finding]) -> ConfigurationError:
    """Return the error that says all of *findings*, one a line."""
    problems = tuple(redact(str(item)) for item in findings)
    return ConfigurationError("\n".join(problems), problems=problems)


def sentence(text: str) -> PydanticCustomError:
    """Return what a validator raises that has said everything: what is written is not quoted."""
    return PydanticCustomError("sentence", "{text}", {"text": text})


def explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Mapping[str, Any],
    raw: Mapping[Path, str] | None = None,
) -> Iterator[Finding]:
    """Yield one finding a place: of a union's branches, the one that fits what is written.

    *data* is what *model* was to be made of; *raw* has the texts that a message may quote where
    they are not what stands in *data*.
    """
    said: set[Path] = set()
    errors = error.errors(include_url=False, include_input=False)
    # A misspelt key comes before the one that is missing because of it.
    for item in sorted(errors, key=lambda item: item["type"] == "missing"):
        path, value = _walk(data, item)
        of_a_branch = item["loc"][-1:] != path[-1:]
        misfit = of_a_branch and isinstance(value, dict) and item["type"] in _TEXT_OR_WORD
        if path not in said and not misfit:
            said.add(path)
            written = quote((raw or {}).get(path, value), path)
            yield Finding(path, _words(item, path, model, value, written))


def _walk(data: Mapping[str, Any], item: ErrorDetails) -> tuple[Path, Any]:
    """Follow the error's place as far as data goes: pydantic puts names of branches between."""
    value: Any = data
    path: Path = ()
    missing = item["type"] == "missing"
    for part in item["loc"][:-1] if missing else item["loc"]:
        in_list = isinstance(value, list | tuple) and isinstance(part, int)
        if in_list or (isinstance(value, dict) and part in value):
            value, path = value[part], (*path, part)
    return (*path, item["loc"][-1]) if missing else path, value


def _words(item: ErrorDetails, path: Path, model: type[BaseModel], value: Any, written: str) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "sentence":
        return item["msg"]
    if kind == "missing":
        fix = ": write `model: provider/model`" if path[-1] == "model" else ""
        return f"key {path[-1]!r} is missing{fix}"
    if kind == "extra_forbidden":
        name = str(path[-1])
        return f"unknown key: {quote(name)}{did_you_mean(name, _keys_at(model, path[:-1]))}"
    hint = ""
    if kind == "literal_error" and isinstance(value, str):
        hint = did_you_mean(value, _QUOTED.findall(context["expected"]))
    said = _WORDS.get(kind) or _WORDS.get(kind.partition("_")[0])
    text = said.format(**context) if said else item["msg"].replace("Input should", "must")
    return f"{text}: {written}{hint}"


def _keys_at(kind: Any, path: Path) -> Iterable[str]:
    """Return the keys that the mapping at *path* may have, by the annotations of the models."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return _keys_at(fields[str(path[0])].annotation, path[1:]) if path else fields
    inside = get_args(kind)
    if get_origin(kind) in (dict, tuple):  # a row by its name, an item by its place
        return _keys_at(inside[1 if get_origin(kind) is dict else 0], path[1:])
    return next(filter(None, (_keys_at(branch, path) for branch in inside)), ())


def _line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Return the line of the nearest key along *path* that has one."""
    along = (path[:length] for length in range(len(path), 0, -1))
    return next((lines[part] for part in along if part in lines), None)


def dotted(path: Path) -> str:
    """Return `aliases.fast.fallbacks[1]`; a key that would mislead there stands quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}"
        else:
            text += f".{shorten(repr(part), _LONGEST_QUOTE)}"
    return text.removeprefix(".")


def quote(value: Any, path: Path = ()) -> str:
    """Return what stands at *path*, short and on one line; a secret is masked."""
    if is_secret(path):
        return f"'{MASK}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        value = hex(value)  # Python refuses to write very long numbers in decimal
    return shorten(repr(redact(hide_password(str(value))[: 2 * _LONGEST_QUOTE])), _LONGEST_QUOTE)


def names_secret(path: Path) -> bool:
    """Return whether the last key of *path* says that its value is a secret."""
    return bool(path) and redact_data({path[-1]: "x"}) != {path[-1]: "x"}


def is_secret(path: Path) -> bool:
    """Return whether what stands at *path* is never shown: a key, or the value of a header."""
    return names_secret(path) or (path[:1] == ("providers",) and path[2:3] == ("headers",))


def hide_password(text: str) -> str:
    """Return a URL with user and password masked, whatever characters they hold; others as is."""
    scheme, mark, rest = text.partition("://")
    user, _, host = rest.rpartition("@")
    return f"{scheme}{mark}{MASK}@{host}" if ":" in user else text


def shorten(text: str, longest: int) -> str:
    """Cut *text* where it is longer, showing that it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
