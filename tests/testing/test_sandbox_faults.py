"""Each fault, as the wire sheet describes it, and what the sandbox bills for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from decimal import Decimal
from typing import Any, get_args

import aiohttp
import pytest

from llm_router.testing import FAULTS, ChatRequest, Fault, FaultPlan, Reply, Sandbox, pytest_plugin
from llm_router.testing.answers import DONE
from llm_router.testing.faults import error_body

sandbox = pytest_plugin.llm_sandbox

BODY = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "hello there"}]}
STATUSES = {
    "bad_request": 400,
    "context_length": 400,
    "response_format_refused": 400,
    "unauthorized": 401,
    "insufficient_credits": 402,
    "max_tokens_unaffordable": 402,
    "moderation": 403,
    "guardrail": 403,
    "key_limit": 403,
    "forbidden_upstream": 403,
    "no_endpoints": 404,
    "no_tool_endpoints": 404,
    "no_tool_choice_endpoints": 404,
    "no_parameter_endpoints": 404,
    "no_providers": 404,
    "data_policy": 404,
    "http_408": 408,
    "http_413": 413,
    "http_422": 422,
    "rate_limit": 429,
    "upstream_rate_limit": 429,
    "http_500": 500,
    "http_502": 502,
    "http_503": 503,
    "http_504": 504,
    "http_529": 529,
}
WHOLE = {
    "garbage", "html_200", "truncated_json", "empty_body", "cut_stream", "ended_stream",
    "garbled_stream", "stream_error_stop", "stream_error_usage", "slow_headers", "slow_body",
}  # fmt: skip
FREE = {"choice_error", "finish_error", "blank", "empty_choices", "stream_error",
        "stream_error_no_choices", "stream_error_string_code"}  # fmt: skip


async def call(
    sandbox: Sandbox, *, headers: dict[str, str] | None = None, **body: Any
) -> tuple[int, Any, bytes]:
    """Return status, headers and body; raises aiohttp's error for a broken connection."""
    key = {"Authorization": f"Bearer {sandbox.api_key}", **(headers or {})}
    url = f"{sandbox.base_url}/chat/completions"
    async with (
        aiohttp.ClientSession(headers=key) as session,
        session.post(url, json={**BODY, **body}) as response,
    ):
        return response.status, response.headers, await response.read()


async def played(sandbox: Sandbox, fault: str, *, stream: bool, **how: Any) -> bytes:
    sandbox.fail(fault, **how)
    status, _, raw = await call(sandbox, stream=stream)
    assert status == 200
    assert sandbox.requests[-1].fault == fault
    return raw


