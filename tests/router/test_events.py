"""The events of a call, in structlog and in logging: their names and exactly their fields."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_router import events
from llm_router.errors import RateLimitError
from llm_router.router import Router
from llm_router.testing import Reply, Sandbox
from llm_router.usage import format_usd
from tests.router.setup import CLAUDE, EAGER, GPT, configuration, until

Build = Callable[..., Router]
SELECTED = {"request_id", "alias", "deployment", "provider", "model", "attempt"}
ATTEMPT = SELECTED | {
    "status", "error", "status_code", "upstream_provider", "response_id", "input_tokens",
    "output_tokens", "cost", "latency_ms",
}  # fmt: skip
REQUEST = {
    "request_id", "alias", "operation", "status", "error", "attempts", "input_tokens",
    "output_tokens", "cost", "latency_ms",
}  # fmt: skip
FIELDS = {
    "llm_router.provider_selected": SELECTED,
    "llm_router.attempt_finished": ATTEMPT,
    "llm_router.request_finished": REQUEST,
}


def names(log: list[Any]) -> list[str]:
    return [event["event"].removeprefix("llm_router.") for event in log]


def check_fields(log: list[Any]) -> None:
    for event in log:
        assert event.keys() - {"event", "log_level"} == FIELDS[event["event"]]


async def test_a_call_tells_who_is_asked_how_it_went_and_how_it_ended(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    reply = await router.complete("fast", "Secret question", user="customer-17")
    assert names(log) == ["provider_selected", "attempt_finished", "request_finished"]
    check_fields(log)
    selected, attempt, request = log
    assert (selected["alias"], selected["deployment"]) == ("fast", GPT)
    assert (selected["provider"], selected["model"]) == ("openrouter", "openai/gpt-4o-mini")
    assert {event["request_id"] for event in log} == {reply.request_id}
    assert attempt["status"] == "succeeded" and attempt["error"] is None
    assert attempt["response_id"] == reply.response_id
    assert reply.cost.total is not None
    assert attempt["cost"] == request["cost"] == format_usd(reply.cost.total)
    assert request["input_tokens"] == reply.usage.input_tokens
    assert (request["operation"], request["attempts"]) == ("complete", 1)
    assert {event["log_level"] for event in log} == {"info"}
    assert "Secret question" not in json.dumps(log)
    assert sandbox.api_key not in json.dumps(log)


async def test_failed_attempts_are_warnings_and_a_failed_call_is_an_error(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    sandbox.fail("no_endpoints")
    sandbox.fail("bad_request")
    with pytest.raises(Exception, match="No deployment answered"):
        await router.complete("safe", "Hi")
    assert names(log) == ["provider_selected", "attempt_finished"] * 2 + ["request_finished"]
    check_fields(log)
    assert [e["deployment"] for e in log[:4]] == [GPT, GPT, CLAUDE, CLAUDE]
    assert [(e["error"], e["status_code"], e["log_level"]) for e in log[1:4:2]] == [
        ("NoEndpointError", 404, "warning"),
        ("InvalidRequestError", 400, "warning"),
    ]
    assert (log[-1]["error"], log[-1]["log_level"]) == ("AllDeploymentsFailedError", "error")
    assert log[-1]["cost"] is None


async def test_a_stream_and_a_parse_name_their_operation(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    async with router.stream("fast", "Hi") as stream:
        await stream.collect()
    await router.parse("fast", "Hi", schema=int)
    ends = [event for event in log if event["event"] == "llm_router.request_finished"]
    assert [event["operation"] for event in ends] == ["stream", "parse"]
    check_fields(log)


async def test_a_stream_that_is_left_ends_as_cancelled(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    sandbox.reply(Reply(text="a b c d", chunks=4, chunk_delay=0.05))
    async with router.stream("fast", "Hi") as stream:
        await anext(stream)
    assert [event["status"] for event in log[1:]] == ["cancelled", "cancelled"]
    check_fields(log)


async def test_a_cancelled_call_ends_as_cancelled(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    sandbox.fail("slow_headers")
    task = asyncio.create_task(router.complete("fast", "Hi"))
    await until(lambda: sandbox.in_flight)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event["status"] for event in log[1:]] == ["cancelled", "cancelled"]
    check_fields(log)


async def test_a_resting_deployment_is_told_of(
    router: Router, sandbox: Sandbox, log: list[Any]
) -> None:
    sandbox.fail("rate_limit", retry_after=30, match="gpt-4o-mini")
    with pytest.raises(RateLimitError):
        await router.complete("fast", "Hi", deadline=1)
    (rest,) = [e for e in log if e["event"] == "llm_router.cooldown_started"]
    assert rest.keys() - {"event", "log_level"} == {"deployment", "reason", "seconds"}
    assert router.health()[GPT].state == "resting"


async def test_a_fallback_without_a_key_is_passed_over_aloud(
    routed: Build, sandbox: Sandbox, log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISSING", " ")
    rows = {
        "openrouter": {"api_key": sandbox.api_key, "base_url": sandbox.base_url},
        "groq": {"api_key": "${MISSING}"},
    }
    aliases = {"fast": {"model": GPT, "fallbacks": ["groq/llama"]}}
    router = routed(providers=rows, aliases=aliases)
    sandbox.fail("no_endpoints")
    with pytest.raises(Exception, match="No endpoints found"):
        await router.complete("fast", "Hi")
    skips = [c.skip for c in router.explain("fast").candidates]
    assert skips[0] is None
    assert skips[1] is not None and "MISSING is not set" in skips[1]


async def test_events_are_lines_of_logging_when_structlog_is_not_configured(
    router: Router, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sandbox.fail("http_502")
    reply = await router.complete("fast", "Secret question")
    records = [record for record in caplog.records if record.name == "llm_router"]
    assert [record.levelname for record in records] == ["INFO", "WARNING", "INFO", "INFO", "INFO"]
    lines = [record.getMessage() for record in records]
    assert lines[0] == (
        f"llm_router.provider_selected request_id={reply.request_id} alias=fast deployment={GPT} "
        "provider=openrouter model=openai/gpt-4o-mini attempt=1"
    )
    assert "status=failed error=ProviderUnavailableError status_code=502" in lines[1]
    assert lines[-1].startswith(f"llm_router.request_finished request_id={reply.request_id} ")
    assert vars(records[-1])["llm_router"].keys() == REQUEST
    assert "Secret question" not in caplog.text and sandbox.api_key not in caplog.text


async def test_a_line_stays_one_line_whatever_stands_in_a_field(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events.emit("llm_router.some_event", "warning", reason="a\nb status=fine", rows=3, hint=None)
    (record,) = caplog.records
    assert record.getMessage() == "llm_router.some_event reason='a\\nb status=fine' rows=3"


async def test_what_logging_raises_fails_no_call(router: Router, sandbox: Sandbox) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the application")

    logger = logging.getLogger("llm_router")
    logger.addFilter(broken)
    try:
        sandbox.fail("http_502")
        assert (await router.complete("fast", "Hi")).text
    finally:
        logger.removeFilter(broken)


_UNCONFIGURED = """
import asyncio
from llm_router import Router
from llm_router.testing import Sandbox

