"""`complete` and `explain`: one call; `check` and `init`: the file that says who serves it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.terminal import on_one_line, say, say_json
from llm_router.config import loading
from llm_router.config.schema import json_schema
from llm_router.router import Router
from llm_router.usage import format_usd

if TYPE_CHECKING:
    from llm_router.answers.completion import Completion

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(),
    help="The configuration file (else LLM_ROUTER_CONFIG, …); builtin: the sample.",
)

MISUSED = 2
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("model", metavar="ALIAS|PROVIDER/MODEL")
@click.argument("prompt", default="-")
@config_option
@click.option("--system", "-s", help="A system message.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="At most so many tokens of answer.")
@click.option("--temperature", type=float)
@click.option("--deadline", type=_POSITIVE, help="Seconds for the whole call.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole Completion.")
@click.option("--stream/--no-stream", default=False, help="Print the text as it comes.")
def complete(
    model: str, prompt: str, config: str | None, as_json: bool, stream: bool, **options: Any
) -> None:
    """Ask MODEL and print its answer. PROMPT is read from standard input when it is "-"."""
    text = sys.stdin.read() if prompt == "-" else prompt
    given = {name: value for name, value in options.items() if value is not None}
    reply = asyncio.run(_ask(model, text, config, given, stream and not as_json))
    if as_json:
        say_json(reply.to_dict())
        return
    say("" if stream else reply.text)
    say(on_one_line(summary(reply)), err=True)


def router_for(model: str, config: str | None) -> Router:
    """Return a Router that knows *model*: to ask for `provider/model` no file is needed."""
    if "/" in model and loading.find(config) is None:
        return Router.from_env()
    return Router.from_yaml(config)


async def _ask(
    model: str, prompt: str, config: str | None, options: dict[str, Any], stream: bool
) -> Completion:
    async with router_for(model, config) as router:
        if not stream:
            return await router.complete(model, prompt, **options)
        async with router.stream(model, prompt, **options) as answer:
            async for piece in answer.text_stream:
                say(piece, nl=False)
        return answer.completion


def summary(reply: Completion) -> str:
    """Return one line on who answered, how much, and for how much."""
    usage, upstream = reply.usage, reply.upstream_provider
    counts = ["?" if n is None else str(n) for n in (usage.input_tokens, usage.output_tokens)]
    cost = "unknown cost" if reply.cost.total is None else f"${format_usd(reply.cost.total)}"
    by = f"{reply.requested_model} via {upstream}" if upstream else reply.requested_model
    return f"[{by}: {' + '.join(counts)} tokens, {cost}, {reply.latency_ms or 0:.0f} ms]"


@click.command()
@click.argument("model", metavar="ALIAS|PROVIDER/MODEL")
@click.argument("prompt", default="…")
@config_option
def explain(model: str, prompt: str, config: str | None) -> None:
    """Show who would be asked for MODEL, in which order, and with which request. No network."""
    explanation = router_for(model, config).explain(model, prompt)
    say_json(explanation.to_dict())


@click.command()
@click.argument("file", required=False, type=click.Path())
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors.")
def check(file: str | None, schema: bool) -> None:
    """Say all that is wrong in a configuration file, with line numbers and suggestions."""
    if schema:
        say_json(json_schema())
        return
    report = loading.check_file(file)
    for finding in report.findings:
        say(f"{finding.severity}: {finding}", err=finding.severity == "error")
    if report.config is None:
        count = len(report.problems)
        say(f"{count} problem{'s' * (count != 1)} in {report.source}", err=True)
        sys.exit(MISUSED)
    for name, when in Router(report.config).retirements().items():
        say(f"warning: {name} may be removed after {when} (the catalogue kept on disk says so)")
    aliases = ", ".join(report.config.aliases) or "none"
    say(f"{report.source} is fine; aliases: {aliases}")


@click.command()
@click.argument("file", default="llm_router.yaml", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(file: str, force: bool) -> None:
    """Write a commented configuration to start from."""
    place = Path(file)
    if place.exists() and not force:
        raise click.UsageError(f"{file} is there already; --force replaces it")
    place.write_text(loading.builtin_file().read_text(encoding="utf-8"), encoding="utf-8")
    say(f"wrote {file}; `llm-router check {file}` reads it")