def chunks(raw: bytes) -> list[Any]:
    lines = [line[6:] for line in raw.decode().split("\n\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("fault", "status"), STATUSES.items())
@pytest.mark.parametrize("stream", [False, True])
async def test_a_status_comes_with_its_envelope_and_without_a_bill(
    sandbox: Sandbox, fault: str, status: int, stream: bool
) -> None:
    sandbox.fail(fault)

    got, _, raw = await call(sandbox, stream=stream)

    error = json.loads(raw)["error"]
    assert got == error["code"] == status == sandbox.requests[0].status
    assert error["message"] and "{" not in error["message"]
    assert sandbox.bills == {}
    assert (sandbox.account_id in raw.decode()) is (status != 401)


async def test_a_524_is_an_html_page(sandbox: Sandbox) -> None:
    sandbox.fail("http_524")

    status, headers, raw = await call(sandbox)

    assert (status, headers["Content-Type"]) == (524, "text/html")
    assert raw.startswith(b"<!DOCTYPE html>")


async def test_a_platform_limit_says_its_reset_in_milliseconds_twice(sandbox: Sandbox) -> None:
    sandbox.fail("rate_limit", retry_after=1.5)
    before = time.time()

    _, headers, raw = await call(sandbox)

    assert headers["Retry-After"] == "1.5"
    reset = int(headers["X-RateLimit-Reset"])
    assert 1400 < reset - before * 1000 < 2500
    inside = json.loads(raw)["error"]["metadata"]["headers"]
    assert int(inside["X-RateLimit-Reset"]) == reset
    assert inside["X-RateLimit-Remaining"] == "0"


async def test_an_upstream_limit_has_no_such_headers(sandbox: Sandbox) -> None:
    sandbox.fail("upstream_rate_limit")

    _, headers, raw = await call(sandbox)

    assert not any(name.lower().startswith("x-ratelimit") for name in headers)
    metadata = json.loads(raw)["error"]["metadata"]
    assert metadata["provider_name"] == "OpenAI"
    assert metadata["raw"].startswith("openai/gpt-4o-mini is temporarily rate-limited upstream.")


async def test_details_of_a_fault_can_be_given(sandbox: Sandbox) -> None:
    sandbox.fail("http_502", message="Bad day", metadata={"error_type": "provider_unavailable"})

    error = json.loads((await call(sandbox))[2])["error"]

    assert error["message"] == "Bad day"
    assert error["metadata"]["error_type"] == "provider_unavailable"
    assert error["metadata"]["provider_name"] == "OpenAI"


async def test_moderation_quotes_the_input_and_providers_are_listed(sandbox: Sandbox) -> None:
    sandbox.fail("moderation")
    sandbox.fail("no_providers")

    moderation = json.loads((await call(sandbox))[2])["error"]["metadata"]
    wanted = {"order": ["xai"]}
    refused = json.loads((await call(sandbox, provider=wanted))[2])["error"]["metadata"]

    assert moderation["flagged_input"] == "hello there" and moderation["reasons"]
    assert refused == {"available_providers": ["openai", "azure"], "requested_providers": ["xai"]}


async def test_an_error_comes_in_a_200(sandbox: Sandbox) -> None:
    for stream in (False, True):
        error = json.loads(await played(sandbox, "error_in_200", stream=stream))["error"]
        assert error["code"] == 502


async def test_a_choice_error_stands_beside_a_part_of_the_answer(sandbox: Sandbox) -> None:
    body = json.loads(await played(sandbox, "choice_error", stream=False))
    parts = chunks(await played(sandbox, "choice_error", stream=True))

    assert body["choices"][0]["error"]["code"] == 502 and body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] is None
    assert parts[-1]["choices"][0]["error"]["code"] == 502


async def test_a_finish_error_has_no_error_object(sandbox: Sandbox) -> None:
    body = json.loads(await played(sandbox, "finish_error", stream=False))
    raw = await played(sandbox, "finish_error", stream=True)

    assert body["choices"][0]["finish_reason"] == "error" and "error" not in body
    assert chunks(raw)[-1]["choices"][0]["finish_reason"] == "error"
    assert raw.endswith(DONE) and b'"error":' not in raw


async def test_a_blank_answer_has_no_tokens_and_no_finish(sandbox: Sandbox) -> None:
    body = json.loads(await played(sandbox, "blank", stream=False))
    raw = await played(sandbox, "blank", stream=True)

    choice = body["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", None)
    assert body["usage"]["completion_tokens"] == 0 and body["usage"]["cost"] == 0
    (only,) = chunks(raw)
    assert only["usage"]["completion_tokens"] == 0 and raw.endswith(DONE)
    assert only["choices"][0]["finish_reason"] is None


async def test_choices_can_be_empty(sandbox: Sandbox) -> None:
    assert json.loads(await played(sandbox, "empty_choices", stream=False))["choices"] == []
    (only,) = chunks(await played(sandbox, "empty_choices", stream=True))
    assert only["choices"] == []


@pytest.mark.parametrize("stream", [False, True])
async def test_bodies_that_cannot_be_read(sandbox: Sandbox, stream: bool) -> None:
    assert await played(sandbox, "empty_body", stream=stream) == b""
    assert (await played(sandbox, "html_200", stream=stream)).startswith(b"<!DOCTYPE")
    for fault in ("garbage", "truncated_json"):
        with pytest.raises(ValueError, match=r"."):
            json.loads(await played(sandbox, fault, stream=stream))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_stream_ends_in_the_middle_of_the_transfer(
    sandbox: Sandbox, stream: bool
) -> None:
    sandbox.fail("cut_stream")

    with pytest.raises(aiohttp.ClientPayloadError):
        await call(sandbox, stream=stream)


async def test_an_ended_stream_has_neither_finish_nor_done(sandbox: Sandbox) -> None:
    raw = await played(sandbox, "ended_stream", stream=True, after=3)

    assert len(chunks(raw)) == 3 and DONE not in raw
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks(raw))
    cut = await played(sandbox, "ended_stream", stream=False)
    assert b'"usage":{"prompt' not in cut[-10:] and cut


