"""Keys are kept nowhere, content only where it was asked for."""

from __future__ import annotations

import asyncio
import io
import pickle
import sqlite3
import threading
import time
import traceback
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback
from structlog.tracebacks import ExceptionDictTransformer

from llm_router.config.model import LedgerConfig, RouterConfig
from llm_router.errors import ContentFilteredError, InvalidRequestError, LedgerError
from llm_router.ledger.ledger import Ledger
from llm_router.ledger.rows import RowBuilder
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


@pytest.mark.parametrize("word", ["x", "local", "ollama", "azure"])
async def test_a_key_that_is_a_word_leaves_names_and_content_as_they_are(
    tmp_path: Path, open_ledger: Callable[..., Ledger], word: str
) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    ledger = open_ledger(url, store="full", secrets=(word, KEY))
    request = started(user=f"{word} user", tags={word: word}, asked={"text": f"{word} {KEY}"})
    attempt = answered(request, upstream_provider=word, model=f"{word}/model")
    ledger.request_started(request)
    ledger.attempt_finished(attempt)
    ledger.request_finished(finished(request, attempt))
    detail = ledger.show(request.request_id)
    assert (detail.request.user, detail.request.tags) == (f"{word} user", {word: word})
    (row,) = detail.attempts
    assert (row.upstream_provider, row.model) == (word, f"{word}/model")
    assert {"text": f"{word} [redacted]"} in [payload.body for payload in detail.payloads]


@pytest.mark.parametrize("before", range(430, 520, 9))
def test_no_part_of_a_key_is_kept_when_a_name_is_cut(before: int) -> None:
    builder = RowBuilder(store="metadata", secrets=(PLAIN_KEY,))
    for size in (before, before + 4_096 - 512):
        for key in (KEY, PLAIN_KEY):
            request = started(user="n" * size + " " + key + " " + "n" * 8_000)
            ((_, row),) = builder.build([request])
            assert len(row["user"]) <= 512
            assert not any(key[:length] in row["user"] for length in range(9, len(key)))


def test_names_are_remembered_within_a_bound_when_they_are_long() -> None:
    builder = RowBuilder(store="metadata")
    tracemalloc.start()
    for number in range(300):
        builder.build([started(tags={f"{number}": f"{number}" * 100_000})])
    for number in range(20_000):
        builder.build([started(user=f"{number:0128}")])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4 * 2**20


URLS = [
    "postgresql://me:hunt/er2@db.example/calls",
    "postgresql://me:hunt er2@db.example/calls",
    "postgresql://:hunter2@db.example/calls",
    "postgresql://me:hunt@er2@db.example/calls",
    'postgres://me:hunt"er2@db.example/calls',
    "postgresql+psycopg://me:hunter2@db.example/calls?sslpassword=hunt,er2@x",
]


@pytest.mark.parametrize("url", URLS)
async def test_no_password_of_the_database_is_kept_whatever_its_letters(
    tmp_path: Path, open_ledger: Callable[..., Ledger], url: str
) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/calls.db")
    config = RouterConfig(ledger=LedgerConfig(url=url))
    ledger.remember_config(config.fingerprint, config.text)
    told = started(config_fingerprint=config.fingerprint)
    ledger.request_started(told)
    text = ledger.show(told.request_id).config
    assert text is not None and '"ledger"' in text
    assert not any(part in text for part in ("hunt", "er2", "db.example"))


def _payload_of(builder: RowBuilder, text: str) -> str:
    _, (_, row) = builder.build([started(asked={"text": text})])
    body: str = row["body"]
    return body


@settings(max_examples=200, deadline=None)
@given(
    word=st.sampled_from(["a", "word ", "lines\n", 'quo"ted ', "sk-", "Bearer ", "password: "]),
    before=st.integers(0, 40_000),
    key=st.sampled_from([KEY, PLAIN_KEY, f"Authorization: Bearer {KEY[:40]}"]),
    after=st.integers(0, 20_000),
)
def test_no_part_of_a_key_is_kept_wherever_it_stands_in_long_content(
    word: str, before: int, key: str, after: int
) -> None:
    builder = RowBuilder(store="full", secrets=(PLAIN_KEY,))
    filler = word * 40_000
    body = _payload_of(builder, f"{filler[:before]} {key} {filler[:after]}")
    assert not any(key[start : start + 12] in body for start in range(15, len(key) - 12))


def test_content_of_megabytes_lets_other_threads_run_while_it_is_redacted() -> None:
    builder = RowBuilder(store="full", secrets=SECRETS)
    text = "The quick brown fox jumps over the lazy dog.\n" * 120_000
    gaps: list[float] = []
    done = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not done.wait(0.002):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    body = _payload_of(builder, text)
    done.set()
    ticking.join()
    assert len(body) > len(text) > 5_000_000
    assert max(gaps) < 0.3


# --- the database's password ----------------------------------------------------------------


def tracebacks_with_locals(error: BaseException) -> str:
    out = io.StringIO()
    kind, frames = type(error), error.__traceback__
    Console(file=out, width=400).print(
        Traceback.from_exception(
            kind, error, frames, show_locals=True, locals_max_string=10_000, locals_max_length=1_000
        )
    )
    plain = traceback.TracebackException.from_exception(error, capture_locals=True)
    structured = ExceptionDictTransformer(show_locals=True, locals_max_string=10_000)
    return "".join([out.getvalue(), *plain.format(), repr(structured((kind, error, frames)))])


@pytest.mark.parametrize("command", ["status", "upgrade", "logs", "report", "purge"])
def test_no_traceback_shows_the_password_when_a_command_fails(command: str) -> None:
    password = "-".join(["a", "password", "in", "clear"])
    ledger = Ledger(LedgerConfig(url=f"postgresql://me:{password}@127.0.0.1:9/x"))
    arguments = {"rows_days": 1} if command == "purge" else {}
    with pytest.raises(LedgerError) as caught:
        getattr(ledger, command)(**arguments)
    ledger.close()
    error = caught.value
    assert error.__traceback__ is not None
    # From the package's own frame on: the test's hold what it configured.
    shown = tracebacks_with_locals(error.with_traceback(error.__traceback__.tb_next))
    assert "LedgerError" in shown
    assert password not in shown + repr(vars(error)) + repr(pickle.dumps(error))
    assert error.__context__ is None
