"""Find a configuration, read it, and say everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from llm_router.config.checks import Problem
from llm_router.config.report import Report, findings, line_of

if TYPE_CHECKING:
    from llm_router.config.model import RouterConfig
    from llm_router.config.report import Path

FILE_NAME = "llm_router.yaml"
_LARGEST_FILE = 1024 * 1024
_OPENROUTER_ROW = {
    "api_key": "${OPENROUTER_API_KEY}",
    "base_url": "${OPENROUTER_BASE_URL:-https://openrouter.ai/api/v1}",
}
StrPath = str | os.PathLike[str]


def load(
    path: StrPath | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
) -> RouterConfig:
    """Load *path*, else `LLM_ROUTER_CONFIG`, ./config/llm_router.yaml, ./llm_router.yaml, built-in.

    Raises ConfigurationError with every problem of the file.
    """
    return check_file(path, environ=environ, cwd=cwd).unwrap()


def check_file(
    path: StrPath | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
) -> Report:
    """Find and read a file as `load` does; problems, a missing file too, are in the report."""
    environ = os.environ if environ is None else environ
    place, why = _find(path, environ, FilePath(cwd or "."))
    name = str(place)
    try:
        with place.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        return _refused(name, f"cannot be read: {reason}{why}; `llm-router init` writes one")
    if len(raw) > _LARGEST_FILE:
        return _refused(name, "larger than 1 MiB: not a configuration")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _refused(name, f"not UTF-8: byte {raw[error.start]:#04x}", line)
    return check_text(text, name, environ=environ)


def from_text(
    text: str, name: str = "configuration", *, environ: Mapping[str, str] | None = None
) -> RouterConfig:
    """Read YAML *text*; *name* stands for the file in messages. Raises ConfigurationError."""
    return check_text(text, name, environ=environ).unwrap()


def check_text(
    text: str, name: str = "configuration", *, environ: Mapping[str, str] | None = None
) -> Report:
    """Read YAML *text* and report on it."""
    from llm_router.config import document  # PyYAML is not needed to build from code

    read = document.parse(text)
    if read.data is None and not read.problems:
        return _refused(name, "the file is empty; `llm-router init` writes one to start from")
    if read.data is None:
        return Report(source=name, config=None, findings=tuple(findings(read.problems, file=name)))
    return _check(read.data, name, environ, read.lines, read.problems)


def from_dict(data: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> RouterConfig:
    """Build from a mapping shaped as the file is, `${VAR}` included. Raises ConfigurationError."""
    return _check(data, None, environ).unwrap()


def from_environment(*, environ: Mapping[str, str] | None = None) -> RouterConfig:
    """Build without any file: no alias, the openrouter row from the environment."""
    return from_dict({}, environ=environ)


def starter_text() -> str:
    """Return the commented file that `llm-router init` writes: the built-in one."""
    return (builtin_folder() / FILE_NAME).read_text(encoding="utf-8")


def builtin_folder() -> FilePath:
    """Return the folder of the files that come with the package, also in a checkout."""
    package = FilePath(__file__).parents[1]
    carried = package / "builtin_config"
    return carried if carried.is_dir() else package.parent / "config"


def _find(path: StrPath | None, environ: Mapping[str, str], cwd: FilePath) -> tuple[FilePath, str]:
    if path is not None:
        return FilePath(path), ""
    from llm_router.config.settings import Settings

    named = Settings.read(environ).llm_router_config
    if named:
        return cwd / FilePath(named), " (named by LLM_ROUTER_CONFIG)"
    for place in (cwd / "config" / FILE_NAME, cwd / FILE_NAME):
        if place.is_file():
            return place, ""
    return builtin_folder() / FILE_NAME, ""


def _refused(name: str, message: str, line: int | None = None) -> Report:
    problem = (Problem((), message), line)
    return Report(source=name, config=None, findings=tuple(findings([problem], file=name)))


def _check(
    data: Any,
    name: str | None,
    environ: Mapping[str, str] | None,
    lines: Mapping[Path, int] | None = None,
    problems: list[tuple[Problem, int | None]] | None = None,
) -> Report:
    from llm_router.config.validation import validate
    from llm_router.config.variables import Substitution

    environ = os.environ if environ is None else environ
    if not isinstance(data, Mapping):
        return _refused(name or "configuration", "must be a mapping of keys: version, aliases, …")
    filled = Substitution(environ)
    values = filled.fill(_completed(data, environ))
    config, found = validate(values, filled, name)
    located = [(p, line_of(p.path, lines or {})) for p in (*filled.problems, *found)]
    report = tuple(findings([*(problems or ()), *located], file=name, secrets=filled.secrets))
    wrong = any(item.severity == "error" for item in report)
    return Report(source=name, config=None if wrong else config, findings=report)


def _completed(data: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Add what the environment says; a key without a value counts as not written."""
    from llm_router.config.settings import Settings

    full = {key: value for key, value in data.items() if value is not None}
    providers = full.setdefault("providers", {})
    if isinstance(providers, Mapping):
        rows = {name: {} if row is None else row for name, row in providers.items()}
        row = rows.get("openrouter", {})
        rows["openrouter"] = {**_OPENROUTER_ROW, **row} if isinstance(row, Mapping) else row
        full["providers"] = rows
    provider = Settings.read(environ).llm_router_provider
    defaults = full.get("defaults", {})
    if provider and isinstance(defaults, Mapping):
        full["defaults"] = {**defaults, "provider": provider}
    return full
