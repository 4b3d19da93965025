"""Recorded bodies of all providers, over real sockets: each as its `truth` says."""

from __future__ import annotations

from decimal import Decimal

import pytest
from aiohttp import web

from llm_router.answers.completion import Completion
from llm_router.errors import ProviderError
from llm_router.providers.base import Chat
from tests import recordings
from tests.providers.scripted import ask, provider, wire
from tests.wires.test_provider_recordings import RECORDINGS, body_of, said

pytestmark = recordings.needed
PIECE = 700


@pytest.mark.parametrize("name", RECORDINGS)
async def test_every_recorded_answer_is_read_as_its_bytes_say(name: str) -> None:
    meta = RECORDINGS[name]
    truth, kind = meta["truth"], _KINDS.get(meta["provider"], meta["provider"])

    async def reply(request: web.Request) -> web.StreamResponse:
        kept = {n: v for n, v in meta["headers"].items() if n.lower() not in _OF_THE_CONNECTION}
        response = web.StreamResponse(status=meta["status"], headers=kept)
        await response.prepare(request)
        raw = body_of(name)
        for start in range(0, len(raw), PIECE):
            await response.write(raw[start : start + PIECE])
        return response

    async with wire() as server, provider(server.url, kind, kind, api_key="k" * 12) as row:
        server.replies.append(reply)
        found = await outcome(row, kind, streamed=meta["stream"])
    assert len(server.requests) == 1
    if truth["outcome"] == "error":
        assert isinstance(found, ProviderError)
        assert (found.status_code, found.message) == (truth["status"], truth["message"])
    else:
        assert isinstance(found, Completion), found
        assert said(found) == truth | {"cost": truth["cost"] and Decimal(truth["cost"])}


_KINDS = {"ollama": "ollama_chat"}
_OF_THE_CONNECTION = frozenset({
    "connection", "content-encoding", "content-length", "date", "server", "transfer-encoding",
})  # fmt: skip


async def outcome(row: Chat, kind: str, *, streamed: bool) -> Completion | ProviderError:
    try:
        if not streamed:
            return await row.complete(ask("some/model", kind))
        stream = await row.stream(ask("some/model", kind, stream=True))
        async for _ in stream:
            pass
        return stream.snapshot()
    except ProviderError as error:
        return error
