"""The catalogue stands beside the calls: it never delays one, and never fails one."""

from __future__ import annotations

import asyncio
import json
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from llm_router.providers.openrouter import catalog as catalog_module
from llm_router.providers.openrouter.catalog import Catalog, prices_for
from llm_router.testing.sandbox import Sandbox
from llm_router.usage import Prices, Usage
from tests.providers.loopback import asking, provider_at, serving

MINI = {
    "id": "openai/gpt-4o-mini",
    "canonical_slug": "openai/gpt-4o-mini-2024",
    "name": "Mini",
    "context_length": 128000,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
    "top_provider": {"max_completion_tokens": 16384},
    "supported_parameters": ["tools", "temperature"],
    "pricing": {"prompt": "0.00000015", "completion": "0.0000006", "input_cache_read": "0"},
}
FREE = {"id": "a/b:free", "canonical_slug": "a/b", "pricing": {"prompt": "0", "completion": "0"}}
PAID = {"id": "a/b", "canonical_slug": "a/b", "pricing": {"prompt": "0.1", "completion": "0.2"}}
AUTO = {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
BODY = json.dumps({"data": [FREE, PAID, MINI, AUTO, {"no": "id"}, 7]}).encode()
USAGE = Usage(input_tokens=1000, output_tokens=10)


class Source:
    """What `/models` answers, and how often it was asked."""

    def __init__(self, body: bytes = BODY) -> None:
        self.body, self.asked, self.hangs = body, 0, False
        self.called = asyncio.Event()

    async def __call__(self) -> bytes:
        self.asked += 1
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        return self.body


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def make(tmp_path: Path, source: Source, clock: Clock | None = None) -> Catalog:
    return Catalog("https://x/v1", source, folder=tmp_path / "cache", clock=clock or Clock())


async def test_nothing_is_known_before_it_was_fetched(tmp_path: Path) -> None:
    source = Source()
    catalog = make(tmp_path, source)
    assert catalog.known(MINI["id"]) is None  # type: ignore[arg-type]  # a mixed table
    assert source.asked == 0


async def test_model_is_found_by_id_dated_name_and_with_suffixes(tmp_path: Path) -> None:
    catalog = make(tmp_path, Source())
    info = await catalog.get("openai/gpt-4o-mini")
    assert info is not None
    assert (info.context_length, info.max_output_tokens) == (128000, 16384)
    assert info.supported_parameters == frozenset({"tools", "temperature"})
    assert info.input_modalities == {"text", "image"}
    assert info.prices == Prices(
        input=Decimal("0.00000015"), output=Decimal("0.0000006"), cache_read=Decimal(0)
    )
    for name in ("openai/gpt-4o-mini-2024", "openai/gpt-4o-mini:nitro:online",
                 "openai/gpt-4o-mini@preset/x"):  # fmt: skip
        assert catalog.known(name) is info
    free, paid = catalog.known("a/b:free"), catalog.known("a/b")
    assert free is not None
    assert paid is not None
    assert (free.id, paid.id) == ("a/b:free", "a/b")
    assert catalog.known("nobody/nothing") is None


async def test_a_shared_canonical_name_means_the_model_that_is_paid_for(tmp_path: Path) -> None:
    """`a/b:free` and `a/b` share a canonical name; whichever stands first, it is not free."""
    shared = [FREE | {"canonical_slug": "a/b-2025"}, PAID | {"canonical_slug": "a/b-2025"}]
    for models in (shared, shared[::-1]):
        catalog = make(
            tmp_path / str(shared.index(models[0])),
            Source(json.dumps({"data": models}).encode()),
        )
        await catalog.get("a/b")
        info = catalog.known("a/b-2025")
        assert info is not None and info.id == "a/b"


async def test_router_models_have_no_price(tmp_path: Path) -> None:
    catalog = make(tmp_path, Source())
    info = await catalog.get("openrouter/auto")
    assert info is not None
    assert info.prices == Prices()
    assert catalog.cost_of("openrouter/auto", None, USAGE) is None


async def test_prices_are_of_what_was_asked_unless_another_model_answered(tmp_path: Path) -> None:
    catalog = make(tmp_path, Source())
    await catalog.get("a/b")
    assert catalog.cost_of("a/b:free", "a/b", USAGE) == 0
    assert catalog.cost_of("a/b", None, USAGE) == Decimal(102)
    assert catalog.cost_of("a/b", "openai/gpt-4o-mini-2024", USAGE) == Decimal("0.000156")
    assert catalog.cost_of("un/known", "un/known", USAGE) is None


def test_overrides_apply_when_their_conditions_hold_and_later_ones_win() -> None:
    overrides: list[dict[str, Any]] = [
        {"min_prompt_tokens": 500, "prompt": "0.2"},
        {"min_prompt_tokens": 1000, "prompt": "0.9"},  # strictly greater
        {"utc_start": 2200, "utc_end": 130, "completion": "0.5"},
    ]
    raw = {"id": "a/b", "pricing": {"prompt": "0.1", "completion": "0.2", "overrides": overrides}}
    info = catalog_module._read_model(raw)
    noon, night = 12 * 3600, 23 * 3600 + 60
    assert prices_for(info, USAGE, noon) == Prices(input=Decimal("0.2"), output=Decimal("0.2"))
    assert prices_for(info, USAGE, night).output == Decimal("0.5")
    assert prices_for(info, USAGE, 90 * 60).output == Decimal("0.2")  # 01:30, the end
    assert prices_for(info, Usage(input_tokens=1001), noon).input == Decimal("0.9")
    assert prices_for(info, Usage(), noon) == Prices()


@pytest.mark.parametrize("condition", [{"utc_start": "x"}, {"min_prompt_tokens": True}])
def test_condition_that_cannot_be_judged_makes_the_price_unknown(
    condition: dict[str, Any],
) -> None:
    raw = {"id": "a/b", "pricing": {"prompt": "1", "overrides": [condition | {"prompt": "2"}]}}
    assert prices_for(catalog_module._read_model(raw), USAGE, 0) == Prices()


@pytest.mark.parametrize(
    "odd",
    [
        {"context_length": "128k"},
        {"context_length": [1]},
        {"context_length": {"tokens": 1}},
        {"context_length": -1},
        {"context_length": True},
        {"context_length": 1.5},
        {"supported_parameters": [["tools"]]},
        {"supported_parameters": "tools"},
        {"supported_parameters": {"tools": True}},
        {"supported_parameters": [None]},
        {"architecture": "text->text"},
        {"architecture": {"input_modalities": 5}},
        {"architecture": {"input_modalities": "text"}},
        {"architecture": {"output_modalities": [{}]}},
        {"top_provider": []},
        {"top_provider": {"max_completion_tokens": "many"}},
        {"pricing": "free"},
        {"pricing": {"prompt": "0.1", "completion": "0.2", "overrides": {"prompt": "1"}}},
        {"pricing": {"prompt": "0.1", "completion": "0.2", "overrides": [7]}},
        {"pricing": {"prompt": "0.1", "completion": "0.2", "overrides": 7}},
    ],
    ids=str,
)
async def test_an_entry_of_another_shape_is_unknown_and_told_once(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    body = json.dumps({"data": [MINI | odd, PAID]}).encode()
    catalog = make(tmp_path, Source(body))
    with structlog.testing.capture_logs() as told:
        structlog.configure(processors=structlog.get_config()["processors"])
        assert await catalog.get("a/b") is not None, "the others are known"
        for _ in range(3):
            assert catalog.known("openai/gpt-4o-mini") is None
            assert catalog.cost_of("openai/gpt-4o-mini", "openai/gpt-4o-mini", USAGE) is None
    structlog.reset_defaults()
    assert [event["event"] for event in told] == ["llm_router.catalog_entry_unreadable"]
    assert told[0]["model"] == "openai/gpt-4o-mini"


@pytest.mark.parametrize(
    "null",
    ["context_length", "supported_parameters", "architecture", "top_provider", "pricing", "name"],
)
async def test_a_field_that_is_null_is_unknown_alone(tmp_path: Path, null: str) -> None:
    catalog = make(tmp_path, Source(json.dumps({"data": [MINI | {null: None}]}).encode()))
    info = await catalog.get("openai/gpt-4o-mini")
    assert info is not None
    assert (info.context_length is None) is (null == "context_length")
    assert (info.prices == Prices()) is (null == "pricing")


@pytest.mark.parametrize("price", ["1e999999", "1e-999999", "9" * 400])
async def test_a_price_that_cannot_be_one_is_unknown(tmp_path: Path, price: str) -> None:
    """It was multiplied, and the paid answer lost to decimal.Overflow."""
    body = json.dumps({"data": [MINI | {"pricing": {"prompt": price, "completion": "0"}}]}).encode()
    catalog = make(tmp_path, Source(body))
    assert await catalog.get("openai/gpt-4o-mini")
    assert catalog.cost_of("openai/gpt-4o-mini", None, USAGE) is None


async def test_second_process_reads_the_disk_and_asks_nobody(tmp_path: Path) -> None:
    first, second = Source(), Source()
    await make(tmp_path, first).get("a/b")
    info = await make(tmp_path, second).get("a/b")
    assert info is not None
    assert info.prices.input == Decimal("0.1")
    assert (first.asked, second.asked) == (1, 0)
    (file,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_stale_catalogue_is_used_and_fetched_anew(tmp_path: Path) -> None:
    clock, source = Clock(), Source()
    catalog = make(tmp_path, source, clock)
    await catalog.get("a/b")
    clock.now += 23 * 3600
    await catalog.get("a/b")
    assert source.asked == 1
    clock.now += 2 * 3600
    source.body = json.dumps({"data": [PAID | {"pricing": {"prompt": "9"}}]}).encode()
    catalog.touch()
    assert catalog.known("openai/gpt-4o-mini") is not None
    info = await catalog.get("a/b")
    assert info is not None
    assert info.prices.input == Decimal(9)
    assert source.asked == 2


@pytest.mark.parametrize("kept", [b"", b"{", b"[]", b'{"base_url": "https://x/v1"}'])
async def test_corrupt_file_is_ignored(tmp_path: Path, kept: bytes) -> None:
    catalog = make(tmp_path, Source())
    catalog._path.parent.mkdir()
    catalog._path.write_bytes(kept)
    assert await catalog.get("a/b") is not None
    assert await make(tmp_path, Source(b"")).get("a/b") is not None


async def test_file_of_another_address_or_from_the_future_is_ignored(tmp_path: Path) -> None:
    catalog, source = make(tmp_path, Source()), Source()
    await catalog.get("a/b")
    kept = json.loads(catalog._path.read_text())
    for change in ({"base_url": "https://y/v1"}, {"fetched_at": "9e12"}):
        catalog._path.write_text(json.dumps(kept | change))
        await make(tmp_path, source).get("a/b")
    assert source.asked == 2


async def test_folder_that_cannot_be_written_costs_only_the_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands here")
    assert await make(tmp_path, Source()).get("a/b") is not None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": 3}', b"\xff"])
async def test_body_of_another_shape_is_no_catalogue_and_no_error(
    tmp_path: Path, body: bytes
) -> None:
    clock, source = Clock(), Source(body)
    catalog = make(tmp_path, source, clock)
    assert await catalog.get("a/b") is None
    assert await catalog.get("a/b") is None
    assert source.asked == 1, "tried again later, not at every call"
    clock.now += 601
    source.body = BODY
    assert await catalog.get("a/b") is not None


async def test_catalogue_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "FETCH_SECONDS", 0.02)
    source = Source()
    source.hangs = True
    catalog = make(tmp_path, source)
    assert await catalog.get("a/b") is None
    await asyncio.sleep(0.05)
    assert catalog._task is not None
    assert catalog._task.done()


async def test_closing_stops_a_fetch(tmp_path: Path) -> None:
    source = Source()
    source.hangs = True
    catalog = make(tmp_path, source)
    catalog.touch()
    await source.called.wait()
    task = catalog._task
    await catalog.aclose()
    await catalog.aclose()
    assert task is not None
    assert task.cancelled()


async def test_half_written_file_is_removed(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        catalog_module._write(tmp_path / "x" / "y.json", {"bad": object()})
    assert list((tmp_path / "x").iterdir()) == []


async def test_call_gets_its_computed_cost_once_the_catalogue_is_there(sandbox: Sandbox) -> None:
    async with provider_at(sandbox.base_url, api_key=sandbox.api_key) as provider:
        await provider.complete(asking())
        info = await provider.catalog.get("openai/gpt-4o-mini")
        reply = await provider.complete(asking())
        stream = await provider.stream(asking(stream=True))
        report = [event async for event in stream][-1]
    assert info is not None
    assert provider.known("openai/gpt-4o-mini") is info
    assert reply.cost.computed == info.prices.cost_of(reply.usage)
    assert reply.cost.source == "provider"
    assert stream.snapshot().cost.computed is not None
    assert report.cost == stream.snapshot().cost  # type: ignore[union-attr]  # the usage report


async def test_server_without_a_catalogue_serves_calls_all_the_same() -> None:
    async with serving() as server, provider_at(server.url) as provider:
        reply = await provider.complete(asking())
        assert await provider.catalog.get("openai/gpt-4o-mini") is None
    assert reply.cost.computed is None
    assert [path for _, path, _ in server.received].count("/api/v1/models") == 1
