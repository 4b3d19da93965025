"""Keys are kept nowhere, content only where it was asked for."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from llm_router.errors import ContentFilteredError, InvalidRequestError
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.spool import Spool
from tests.ledger.calls import Call, answered, finished, refused, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "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"
PLAIN_KEY = "correct horse battery staple"
"""A configured key whose shape gives nothing away."""
SECRETS = (KEY, PLAIN_KEY, "AKIAIOSFODNN7EXAMPLE", "hunter2-hunter2")
CONTENT = ("Erika Mustermann", "DE89 3704 0044 0532 0130 00", "the diagnosis is")


def careless_call(**changes: Any) -> Call:
    """A call with keys and personal data in every place that takes text."""
    said = f"{CONTENT[0]}, {CONTENT[1]}: {CONTENT[2]} … my key is {KEY}, {PLAIN_KEY}"
    request = started(
        tags={"feature": "search", "note": f"key {KEY}", "other": PLAIN_KEY},
        user=f"customer-17 {SECRETS[2]}",
        asked={
            "messages": [{"role": "user", "content": said, "api_key": "hunter2-hunter2"}],
            "params": {
                "stop": [said],
                "metadata": {KEY: "as a name"},
                "tools": [{"password": KEY}],
            },
        },
        **changes,
    )
    error = ContentFilteredError(
        f"flagged: {said}",
        status_code=403,
        code=KEY,
        upstream_message=said,
        raw={"metadata": {"flagged_input": said, "user_id": "user_2abcdef"}},
    )
    first = refused(request, error)
    second = answered(request, number=2, upstream_provider=f"Azure {KEY}")
    last = InvalidRequestError(said, code=said)
    third = refused(request, last, number=3)
    return Call(request, (first, second, third), finished(request, first, second, error=last))


def found_in(folder: Path, words: tuple[str, ...]) -> set[tuple[str, str]]:
    return {
        (path.name, word)
        for path in folder.rglob("*")
        if path.is_file()
        for word in words
        if word.encode() in path.read_bytes()
    }


def public_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.stat().st_mode & 0o077]


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("store", ["none", "metadata", "full"])
async def test_no_key_is_kept_under_any_policy_and_no_content_unless_it_is_full(
    tmp_path: Path,
    open_ledger: Callable[..., Ledger],
    log: list[dict[str, Any]],
    store: str,
    away: bool,
) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    ledger = open_ledger(url, store=store, secrets=(PLAIN_KEY, ""))
    if away:  # everything goes through the spool
        holder = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        careless_call().tell(ledger)
        await ledger.flush()
        assert Spool(tmp_path / "spool.jsonl").pending() == (store != "none")
        assert found_in(tmp_path, SECRETS) == set()
        if store != "full":
            assert found_in(tmp_path, CONTENT) == set()
        holder.close()
        await asyncio.sleep(0.3)  # the writer rests after a failure
    ledger.remember_config("f00d", f'{{"headers": {{"X-Key": "{PLAIN_KEY}"}}, "k": "{KEY}"}}')
    told = careless_call()
    told.tell(ledger)
    await ledger.flush()
    assert found_in(tmp_path, SECRETS) == set()
    assert all(word not in str(log) for word in (*SECRETS, *CONTENT))
    if store == "full":
        assert {word for _, word in found_in(tmp_path, CONTENT)} == set(CONTENT)
    else:
        assert found_in(tmp_path, CONTENT) == set()
    assert len(ledger.logs()) == (0 if store == "none" else 2 if away else 1)
    assert public_files(tmp_path) == []


async def test_a_redactor_decides_what_is_kept_of_the_content(
    tmp_path: Path, open_ledger: Callable[..., Ledger], log: list[dict[str, Any]]
) -> None:
    def redactor(body: Any) -> Any:
        if "messages" in body:
            body["messages"] = ["hidden"]
            return body
        if "content" in body:
            return None
        raise KeyError("the redactor has a bug")

    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", store="full", redactor=redactor)
    told = careless_call()
    told.tell(ledger)
    await ledger.flush()
    (payload,) = ledger.show(told.id).payloads
    assert payload.body["messages"] == ["hidden"]
    assert {e["event"] for e in log} == {"llm_router.ledger_payload_dropped"}
    assert {e["reason"] for e in log} == {"KeyError"}
    assert len(ledger.show(told.id).attempts) == 3


async def test_purged_content_is_gone_from_the_file_too(
    tmp_path: Path, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", store="full", clock=lambda: 2e9)
    careless_call().tell(ledger)
    await ledger.flush()
    assert found_in(tmp_path, CONTENT) != set()
    ledger.purge(payloads_days=0)
    assert found_in(tmp_path, CONTENT) == set()


async def test_objects_that_are_no_json_are_kept_as_data(
    tmp_path: Path, open_ledger: Callable[..., Ledger]
) -> None:
    from types import MappingProxyType

    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db", store="full")
    request = started(
        asked={
            "messages": [MappingProxyType({"role": "user", "content": b"bytes"})],
            "params": {"tools": [ValueError("an error")]},
        },
    )
    ledger.request_started(request)
    (payload,) = ledger.show(request.request_id).payloads
    assert payload.body == {
        "messages": [{"role": "user", "content": "b'bytes'"}],
        "params": {"tools": [{"type": "ValueError", "message": "an error"}]},
    }
