"""What MkDocs is told at every build: the order of the pages, and the reference out of the code.

The reference is never stale: it is written from the models, the options, the errors and the events
each time the site is built.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llm_router.errors as errors
import llm_router.events as events
import llm_router.ledger.outage as outage
import llm_router.options.request as request
from llm_router.config.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST = ("index", "quickstart", "guide", "coming-from", "reference", "api")
_LAST = ("how-it-works",)
_OPTIONS = ("Params", "CommonOptions", "CallOptions")


def on_config(config: Any) -> Any:
    """Put the pages that everybody reads first; every other page of the folder follows."""
    found = {path.stem for path in Path(config["docs_dir"]).glob("*.md")} | {"reference"}
    others = sorted(found - {*_FIRST, *_LAST})
    config["nav"] = [f"{name}.md" for name in (*_FIRST, *others, *_LAST) if name in found]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the reference."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def reference() -> str:
    """Return the page."""
    parts = ["# Reference", "", *_configuration(), *_options(), *_errors(), *_events()]
    return "\n".join(parts) + "\n"


def _configuration() -> Iterator[str]:
    schema = json_schema()
    yield "## Configuration keys\n"
    yield "`${VAR}` and `${VAR:-default}` may stand for a value. Times are seconds, money is USD.\n"
    for name, part in {"the file": schema, **schema["$defs"]}.items():
        if "properties" not in part:
            continue
        yield f"### {name}\n\n{_cell(part.get('description', ''))}\n"
        yield "| key | value | default | |\n|---|---|---|---|"
        needed = part.get("required", [])
        for key, field in part["properties"].items():
            default = "required" if key in needed else f"`{_default(field)}`"
            says = _cell(field.get("description", ""))
            yield f"| `{key}` | {_cell(_kind(field))} | {default} | {says} |"
        yield ""


def _kind(field: dict[str, Any]) -> str:
    """Return in words what a key takes."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "anyOf" in field:
        kinds = dict.fromkeys(_kind(one) for one in field["anyOf"] if "${" not in str(one))
        return " or ".join(kind for kind in kinds if kind not in ("null", ""))
    if "enum" in field or "const" in field:
        words = field.get("enum", [field.get("const")])
        return ", ".join(map(str, words)) if len(words) < 9 else "one of many names"
    if field.get("type") == "object":
        return "mapping"
    if field.get("type") == "array":
        return "list"
    return str(field.get("type", ""))


def _default(field: dict[str, Any]) -> str:
    """Return what holds where the key is left out; it may stand with one of several kinds."""
    said = [one["default"] for one in (field, *field.get("anyOf", ())) if "default" in one]
    return "none" if not said or said[0] is None else str(said[0])


def _options() -> Iterator[str]:
    yield "## Options of a call\n"
    yield "Keyword-only. A misspelt one is a `TypeError`, a wrong value that or a `ValueError`.\n"
    yield "| option | type | |\n|---|---|---|"
    for part in ast.parse(inspect.getsource(request)).body:
        if isinstance(part, ast.ClassDef) and part.name in _OPTIONS:
            for field, after in itertools.zip_longest(part.body, part.body[1:]):
                if isinstance(field, ast.AnnAssign):
                    says = _docstring(after)
                    kind = _cell(ast.unparse(field.annotation))
                    yield f"| `{ast.unparse(field.target)}` | `{kind}` | {_cell(says)} |"
    yield ""


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return ""


def _errors() -> Iterator[str]:
    yield "## Errors, and what each does next\n"
    yield "`on_error` of an alias moves a kind: `retry` here, the `next` deployment, or `stop`.\n"
    yield "| error | derives from | kind | does | |\n|---|---|---|---|---|"
    for name, found in vars(errors).items():
        if inspect.isclass(found) and issubclass(found, errors.LLMRouterError):
            kind = getattr(found, "kind", None)
            base = found.__bases__[0].__name__
            says = _cell((found.__doc__ or "").partition("\n\n")[0])
            does = errors.KINDS.get(kind or "", "")
            yield f"| `{name}` | `{base}` | {f'`{kind}`' if kind else ''} | {does} | {says} |"
    yield ""


def _events() -> Iterator[str]:
    yield "## Events\n"
    yield inspect.cleandoc(events.__doc__ or "").partition("\n\n")[2]
    yield "\n### What the ledger says\n"
    yield inspect.cleandoc(outage.__doc__ or "").partition("\n\n")[2]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