async def test_a_garbled_stream_goes_on_after_the_bad_line(sandbox: Sandbox) -> None:
    raw = await played(sandbox, "garbled_stream", stream=True)

    assert b"\xff\xfe" in raw and raw.endswith(DONE)
    assert await played(sandbox, "garbled_stream", stream=False)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stalled_answer_stays_until_the_client_leaves(
    sandbox: Sandbox, stream: bool
) -> None:
    sandbox.fail("stalled_stream")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(sandbox, stream=stream), 0.1)
    await asyncio.to_thread(sandbox.wait_idle)

    assert sandbox.requests[0].disconnected
    (bill,) = sandbox.bills.values()
    assert bill.cancelled


async def test_a_stall_can_end(sandbox: Sandbox) -> None:
    raw = await played(sandbox, "stalled_stream", stream=True, seconds=0.02)

    assert DONE not in raw
    (bill,) = sandbox.bills.values()
    assert not bill.cancelled


@pytest.mark.parametrize(
    ("fault", "code", "finish", "done"),
    [
        ("stream_error", 502, "error", False),
        ("stream_error_string_code", "server_error", "error", False),
        ("stream_error_usage", 400, None, True),
    ],
)
async def test_an_error_in_the_middle_of_a_stream(
    sandbox: Sandbox, fault: str, code: Any, finish: str | None, done: bool
) -> None:
    raw = await played(sandbox, fault, stream=True)

    *before, last = chunks(raw)
    assert len(before) == 2 and last["error"]["code"] == code
    assert last["choices"][0]["finish_reason"] == finish
    assert raw.endswith(DONE) is done
    assert ("usage" in last) is done


async def test_an_error_beside_stop_is_followed_by_usage(sandbox: Sandbox) -> None:
    raw = await played(sandbox, "stream_error_stop", stream=True)

    *_, failed, usage = chunks(raw)
    assert failed["error"]["code"] == 502 and failed["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["cost"] > 0 and DONE not in raw


async def test_bare_errors_have_no_choices(sandbox: Sandbox) -> None:
    bare = chunks(await played(sandbox, "stream_error_bare", stream=True))
    first = chunks(await played(sandbox, "stream_error_first", stream=True))
    empty = chunks(await played(sandbox, "stream_error_no_choices", stream=True))

    assert len(bare) == 3 and set(bare[-1]) == {"error", "user_id"}
    assert len(first) == 1 and first[0]["error"]["code"] == 502
    assert empty[-1]["choices"] == [] and empty[-1]["error"]


async def test_errors_of_streams_come_in_a_200_without_stream(sandbox: Sandbox) -> None:
    body = json.loads(await played(sandbox, "stream_error_string_code", stream=False))

    assert body["error"]["code"] == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_a_dropped_connection_gives_no_byte(sandbox: Sandbox, stream: bool) -> None:
    sandbox.fail("dropped")

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call(sandbox, stream=stream)
    assert sandbox.requests[0].status is None


@pytest.mark.parametrize("stream", [False, True])
async def test_slow_answers_come_whole(sandbox: Sandbox, stream: bool) -> None:
    started = time.monotonic()
    late = await played(sandbox, "slow_headers", stream=stream, seconds=0.05)
    dripped = await played(sandbox, "slow_body", stream=stream, seconds=0.12)

    assert time.monotonic() - started >= 0.15
    filler = b": OPENROUTER" if stream else b"\n    "
    assert dripped.count(filler) >= 3 > late.count(filler)
    assert b"hello there" in dripped or b" hello" in dripped


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "stalled_stream"])
async def test_each_fault_is_billed_as_its_table_says(sandbox: Sandbox, fault: Fault) -> None:
    sandbox.fail(fault, seconds=0.01)
    try:
        _, headers, _ = await call(sandbox, stream=True)
    except aiohttp.ClientError:
        headers = {}
    bills = list(sandbox.bills.values())
    await call(sandbox, stream=True)
    reference = list(sandbox.bills.values())[-1].cost
    assert reference > 0

    expected = [reference] if fault in WHOLE else [Decimal(0)] if fault in FREE else []
    assert [bill.cost for bill in bills] == expected
    if bills and headers:
        assert headers["X-Generation-Id"] == bills[0].generation_id


