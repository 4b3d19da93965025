"""`parse` at providers that LiteLLM serves: the same ladder, capabilities as configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel

from llm_router.errors import SchemaValidationError, TruncatedOutputError
from llm_router.operations.structured.modes import LADDER
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.operations.structured.helpers import check_bill
from tests.router.setup import EAGER, configuration

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "openai/gpt-4o-mini"
PROMPT = "What is in it?"
PEN = '{"what": "pen", "price": 2}'
WRONG = '{"what": "pen", "price": "dear"}'


class Line(BaseModel):
    what: str
    price: int


@pytest_asyncio.fixture(loop_scope="module")
async def router(sandbox: Sandbox) -> AsyncIterator[Router]:
    """The sandbox as OpenRouter by LiteLLM alone, and as a server of one's own."""
    data = configuration(sandbox)
    own = {"litellm": "openai", "api_key": sandbox.api_key, "base_url": sandbox.base_url}
    data["providers"]["openrouter"]["path"] = "acompletion"
    data["providers"] |= {
        "own": own,
        "modest": own | {"structured": "json_object"},
        "silent": own | {"structured": "prompt"},
    }
    fallback = {"model": f"openrouter/{MODEL}", "fallbacks": [f"modest/{MODEL}"]}
    data["aliases"] = {"safe": fallback}
    async with Router.from_dict(data, clock=EAGER) as router:
        yield router


def sent_modes(sandbox: Sandbox) -> list[str]:
    found = []
    for request in sandbox.chat_requests:
        form = request.body.get("response_format", {}).get("type")
        found.append(form or ("tool" if "tools" in request.body else "prompt"))
    return found


@pytest.mark.parametrize("mode", LADDER)
@pytest.mark.parametrize("provider", ["openrouter", "own"])
async def test_every_mode_works_there(
    router: Router, sandbox: Sandbox, provider: str, mode: Any
) -> None:
    reply = await router.parse(f"{provider}/{MODEL}", PROMPT, schema=list[Line], mode=mode)
    assert reply.parsed and isinstance(reply.parsed[0], Line)
    assert (reply.mode_used, reply.reasks, sent_modes(sandbox)) == (mode, 0, [mode])


@pytest.mark.parametrize(
    ("provider", "mode"),
    [("own", "json_schema"), ("modest", "json_object"), ("silent", "prompt")],
)
async def test_the_configuration_says_where_the_ladder_starts(
    router: Router, sandbox: Sandbox, provider: str, mode: str
) -> None:
    reply = await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line)
    assert (reply.mode_used, sent_modes(sandbox)) == (mode, [mode])


async def test_a_server_of_ones_own_takes_any_schema(router: Router, sandbox: Sandbox) -> None:
    reply = await router.parse(f"own/{MODEL}", PROMPT, schema=dict[str, int])
    assert reply.mode_used == "json_schema"
    assert all(isinstance(value, int) for value in reply.parsed.values())


@pytest.mark.parametrize("provider", ["openrouter", "own"])
@pytest.mark.parametrize("fault", ["response_format_refused", "no_parameter_endpoints"])
async def test_a_refusal_steps_down_and_is_remembered(
    router: Router, sandbox: Sandbox, provider: str, fault: str
) -> None:
    sandbox.fail(fault)
    first = await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line)
    again = await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line)
    assert (first.mode_used, again.mode_used) == ("tool", "tool")
    assert sent_modes(sandbox) == ["json_schema", "tool", "tool"]
    assert [a.status for a in first.attempts] == ["failed", "succeeded"]


@pytest.mark.parametrize("provider", ["openrouter", "own"])
async def test_asking_again_has_its_bill(router: Router, sandbox: Sandbox, provider: str) -> None:
    before = len(sandbox.bills)
    sandbox.reply(text=WRONG)
    sandbox.reply(text=f"```json\n{PEN}\n```")
    reply = await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line)
    assert (reply.parsed, reply.reasks) == (Line(what="pen", price=2), 1)
    check_bill(sandbox, before, reply)


async def test_a_fallback_is_shown_a_wrong_call_as_text(router: Router, sandbox: Sandbox) -> None:
    """It is asked in another mode, and upstreams refuse calls of a tool that is not there."""
    sandbox.fail("response_format_refused")
    sandbox.reply(tool_calls=[{"id": "c1", "name": "Line", "arguments": WRONG}])
    reply = await router.parse("safe", PROMPT, schema=Line)
    assert (reply.mode_used, reply.reasks) == ("json_object", 1)
    assert sent_modes(sandbox) == ["json_schema", "tool", "json_object"]
    *_, answer, question = sandbox.chat_requests[-1].body["messages"]
    assert answer == {"role": "assistant", "content": WRONG}
    assert question["role"] == "user"
    assert "price" in question["content"] and "as JSON alone" in question["content"]


@pytest.mark.parametrize("provider", ["openrouter", "own"])
async def test_what_cannot_be_read_is_told_as_everywhere(
    router: Router, sandbox: Sandbox, provider: str
) -> None:
    sandbox.reply(text=WRONG)
    with pytest.raises(SchemaValidationError):
        await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line, max_reasks=0)
    sandbox.reply(text=PEN, finish_reason="length")
    with pytest.raises(TruncatedOutputError):
        await router.parse(f"{provider}/{MODEL}", PROMPT, schema=Line)
