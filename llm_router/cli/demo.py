"""`demo` and `sandbox`: the whole of the library on this machine, without a key."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import click
from pydantic import BaseModel, Field

from llm_router.cli.ledger import report_line
from llm_router.cli.local_model import LocalModel
from llm_router.cli.terminal import say, show_rows
from llm_router.config import loading
from llm_router.config.model import LedgerConfig
from llm_router.options.tools import arguments_for, tool_result
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox

if TYPE_CHECKING:
    from llm_router.answers.completion import Completion
    from llm_router.config.model import RouterConfig

Calls = dict[str, "Completion"]
"""What was asked, in order: what it shows, and the answer."""
_LONG_RULES = "You are the assistant of a bookshop. Be brief and kind. " * 400


class Book(BaseModel):
    """A book, as a customer describes it."""

    title: str = Field(max_length=80)
    pages: int
    genre: Literal["novel", "poetry", "science"]


def stock_of(title: str) -> int:
    """Return how many copies of a book are in stock."""
    return len(title) % 5


@click.command()
@click.option("--port", type=int, default=0, help="0 takes a free one.")
def sandbox(port: int) -> None:
    """Serve OpenRouter's wire on 127.0.0.1 until interrupted; no key, no cost."""
    with Sandbox(port=port) as server:
        say(f"The sandbox listens on {server.base_url}. Use it in another terminal with:\n")
        for name, value in server.env.items():
            say(f"  export {name}={value}")
        say("\nCtrl-C stops it.")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
        say(f"\nServed {len(server.requests)} requests.")


@click.command()
@click.option("--local", is_flag=True, help="Ask a real small model on this machine instead.")
def demo(local: bool) -> None:
    """Route text, a stream, a tool, a cached prompt and a schema through aliases; no key needed."""
    server: LocalModel | Sandbox = LocalModel() if local else Sandbox()
    with tempfile.TemporaryDirectory() as folder, server:
        name = "local.yaml" if local else "llm_router.yaml"
        os.environ.update(server.env)  # this process is the demo's own
        config = loading.load(loading.builtin_file(name))
        ledger = LedgerConfig(url=f"sqlite:///{folder}/demo.db")
        config = config.model_copy(update={"ledger": ledger})
        say(f"Configuration: {name}. Server: {server.base_url}, on this machine.\n")
        asyncio.run(_run(config, local))


async def _run(config: RouterConfig, local: bool) -> None:
    calls: Calls = {}
    # The pauses between retries are cut short: this is a demonstration.
    async with Router(config, clock=Clock(random=lambda: 0.05)) as router:
        await _texts(router, calls)
        await _stream(router, calls)
        if not local:
            # A model of 135M parameters cannot do these well enough to be shown.
            await _tool(router, calls)
            await _cache(router, calls)
        await _parse(router, calls)
        say("")
        rows = [_row(what, reply) for what, reply in calls.items()]
        show_rows(rows, "table", "What each call was and cost")
        report = await router.report(by=("alias", "upstream"))
        show_rows([report_line(row) for row in report], "table", "The ledger's report of this demo")


def _row(what: str, reply: Completion) -> dict[str, Any]:
    return {
        "what": what,
        "alias": reply.alias,
        "model": reply.requested_model,
        "upstream": reply.upstream_provider,
        "in": reply.usage.input_tokens,
        "out": reply.usage.output_tokens,
        "cached": reply.usage.cache_read_tokens,
        "cost_usd": reply.cost.total,
        "attempts": len(reply.attempts),
        "ms": reply.latency_ms,
    }


async def _texts(router: Router, calls: Calls) -> None:
    for alias in ("fast", "smart"):
        reply = await router.complete(alias, "Why is the sky blue?", max_tokens=60)
        calls[f"text, {alias}"] = reply
        say(f"{alias}: {reply.text}")
    reply = await router.complete("flaky", "Are you there?", max_tokens=60)
    calls["fallback" if len(reply.attempts) > 1 else "text, flaky"] = reply
    failed = [f"{a.deployment} ({a.status_code})" for a in reply.attempts if a.error]
    after = f", after {', '.join(failed)}" if failed else ""
    say(f"flaky: {reply.requested_model} answered{after}")


async def _stream(router: Router, calls: Calls) -> None:
    say("stream: ", nl=False)
    async with router.stream("smart", "Tell me a very short story.", max_tokens=60) as stream:
        async for text in stream.text_stream:
            say(text, nl=False)
    say("")
    calls["stream"] = stream.completion


async def _tool(router: Router, calls: Calls) -> None:
    messages: list[Any] = [{"role": "user", "content": "Is 'Middlemarch' in stock?"}]
    asked = await router.complete("smart", messages, tools=[stock_of], tool_choice=stock_of)
    call = asked.tool_calls[0]
    copies = stock_of(**arguments_for(call, stock_of))
    messages += [asked.as_message(), tool_result(call, copies)]
    reply = await router.complete("smart", messages, tools=[stock_of])
    calls |= {"tool call": asked, "tool answer": reply}
    say(f"tool: {call.name}({call.raw_arguments}) -> {copies}; then: {reply.text}")


async def _cache(router: Router, calls: Calls) -> None:
    for turn in ("first", "second"):
        reply = calls[f"cache, {turn}"] = await router.complete(
            "smart", f"A {turn} question.", system=_LONG_RULES, cache="auto"
        )
    say(f"cache: the second turn read {reply.usage.cache_read_tokens} tokens from the cache")


async def _parse(router: Router, calls: Calls) -> None:
    text = "I look for Middlemarch, that novel of 880 pages."
    reply = await router.parse("extract", text, schema=Book, max_tokens=120)
    calls[f"schema, by {reply.mode_used}"] = reply
    say(f"parse: {reply.parsed!r} (by {reply.mode_used}, {reply.reasks} re-asks)")