async def main(sandbox):
    row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
    aliases = {"fast": {"model": "openrouter/openai/gpt-4o-mini"}}
    data = {"providers": {"openrouter": row}, "aliases": aliases, "ledger": {"url": URL}}
    async with Router.from_dict(data) as router:
        sandbox.fail("http_502", retry_after=0.01)
        await router.complete("fast", "Hi")
        sandbox.fail("bad_request")
        try:
            await router.complete("fast", "Hi")
        except Exception:
            pass

with Sandbox() as sandbox:
    asyncio.run(main(sandbox))
"""


@pytest.mark.parametrize("setup", ["", "import logging; logging.basicConfig(level='DEBUG')\n"])
def test_only_what_the_application_set_up_prints(tmp_path: Path, setup: str) -> None:
    code = f"{setup}URL = 'sqlite:///{tmp_path}/calls.db'\n{_UNCONFIGURED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    if not setup:
        assert done.stderr == ""
        return
    assert "WARNING:llm_router:llm_router.attempt_finished " in done.stderr
    assert "ERROR:llm_router:llm_router.request_finished " in done.stderr
    assert "alembic" not in done.stderr


async def test_an_application_may_watch_calls_itself(sandbox: Sandbox) -> None:
    seen: list[tuple[str, str]] = []

    class Watcher:
        def request_started(self, record: Any) -> None:
            seen.append(("started", record.operation))

        def attempt_finished(self, record: Any) -> None:
            seen.append(("attempt", record.attempt.status))

        def request_finished(self, record: Any) -> None:
            seen.append(("finished", record.status))

    data = configuration(sandbox)
    async with Router.from_dict(data, observers=[Watcher()], clock=EAGER) as router:
        sandbox.fail("http_502")
        await router.complete("fast", "Hi")
    assert seen == [
        ("started", "complete"),
        ("attempt", "failed"),
        ("attempt", "succeeded"),
        ("finished", "succeeded"),
    ]
