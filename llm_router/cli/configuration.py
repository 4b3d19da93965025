"""`explain`, `check` and `init`: the file that says who serves an alias, and what it comes to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.ask import router_for
from llm_router.cli.budgets import dear_calls
from llm_router.cli.terminal import config_option, json_option, on_one_line, say, say_json
from llm_router.config import loading
from llm_router.config.schema import json_schema
from llm_router.providers.knowing import findings
from llm_router.router import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.config.findings import Report
    from llm_router.routing.explain import Candidate, Explanation

MISUSED = 2
_NEXT = {"retry": "asked again", "next": "the next deployment", "stop": "the call ends"}


@click.command()
@click.argument("model", metavar="ALIAS|PROVIDER/MODEL")
@click.argument("prompt", default="…")
@config_option
@json_option
def explain(model: str, prompt: str, config: str | None, as_json: bool) -> None:
    """Show who would be asked for MODEL, in which order, and with which request. No network."""
    explanation = router_for(model, config).explain(model, prompt)
    if as_json:
        say_json(explanation.to_dict())
        return
    for line in _explained(explanation):
        say(line)


def _explained(explanation: Explanation) -> Iterator[str]:
    limits = explanation.limits
    yield on_one_line(
        f"{explanation.requested}: at most {limits.max_attempts} requests, "
        f"{limits.timeout:g} s each, {limits.deadline:g} s together"
    )
    asked = [candidate for candidate in explanation.candidates if candidate.skip is None]
    for place, candidate in enumerate(asked, 1):
        yield f"\n{place}. {on_one_line(candidate.deployment)}{_state(candidate)}"
        if request := candidate.request:
            yield f"   {request.method} {on_one_line(request.url)}"
            body = json.dumps(request.body, indent=2, ensure_ascii=False, default=str)
            yield "   " + body.replace("\n", "\n   ")
    for candidate in explanation.candidates:
        if candidate.skip is not None:
            yield f"\nNot asked: {on_one_line(f'{candidate.deployment}: {candidate.skip}')}"
    yield "\nAfter an error:"
    for step, words in _NEXT.items():
        kinds = [kind for kind, does in explanation.on_error.items() if does == step]
        yield f"  {words}: {', '.join(kinds) or 'none'}"


def _state(candidate: Candidate) -> str:
    health = candidate.health
    if health is None or health.state == "ready":
        return ""
    return on_one_line(f" ({health.state}: {health.reason})")


@click.command()
@click.argument("file", required=False, type=click.Path())
@config_option
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors.")
@json_option
def check(file: str | None, config: str | None, schema: bool, as_json: bool) -> None:
    """Say all that is wrong in a configuration file, with line numbers and suggestions."""
    if schema:
        say_json(json_schema())
        return
    if file is not None and config is not None:
        raise click.UsageError("name the file once: as FILE or by --config")
    report = loading.check_file(config if file is None else file, findings)
    if as_json:
        say_json(_as_data(report))
    else:
        _say(report)
    if report.problems:
        sys.exit(MISUSED)


def _as_data(report: Report) -> dict[str, Any]:
    names = ("severity", "file", "line", "path", "message")
    return {
        "source": report.source,
        "ok": not report.problems,
        "aliases": list(report.config.aliases) if report.config else [],
        "findings": [{name: getattr(item, name) for name in names} for item in report.findings],
        "warnings": _warnings(report),
    }


def _warnings(report: Report) -> list[str]:
    """Return what is no mistake of the file and may become one; prices and dates are those of the
    catalogue kept on disk."""
    if report.config is None or report.problems:
        return []
    leaving = Router(report.config).retirements().items()
    return [
        *dear_calls(report.config),
        *(f"{name} may be removed after {when} (the catalogue says so)" for name, when in leaving),
    ]


def _say(report: Report) -> None:
    for finding in report.findings:
        say(f"{finding.severity}: {finding}", err=finding.severity == "error")
    if report.config is None or report.problems:
        count = len(report.problems)
        say(f"{count} problem{'s' * (count != 1)} in {report.source}", err=True)
        return
    for warning in _warnings(report):
        say(f"warning: {warning}")
    aliases = ", ".join(report.config.aliases) or "none"
    say(f"{report.source} is fine; aliases: {aliases}")


@click.command()
@click.argument("file", default="llm_router.yaml", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def init(file: str, force: bool, as_json: bool) -> None:
    """Write a commented configuration to start from."""
    place = Path(file)
    if place.exists() and not force:
        raise click.UsageError(f"{file} is there already; --force replaces it")
    place.write_text(loading.builtin_file().read_text(encoding="utf-8"), encoding="utf-8")
    if as_json:
        say_json({"file": file})
    else:
        say(f"Wrote {file}; `llm-router check {file}` reads it.")
