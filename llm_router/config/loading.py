"""Find a configuration, read it, and say everything that is wrong with it at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from llm_router.config.checks import check, notes
from llm_router.config.findings import Finding, Report, explain
from llm_router.config.model import RouterConfig, Sections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llm_router.config.environment import Substitution
    from llm_router.config.findings import Path

    Look: TypeAlias = Callable[[RouterConfig], Iterable[Finding]]

BUILTIN = "builtin"
"""What `--config` is given for the sample that comes with the package."""
_PLACES = tuple(
    FilePath(folder, f"llm_router{suffix}")
    for folder in ("config", ".")
    for suffix in (".yaml", ".yml")
)
_LARGEST_FILE = 1024 * 1024
_MOST_ERRORS = 100
StrPath = str | os.PathLike[str]


def load(path: StrPath | None = None) -> RouterConfig:
    """Load *path*, else the file that `find` finds.

    Raises ConfigurationError with every problem of the file, or with where one was looked for.
    """
    return check_file(path).unwrap()


def find(path: StrPath | None = None) -> FilePath | None:
    """Return the file to load: *path* ("builtin": the sample), else the first that is there of
    the one LLM_ROUTER_CONFIG names, ./config/llm_router.yaml, ./llm_router.yaml (or `.yml`).
    """
    if path is not None:
        return builtin_file() if path == BUILTIN else FilePath(path)
    from llm_router.config.environment import Settings

    named = Settings().llm_router_config
    return FilePath(named) if named else next(filter(FilePath.is_file, _PLACES), None)


def check_file(path: StrPath | None = None, also: Look | None = None) -> Report:
    """Find and read a file as `load` does; problems, a missing file too, are in the report.

    *also* finds what takes more than the file to know, where that can be read.
    """
    place = find(path)
    if place is None:
        places = ", ".join(map(str, _PLACES))
        message = f"none found: LLM_ROUTER_CONFIG is not set, and there is no {places}"
        return _refused("configuration", f"{message}; `llm-router init` writes one")
    name = str(place)
    try:
        with place.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        why = " (named by LLM_ROUTER_CONFIG)" if path is None and place not in _PLACES else ""
        return _refused(name, f"cannot be read: {reason}{why}; `llm-router init` writes one")
    if len(raw) > _LARGEST_FILE:
        return _refused(name, "larger than 1 MiB: not a configuration")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _refused(name, f"not UTF-8: byte {raw[error.start]:#04x}", line)
    return check_text(text, name, also)


def check_text(text: str, name: str = "configuration", also: Look | None = None) -> Report:
    """Read YAML *text* and report on it; *name* stands for the file in messages."""
    from llm_router.config import document  # PyYAML is not needed to build from code

    read = document.parse(text)
    if read.data is not None:
        return _check(read.data, name, read.lines, read.findings, also)
    if read.findings:
        return Report.of(read.findings, source=name)
    return _refused(name, "the file is empty; `llm-router init` writes one to start from")


def check_data(data: Mapping[str, Any]) -> Report:
    """Read a mapping shaped as the file is, `${VAR}` included; an empty one takes all from the
    environment.
    """
    return _check(data, None)


def from_dict(data: Mapping[str, Any]) -> RouterConfig:
    """Build what `check_data` reads. Raises ConfigurationError."""
    report = check_data(data)
    del data  # else a traceback with local variables shows the keys in it
    return report.unwrap()


def builtin_file(name: str = "llm_router.yaml") -> FilePath:
    """Return a file that comes with the package, also in a checkout."""
    package = FilePath(__file__).parents[1]
    carried = package / "builtin_config"
    return (carried if carried.is_dir() else package.parent / "config") / name


def _refused(name: str, message: str, line: int | None = None) -> Report:
    return Report.of([Finding((), message, line=line)], source=name)


def _check(
    data: Any,
    name: str | None,
    lines: Mapping[Path, int] | None = None,
    findings: Iterable[Finding] = (),
    also: Look | None = None,
) -> Report:
    from llm_router.config.environment import Substitution, with_environment

    if not isinstance(data, Mapping):
        return _refused(name or "configuration", "must be a mapping of keys: version, aliases, …")
    filled = Substitution()
    values = with_environment(filled.fill(data))
    mistakes = _mistakes(values, filled)
    found = list(_bounded(itertools.chain(findings, filled.findings, mistakes)))
    config = None
    if not any(item.severity == "error" for item in found):
        config = RouterConfig(**values, source=name)
        found.extend(notes(config))
        found.extend(also(config) if also else ())
    return Report.of(found, source=name, config=config, lines=lines, secrets=filled.secrets)


def _mistakes(values: dict[str, Any], filled: Substitution) -> Iterator[Finding]:
    """Yield what is wrong with *values*; what is unset or cannot be read is not judged again."""
    said = set(filled.unset)
    try:
        Sections.model_validate(values)
    except ValidationError as error:
        for item in explain(error, Sections, values, filled.raw):
            if item.path not in filled.unset:
                yield item
            said.add(item.path)
    yield from (item for item in check(values) if item.path not in said)


def _bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Stop after many errors: looking for what was meant by each takes its time."""
    errors = 0
    for item in findings:
        errors += item.severity == "error"
        if errors > _MOST_ERRORS:
            yield Finding((), f"more than {_MOST_ERRORS} mistakes; these are the first")
            return
        yield item
