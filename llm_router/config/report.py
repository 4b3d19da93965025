"""What is found in a configuration file, said as `file:line: key.path: what is wrong`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llm_router.errors import ConfigurationError
from llm_router.redaction import MASK, redact, redact_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_router.config.checks import Problem
    from llm_router.config.model import RouterConfig

Path = tuple[str | int, ...]
_LONGEST_MESSAGE = 400
_LONGEST_QUOTE = 60
_PLAIN_KEY = re.compile(r"[\w@:/+-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say about a file; `str()` is a paragraph without any secret."""

    message: str
    severity: Literal["error", "warning", "note"] = "error"
    file: str | None = None
    line: int | None = None
    """Counted from 1; None where no line says it (a row that only the environment completes)."""
    path: str = ""
    """Keys joined by dots: `aliases.fast.fallbacks[1]`."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found in a configuration, and the configuration where there is no error."""

    source: str | None
    config: RouterConfig | None
    findings: tuple[Finding, ...] = ()

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
        if self.config is not None:
            return self.config
        problems = tuple(str(item) for item in self.problems)
        raise ConfigurationError("\n".join(problems), problems=problems)


def findings(
    problems: Iterable[tuple[Problem, int | None]],
    *,
    file: str | None,
    secrets: Iterable[str] = (),
) -> list[Finding]:
    """Take every secret out of the problems, and put them in the order of the file."""
    known = tuple(secrets)
    found = [
        Finding(
            message=shorten(redact(problem.message, known), _LONGEST_MESSAGE),
            severity=problem.severity,
            file=file,
            line=line,
            path=redact(dotted(problem.path), known),
        )
        for problem, line in problems
    ]
    return sorted(dict.fromkeys(found), key=lambda item: item.line or 0)


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Return the line of the nearest key along *path* that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


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


def quote(value: Any, path: Path) -> str:
    """Return the offending text of the file, short and on one line; a key is masked."""
    if names_secret(path):
        return f"'{MASK}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = value[: 2 * _LONGEST_QUOTE] if isinstance(value, str) else str(value)
    return shorten(repr(redact(text)), _LONGEST_QUOTE)


def names_secret(path: Path) -> bool:
    """Return whether the last key of *path* says that its value is a secret."""
    return bool(path) and redact_data({path[-1]: "x"}) != {path[-1]: "x"}


def shorten(text: str, longest: int) -> str:
    """Cut *text* where it is longer, showing that it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
