"""Regular expressions take a time that grows with the text, no faster: every one of the package.

Texts come from providers, models and files, and are searched on the event loop.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import llm_router

PACKAGE = pathlib.Path(llm_router.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(
        path.read_text(encoding="utf-8")
    )
    for path in sorted(PACKAGE.rglob("*.py"))
    if "migrations" not in path.parts
}
# Owners of these rooms: mend, then take the name away.
SLOW = {
    "config.variables._REFERENCE",
}
COMPILE_LATE = {
    "cli.ledger",
    "config.validation",
    "testing.answers",
    "testing.schema_instances",
}
MATCHED_ELSEWHERE = {"config.document._Loader"}  # By PyYAML, with `match`.


def known(names: Iterable[str], faults: set[str]) -> list[Any]:
    mark = pytest.mark.xfail(strict=True, reason="known, and its room's to mend")
    return [pytest.param(name, marks=[mark] if name in faults else []) for name in names]


# --- every pattern --------------------------------------------------------------------------


def constants_of(module: ast.Module) -> Iterator[str]:
    """Return the names at the top of a module, if it uses `re` at all."""
    if not any(isinstance(n, ast.Import) and n.names[0].name == "re" for n in module.body):
        return
    for node in module.body:
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.ClassDef):
            yield node.name


CONSTANTS = [f"{name}.{c}" for name, module in MODULES.items() for c in constants_of(module)]


def patterns_in(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from patterns_in((*value.keys(), *value.values()), depth)
    elif isinstance(value, tuple | list | set | frozenset) and depth < 4:
        for item in value:
            yield from patterns_in(item, depth + 1)
    elif isinstance(value, type) and value.__module__.startswith("llm_router"):
        yield from patterns_in([v for v in vars(value).values() if not isinstance(v, type)], depth)


def matches_only(name: str) -> bool:
    """Say whether a module uses its constant for matches at one place, never to search."""
    module, _, constant = name.rpartition(".")
    uses = {
        node.attr
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == constant
    }
    return name in MATCHED_ELSEWHERE or (bool(uses) and uses <= {"match", "fullmatch"})


# --- attacks --------------------------------------------------------------------------------

SIZES = (15, 30, 250, 1_000, 4_000, 16_000)
# A text of these sizes that takes longer is looked at closely.
SUSPICIOUS_SECONDS = 0.02
# What is quicker at 4,000 characters is not suspicious at 16,000 even when it is quadratic.
QUICK_SECONDS = SUSPICIOUS_SECONDS / 16
CHARACTERS = " \n\t\"'\\<>{}[]()/*:;=@$&,.-_aA0"
OPENINGS = ("", '"', "<", "{", "```", "/*", "//", "${", '{"a":"')


def attacks(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str]]:
    """Return beginnings and what follows them again and again, made of the pattern's own words."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    source = re.sub(r"\\[A-Za-z]|\(\?\w+\)", " ", source)
    found = re.findall(r"[A-Za-z]{2,}|[^\w\s\\()\[\]|?+.^$*{}]{2,}", source)
    words = list(dict.fromkeys((*sorted(found, key=len, reverse=True)[:3], *found[:3])))
    yield from itertools.product((*OPENINGS, *words), (*CHARACTERS, r"\"", "/* ", "${", *words))
    for word, character in itertools.product(words, CHARACTERS):
        yield "", word + character
        yield "", f"<{word}{character}"


def seconds(pattern: re.Pattern[Any], text: str, once: bool) -> float:
    """Return the CPU time of searching a text through, or of one match at its beginning."""
    subject: Any = text if isinstance(pattern.pattern, str) else text.encode()
    begun = time.process_time()
    if once:
        pattern.match(subject)
    else:
        for _ in pattern.finditer(subject):
            pass
    return time.process_time() - begun


def slow_attack(pattern: re.Pattern[Any], *, once: bool = False) -> str | None:
    """Return a text on which twice the length takes more than three times as long."""
    for start, pump in attacks(pattern):

        def taken(size: int, start: str = start, pump: str = pump) -> float:
            text = (start + pump * (size // len(pump)))[:size] + "\x00~"
            return seconds(pattern, text, once)

        for size in SIZES:
            spent = taken(size)
            if size == 4_000 and spent < QUICK_SECONDS:
                break
            if spent > SUSPICIOUS_SECONDS:
                half, whole = (min(taken(n) for _ in range(3)) for n in (size // 2, size))
                if whole > SUSPICIOUS_SECONDS and whole > 3 * half:
                    return f"{start!r} and then {pump!r}: {size} characters take {whole:.3f} s"
                break
    return None


def value_of(name: str) -> Any:
    module, _, constant = name.rpartition(".")
    return getattr(importlib.import_module(f"llm_router.{module}"), constant)


NOTING = """
import importlib, json, re, sys
compile, made = re.compile, []
def noting(pattern, flags=0):
    source = pattern if isinstance(pattern, str) else pattern.decode()
    made.append((sys._getframe(1).f_globals["__name__"], source))
    return compile(pattern, flags)
re.compile = noting
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(made))
"""


def test_every_pattern_that_the_package_compiles_is_tried() -> None:
    """Whatever it is bound to: a method of it, say, hides it from the look at constants."""
    names = [f"llm_router.{name}".removesuffix(".__init__") for name in MODULES]
    command = [sys.executable, "-c", NOTING, *names]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    made = {tuple(m) for m in json.loads(done.stdout) if m[0].startswith("llm_router.")}
    tried = {
        (
            f"llm_router.{name.rpartition('.')[0]}",
            pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode(),
        )
        for name in CONSTANTS
        for pattern in patterns_in(value_of(name))
    }
    assert len(made) > 50 and made <= tried, made - tried


@pytest.mark.parametrize("name", known(CONSTANTS, SLOW))
def test_a_text_of_twice_the_length_takes_at_most_twice_the_time(name: str) -> None:
    for pattern in patterns_in(value_of(name)):
        assert slow_attack(pattern, once=matches_only(name)) is None, pattern.pattern


@pytest.mark.parametrize(
    "source",
    [
        r"(?is)<(title|h1)[^>]*>(.*?)</\1",
        r"<[^>]*>",
        r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
        r"(?i)model .* does not exist",
        r"(?s)\A```\w*\s*(.*?)\s*```\Z",
        r'(?s)"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|[{}\[\]]',
        r"(a|aa)+$",
    ],
)
def test_a_pattern_that_once_stood_still_is_found_out(source: str) -> None:
    # A machine that is busy or quick may hide a factor of four once.
    assert any(slow_attack(re.compile(source)) for _ in range(4))


# --- where they stand -----------------------------------------------------------------------


def calls_of_re_in_functions(module: ast.Module) -> list[int]:
    """Return the lines on which a function has a pattern of its own."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    functions = [node for node in ast.walk(module) if isinstance(node, kinds)]
    calls = {n for f in functions for n in ast.walk(f) if isinstance(n, ast.Call)}
    return sorted(
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "re"
        and call.func.attr != "escape"
    )


@pytest.mark.parametrize("name", known(MODULES, COMPILE_LATE))
def test_patterns_stand_at_the_top_of_a_module_where_they_can_be_tried(name: str) -> None:
    assert calls_of_re_in_functions(MODULES[name]) == []
