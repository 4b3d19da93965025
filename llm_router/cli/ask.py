"""`complete` and `parse`: one call, with what a command line can say of it."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.terminal import config_option, json_option, on_one_line, say, say_json
from llm_router.config import loading
from llm_router.options.parts import AudioPart, FilePart, ImagePart, VideoPart
from llm_router.options.request import OPTION_NAMES, check_options
from llm_router.router import Router
from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_router.answers.answer import Answer
    from llm_router.answers.completion import Completion
    from llm_router.options.parts import Part

_PARTS: dict[str, type[Part]] = {"image": ImagePart, "audio": AudioPart, "video": VideoPart}
_POSITIVE = click.FloatRange(min=0, min_open=True)
_CALL = (
    click.argument("model", metavar="ALIAS|PROVIDER/MODEL"),
    click.argument("prompt", required=False),
    config_option,
    click.option("--system", "-s", help="A system message."),
    click.option("--attach", "-a", multiple=True, metavar="FILE|URL", help="Sent with the prompt."),
    click.option("--max-tokens", type=click.IntRange(min=1), help="At most so many of answer."),
    click.option("--temperature", type=float),
    click.option(
        "--param", "-p", "params", multiple=True, metavar="NAME=VALUE",
        help="Any other parameter of the model; the value is read as JSON where it is JSON.",
    ),
    click.option("--tag", "-t", "tags", multiple=True, metavar="NAME=VALUE", help="For reports."),
    click.option("--user", "-u", help="The id of your end user."),
    click.option("--provider", help="The provider row for a model whose prefix names none."),
    click.option("--deadline", type=_POSITIVE, help="Seconds for the whole call."),
    json_option,
)  # fmt: skip


def _call_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a call, in the order of `_CALL`."""
    for option in reversed(_CALL):
        command = option(command)
    return command


@click.command()
@_call_options
@click.option("--schema", metavar="FILE|JSON", help="Answer with JSON of this schema (as `parse`).")
@click.option("--stream/--no-stream", default=False, help="Print the text as it comes.")
def complete(as_json: bool, stream: bool, schema: str | None, **asked: Any) -> None:
    """Ask MODEL and print its answer.

    What is piped in is the prompt, or follows PROMPT: `git diff | llm-router complete fast
    "Review this:"`.
    """
    if schema is not None:
        _parse(schema, as_json, **asked)
        return
    reply = asyncio.run(_complete(stream and not as_json, **asked))
    if as_json:
        say_json(reply.to_dict())
        return
    say("" if stream else reply.text)
    say(on_one_line(summary(reply)), err=True)


@click.command()
@_call_options
@click.option("--schema", required=True, metavar="FILE|JSON", help="A JSON Schema.")
def parse(schema: str, as_json: bool, **asked: Any) -> None:
    """Ask MODEL for an object of a schema and print it as JSON; --json prints all of the answer.

    The prompt is given as to `complete`.
    """
    _parse(schema, as_json, **asked)


def _parse(schema: str, as_json: bool, **asked: Any) -> None:
    wanted = _schema(schema)

    async def run(model: str, prompt: Any, config: str | None, **options: Any) -> Any:
        async with router_for(model, config) as router:
            return await router.parse(model, prompt, schema=wanted, **options)

    reply = asyncio.run(run(**_checked(**asked)))
    if as_json:
        say_json(reply.to_dict())
        return
    say_json(reply.parsed)
    say(on_one_line(summary(reply)), err=True)


async def _complete(stream: bool, **asked: Any) -> Completion:
    options = _checked(**asked)
    model, prompt = options.pop("model"), options.pop("prompt")
    async with router_for(model, options.pop("config")) as router:
        if not stream:
            return await router.complete(model, prompt, **options)
        async with router.stream(model, prompt, **options) as answer:
            async for piece in answer.text_stream:
                say(piece, nl=False)
        return answer.completion


def router_for(model: str, config: str | None) -> Router:
    """Return a Router that knows *model*: to ask for `provider/model` no file is needed."""
    if "/" in model and loading.find(config) is None:
        return Router.from_env()
    return Router.from_yaml(config)


def _checked(
    *,
    model: str,
    prompt: str | None,
    config: str | None,
    attach: Sequence[str],
    params: Sequence[str],
    tags: Sequence[str],
    **options: Any,
) -> dict[str, Any]:
    """Return the arguments of a call; a UsageError for what no call could be made of."""
    given = {name: value for name, value in options.items() if value is not None}
    given |= {name: _value(text) for name, text in _pairs("--param", params)}
    if named := dict(_pairs("--tag", tags)):
        given["tags"] = named
    try:
        check_options("a call", given, OPTION_NAMES)
        parts = [_part(source) for source in attach]
    except (TypeError, ValueError, OSError) as error:
        raise click.UsageError(str(error)) from None
    text = prompt_of(prompt)
    message = [{"role": "user", "content": [text, *parts]}] if parts else text
    return {"model": model, "prompt": message, "config": config, **given}


def prompt_of(prompt: str | None) -> str:
    """Return the prompt: what was given, what is piped in ("-": read it whatever it is), or both.

    Raises UsageError when there is nothing in it.
    """
    piped = sys.stdin.read() if prompt == "-" or _is_piped() else ""
    parts = [part for part in (None if prompt == "-" else prompt, piped) if part and part.strip()]
    if not parts:
        raise click.UsageError("the prompt is empty: give it as an argument, or pipe it in")
    return "\n\n".join(parts)


def _is_piped() -> bool:
    """Return whether standard input is a pipe or a file: a terminal is not waited for."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # closed, or no file at all: a caller inside of this process
        return not sys.stdin.closed
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {text!r}")
    return [(name.strip(), value) for name, _, value in (text.partition("=") for text in texts)]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _part(source: str) -> Part:
    kind = (mimetypes.guess_type(source)[0] or "").partition("/")[0]
    return _PARTS.get(kind, FilePart)(source)


def _schema(text: str) -> Any:
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise click.UsageError(f"--schema cannot be read: {error}") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--schema is no JSON: {error}") from None


def summary(reply: Answer) -> str:
    """Return one line on who answered, how much, and for how much."""
    usage, upstream = reply.usage, reply.upstream_provider
    counts = ["?" if n is None else str(n) for n in (usage.input_tokens, usage.output_tokens)]
    counted = f"{' + '.join(counts)} tokens"
    if usage.unit is not None and usage.units is not None:
        counted = f"{usage.units:g} {usage.unit.replace('_', ' ')}{'s' * (usage.units != 1)}"
    cost = "unknown cost" if reply.cost.total is None else f"${format_usd(reply.cost.total)}"
    by = f"{reply.requested_model} via {upstream}" if upstream else reply.requested_model
    return f"[{by}: {counted}, {cost}, {reply.latency_ms or 0:.0f} ms]"
