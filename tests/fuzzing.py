"""What is read of others, by wire and operation: damaged inputs, and what must come of each.

For the suite, and by the million for `benchmarks/fuzz_wire.py`. Every input follows from a seed.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel

from llm_router import errors
from llm_router.ledger.spool import Spool
from llm_router.operations.structured.reading import read_text
from llm_router.operations.structured.schema import MismatchError, Schema
from llm_router.providers.openrouter.catalog import Catalog, prices_for
from llm_router.providers.openrouter.generations import read_generation
from llm_router.usage import Usage
from llm_router.wires.embeddings import read_embeddings
from tests.wires import (
    mutations,
    test_anthropic,
    test_cohere,
    test_converse,
    test_gemini,
    test_ollama,
    wire_bodies,
)

LONGEST_S = 2.0
"""CPU seconds for one input of a few kilobytes, on a busy machine."""


@dataclass(frozen=True)
class Target:
    """A reader: inputs that it takes, and the name of what it makes of one.

    *outcome* raises for anything that must not come of an input.
    """

    seeds: Sequence[bytes]
    outcome: Callable[[bytes, Random], str]

    def damaged(self, dice: Random) -> bytes:
        return mutations.damaged(dice.choice(self.seeds), dice)

    def judge(self, dice: Random) -> str:
        """Return what comes of one damaged input."""
        given, began = self.damaged(dice), time.process_time()
        found = self.outcome(given, dice)
        assert time.process_time() - began < LONGEST_S, f"too slow: {given[:200]!r}"
        return found


class Row(BaseModel):
    name: str
    share: float | None = None


class Rows(BaseModel):
    rows: list[Row]


ROWS = '{"rows": [{"name": "Ada \\"A\\"", "share": 0.25}, {"name": "x", "share": null}]}'
TEXTS = [
    ROWS,
    f"Here:\n```json\n{ROWS}\n```\nDone.",
    f"<think>{{1}}</think> {ROWS} // so",
    "{'rows': [],}",
]
SCHEMAS = [Schema.of(Rows), Schema.of(Rows.model_json_schema()), Schema.of(list[int])]


def parsed(text: bytes, dice: Random) -> str:
    try:
        read_text(text.decode("utf-8", "replace"), dice.choice(SCHEMAS), strict=dice.random() < 0.5)
    except MismatchError as error:
        assert str(error).encode()
        return "mismatch"
    return "object"


VECTORS = [
    b'{"data":[{"index":1,"embedding":[0.5,-1]},{"index":0,"embedding":[1,2e-1]}],'
    b'"id":"gen-emb-1","model":"m","provider":"P","usage":{"prompt_tokens":7,"cost":1.8e-07}}',
    b'{"data":[{"index":0,"embedding":"AACAPwAAgL8="},{"index":1,"embedding":"AACAPwAAgL8="}]}',
    b'{"error":{"code":429,"message":"Slow down","metadata":{"provider_name":"P"}}}',
]


def embedded(body: bytes, dice: Random) -> str:
    status = dice.choice([200, 200, 200, 400, 429])
    try:
        given = read_embeddings(wire_bodies.WIRE, status, {}, body, 2)
    except errors.ProviderError as error:
        assert str(error).encode()
        return type(error).__name__
    assert len(given.vectors) == 2 and json.dumps(given.to_dict(), allow_nan=False)
    return "Embeddings"


MODELS = [
    json.dumps({"data": [{
        "id": "a/m:free", "canonical_slug": "a/m", "name": "M", "context_length": 8192,
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "top_provider": {"max_completion_tokens": 100}, "supported_parameters": ["tools"],
        "pricing": {"prompt": "0.5", "completion": "1e-6", "request": "-1", "overrides": [
            {"min_prompt_tokens": 5, "prompt": "2", "utc_start": 0, "utc_end": 2400}]},
    }]}).encode()
]  # fmt: skip


def catalogued(body: bytes, _dice: Random) -> str:
    async def never() -> bytes:
        raise AssertionError("nothing is fetched here")

    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog("http://127.0.0.1:9", never, folder=Path(folder), clock=lambda: 1e9)
        with suppress(Exception):  # `_load` takes whatever a body does to it
            catalog._take(body)
        info = catalog.known("a/m:free")
        if info is None:
            return "unknown"
        cost = prices_for(info, Usage(input_tokens=10, output_tokens=1), 1e9).cost_of(
            Usage(input_tokens=10, output_tokens=1)
        )
        assert cost is None or (cost.is_finite() and cost >= 0)
    return "known"


GENERATIONS = [
    b'{"data":{"id":"gen-1","model":"m","provider_name":"P","total_cost":0.5,"is_byok":false,'
    b'"native_tokens_prompt":5,"native_tokens_completion":2,"upstream_inference_cost":null}}'
]


def generated(body: bytes, _dice: Random) -> str:
    try:
        found = read_generation(body)
    except errors.ProviderError as error:
        assert str(error).encode()
        return type(error).__name__
    assert found.cost.total is None or found.cost.total >= 0
    return "Generation"


LINES = [
    b'["requests",{"id":"01","day":"2026-01-01","tags":{"team":"a"},"started_at":1.5}]\n'
    b'["attempts",{"id":"01-1","request_id":"01","cost_total":"0.5","number":1}]\n'
    b'["payloads",{"id":"01-p","body":"{}"}]\n'
]


def spooled(lines: bytes, _dice: Random) -> str:
    """Every line is either written or put aside, and the file is empty then."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool.jsonl")
        spool.path.write_bytes(lines)
        written: list[tuple[str, Any]] = []
        spool.replay(written.extend)
        assert not spool.pending()
        for table, row in written:
            assert table in {"configs", "requests", "attempts", "payloads"}
            assert isinstance(row, dict)
        kept = spool.rejects.read_bytes().count(b"\n") if spool.rejects.exists() else 0
        assert len(written) + kept == lines.count(b"\n") + (lines[-1:] not in (b"", b"\n"))
    return "all written" if not kept else "some put aside"


def _wire(seeds: Sequence[bytes], wire: Any) -> Target:
    return Target(seeds, partial(mutations.verdict, wire=wire))


TARGETS: dict[str, Target] = {
    "openai": _wire(mutations.SEEDS, wire_bodies.WIRE),
    "anthropic": _wire(test_anthropic.SEEDS, test_anthropic.WIRE),
    "gemini": _wire(test_gemini.SEEDS, test_gemini.WIRE),
    "cohere": _wire(test_cohere.SEEDS, test_cohere.WIRE),
    "ollama": _wire(test_ollama.SEEDS, test_ollama.WIRE),
    "converse": _wire(test_converse.SEEDS, test_converse.WIRE),
    "embeddings": Target(VECTORS, embedded),
    "parse": Target([text.encode() for text in TEXTS], parsed),
    "catalogue": Target(MODELS, catalogued),
    "generation": Target(GENERATIONS, generated),
    "spool": Target(LINES, spooled),
}
