"""`demo`: the whole of the library on this machine, without a key."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from pydantic import BaseModel, Field

from llm_router.cli.ledger import report_line
from llm_router.cli.local_model import LocalModel
from llm_router.cli.tables import show_rows
from llm_router.config import loading
from llm_router.config.model import LedgerConfig
from llm_router.options.tools import arguments_for, tool_result
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox

if TYPE_CHECKING:
    from llm_router.answers.completion import Completion
    from llm_router.config.model import RouterConfig

_LONG_RULES = "You are the assistant of a bookshop. Be brief and kind. " * 400


class Book(BaseModel):
    """A book, as a customer describes it."""

    title: str = Field(max_length=80)
    pages: int
    genre: Literal["novel", "poetry", "science"]


def stock_of(title: str) -> int:
    """Return how many copies of a book are in stock."""
    return len(title) % 5


@dataclass
class Demo:
    """One run: the router, and a line for each call of it."""

    router: Router
    lines: list[dict[str, Any]]

    def note(self, what: str, reply: Completion) -> None:
        """Keep a line for the table."""
        usage = reply.usage
        self.lines.append(
            {
                "what": what,
                "alias": reply.alias,
                "model": reply.requested_model,
                "upstream": reply.upstream_provider,
                "in": usage.input_tokens,
                "out": usage.output_tokens,
                "cached": usage.cache_read_tokens,
                "cost_usd": reply.cost.total,
                "attempts": len(reply.attempts),
                "ms": reply.latency_ms,
            }
        )


@click.command()
@click.option("--local", is_flag=True, help="Ask a real small model on this machine instead.")
def demo(local: bool) -> None:
    """Route text, a stream, a tool, a cached prompt and a schema through aliases; no key needed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server: LocalModel | Sandbox = LocalModel() if local else Sandbox()
        stack.enter_context(server)
        name = "local.yaml" if local else "llm_router.yaml"
        place = loading.builtin_folder() / name
        config = loading.load(place, environ={**os.environ, **server.env})
        config = config.with_ledger(LedgerConfig(url=f"sqlite:///{folder}/demo.db"))
        click.echo(f"Configuration: {name}. Server: {server.base_url}, on this machine.\n")
        asyncio.run(_run(config, local))


async def _run(config: RouterConfig, local: bool) -> None:
    # The pauses between retries are cut short: this is a demonstration.
    clock = Clock(random=lambda: 0.05)
    async with Router(config, clock=clock) as router:
        run = Demo(router, [])
        await _texts(run)
        await _stream(run)
        if not local:
            # A model of 135M parameters cannot do these well enough to be shown.
            await _tool(run)
            await _cache(run)
        await _parse(run)
        click.echo("")
        show_rows(run.lines, "table", "What each call was and cost")
        rows = await router.report(by=("alias", "upstream"))
        show_rows([report_line(row) for row in rows], "table", "The ledger's report of this demo")


async def _texts(run: Demo) -> None:
    for alias in ("fast", "smart"):
        reply = await run.router.complete(alias, "Why is the sky blue?", max_tokens=60)
        run.note("text", reply)
        click.echo(f"{alias}: {reply.text}")
    reply = await run.router.complete("flaky", "Are you there?", max_tokens=60)
    run.note("fallback" if len(reply.attempts) > 1 else "text", reply)
    failed = [f"{a.deployment} ({a.status_code})" for a in reply.attempts if a.error]
    after = f", after {', '.join(failed)}" if failed else ""
    click.echo(f"flaky: {reply.requested_model} answered{after}")


async def _stream(run: Demo) -> None:
    click.echo("stream: ", nl=False)
    prompt = "Tell me a very short story."
    async with run.router.stream("smart", prompt, max_tokens=60) as stream:
        async for text in stream.text_stream:
            click.echo(text, nl=False)
    click.echo("")
    run.note("stream", stream.completion)


async def _tool(run: Demo) -> None:
    messages: list[Any] = [{"role": "user", "content": "Is 'Middlemarch' in stock?"}]
    asked = await run.router.complete("smart", messages, tools=[stock_of], tool_choice=stock_of)
    run.note("tool call", asked)
    call = asked.tool_calls[0]
    copies = stock_of(**arguments_for(call, stock_of))
    messages += [asked.as_message(), tool_result(call, copies)]
    reply = await run.router.complete("smart", messages, tools=[stock_of])
    run.note("tool answer", reply)
    click.echo(f"tool: {call.name}({call.raw_arguments}) -> {copies}; then: {reply.text}")


async def _cache(run: Demo) -> None:
    for turn in ("first", "second"):
        reply = await run.router.complete(
            "smart", f"A {turn} question.", system=_LONG_RULES, cache="auto"
        )
        run.note(f"cache, {turn}", reply)
    click.echo(f"cache: the second turn read {reply.usage.cache_read_tokens} tokens from the cache")


async def _parse(run: Demo) -> None:
    text = "I look for Middlemarch, that novel of 880 pages."
    reply = await run.router.parse("extract", text, schema=Book, max_tokens=120)
    run.note(f"schema, by {reply.mode_used}", reply)
    click.echo(f"parse: {reply.parsed!r} (by {reply.mode_used}, {reply.reasks} re-asks)")