async def test_faults_come_at_their_rates_and_the_same_with_the_same_seed(
    sandbox: Sandbox,
) -> None:
    async def run() -> list[str | None]:
        sandbox.reset()
        sandbox.fault_rates({"http_502": 0.3, "blank": 0.2}, seed=7)
        for _ in range(120):
            await call(sandbox)
        return [request.fault for request in sandbox.requests]

    first, second = await run(), await run()

    assert first == second
    counts = Counter(first)
    assert 20 <= counts["http_502"] <= 52 and 10 <= counts["blank"] <= 40


@pytest.mark.parametrize("rates", [{"http_502": 0.7, "blank": 0.4}, {"blank": -0.1}, {"no": 0.1}])
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rates are shares|no fault 'no'"):
        Sandbox().fault_rates(rates)


def test_an_unknown_fault_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no fault 'http_999'; there are: bad_request, "):
        Sandbox().fail("http_999")


async def test_a_client_can_ask_for_a_fault(sandbox: Sandbox) -> None:
    down, _, _ = await call(sandbox, model="demo/always-down")
    limited, _, _ = await call(sandbox, model="demo/rate-limit")
    asked, _, _ = await call(sandbox, headers={"X-Sandbox-Fault": "http-504"})
    served, _, raw = await call(sandbox, model="demo/always-down", models=["openai/gpt-5.5"])
    blank, _, _ = await call(sandbox, model="demo/blank")

    assert (down, limited, asked, served, blank) == (503, 429, 504, 200, 200)
    assert json.loads(raw)["model"] == "openai/gpt-5.5-20260423"


async def test_a_standing_rule_can_be_a_fault(sandbox: Sandbox) -> None:
    sandbox.on("mini", FaultPlan(fault="http_500"))
    sandbox.on(None, lambda request: FaultPlan(fault="http_504") if request.stream else None)

    assert (await call(sandbox))[0] == 500
    assert (await call(sandbox, stream=True))[0] == 504


async def test_two_late_failures_in_a_committed_200(sandbox: Sandbox) -> None:
    """A raw body in pieces plays what no fault has a name for."""
    error = json.dumps(error_body({"code": 502, "message": "late"})).encode()
    sandbox.reply(Reply(raw_body=[b"\n   \n", b"\n   \n", error], chunk_delay=0.01))

    status, _, raw = await call(sandbox)

    assert status == 200 and json.loads(raw)["error"]["message"] == "late"


def test_the_table_of_faults_is_complete() -> None:
    from llm_router.testing import faults

    assert faults.__doc__ is not None
    assert all(f"`{name}`" in faults.__doc__ for name in get_args(Fault))
    assert set(STATUSES) | WHOLE | FREE < set(FAULTS)


def test_a_fault_speaks_of_a_model_the_catalogue_does_not_have() -> None:
    error = FaultPlan(fault="no_endpoints").error(ChatRequest(BODY, model="demo/x"), None)

    assert error["message"] == "No endpoints found for demo/x."
