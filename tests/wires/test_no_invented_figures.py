"""No invented figure: what is counted, charged and named stands in the bytes, on every wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_router.answers.completion import Completion
from llm_router.usage import Cost, Usage
from llm_router.wires.openai import OpenAIWire
from llm_router.wires.reading import Wire
from tests.wires import (
    mutations,
    test_anthropic,
    test_cohere,
    test_converse,
    test_gemini,
    test_ollama,
)
from tests.wires.figures import assert_nothing_invented, figures_in, read_by, renumbered
from tests.wires.frames import frame
from tests.wires.mutations import damaged
from tests.wires.wire_bodies import DONE, USAGE, answer, chunk

HEADERS = {"x-amzn-requestid": "11-22", "x-generation-id": "gen-7", "request-id": "req-8"}
_BYOK = USAGE | {"is_byok": True, "cost_details": {"upstream_inference_cost": 0.00021}}


@dataclass(frozen=True)
class Seed:
    """A body written by hand: its JSON, in pieces where the wire packs each on its own."""

    wire: Wire
    pieces: tuple[bytes, ...]
    packed: Callable[[list[bytes]], bytes] = b"".join


def xai(dice: Random) -> bytes:
    """Return an answer whose reasoning is beside the completion: the total says so."""
    prompt, output, reasoning = (dice.randrange(10**7, 10**11) for _ in range(3))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output + reasoning,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "cost_in_usd_ticks": dice.randrange(10**9),
    }
    return answer(usage=usage)


def _seeds() -> Iterator[Seed]:
    openrouters = [*mutations.SEEDS, answer(usage=_BYOK), chunk(None, "stop", usage=_BYOK) + DONE]
    bodies = {
        OpenAIWire(kind="openrouter"): openrouters,
        OpenAIWire(kind="xai"): openrouters,
        test_anthropic.WIRE: test_anthropic.SEEDS,
        test_cohere.WIRE: test_cohere.SEEDS,
        test_gemini.WIRE: test_gemini.SEEDS,
        test_ollama.WIRE: test_ollama.SEEDS,
        test_converse.WIRE: test_converse.SEEDS[:-1],
    }
    yield from (Seed(wire, (body,)) for wire, of_one in bodies.items() for body in of_one)
    names = [name for name, _ in test_converse.PAYLOADS]
    payloads = (json.dumps(payload).encode() for _, payload in test_converse.PAYLOADS)
    yield Seed(
        test_converse.WIRE,
        tuple(payloads),
        lambda pieces: b"".join(map(frame, names, pieces)),
    )


SEEDS = list(_seeds())


def check(seed: Seed, pieces: list[bytes], status: int = 200) -> list[object]:
    """Check all that is read from a body; return it."""
    said = read_by(seed.wire, status, HEADERS, seed.packed(pieces))
    for one in said:
        assert_nothing_invented(one, b"\n".join(pieces), HEADERS)
    return said


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SEEDS), st.sampled_from([200, 200, 429]), st.randoms(use_true_random=False))
def test_every_figure_and_name_stands_in_the_bytes_whatever_is_wrong_with_them(
    seed: Seed, status: int, dice: Random
) -> None:
    pieces = [renumbered(piece, dice) for piece in seed.pieces]
    bad = dice.randrange(len(pieces))
    pieces[bad] = damaged(pieces[bad], dice)
    check(seed, pieces, status)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_reasoning_beside_the_completion_is_a_sum_of_what_stands_there(
    dice: Random, whole: bool
) -> None:
    body = xai(dice)
    check(Seed(OpenAIWire(kind="xai"), ()), [body if whole else damaged(body, dice)])


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_whole_bodies_have_figures_and_all_of_them_stand_there(number: int) -> None:
    seed, dice = SEEDS[number], Random(number)
    pieces = [renumbered(piece, dice) for piece in seed.pieces]
    said = check(seed, pieces)
    if figures_in(b"".join(pieces)):
        assert any(getattr(one, "usage", None) not in (None, Usage()) for one in said)


BODY = b'{"id": "a-1", "model": "m", "usage": {"input_tokens": 5000, "cached_tokens": 300}}'
READ = Completion(
    model="m", response_id="a-1", usage=Usage(input_tokens=5300, cache_read_tokens=300)
)


@pytest.mark.parametrize(
    "invented",
    [
        replace(READ, model="n"),
        replace(READ, response_id="a-2"),
        replace(READ, usage=Usage(output_tokens=0)),
        replace(READ, usage=Usage(input_tokens=5001)),
        replace(READ, usage=Usage(total_tokens=5300)),
        replace(READ, cost=Cost(computed=Decimal(1))),
        replace(READ, cost=Cost.from_report(Decimal("0.1"))),
    ],
)
def test_the_check_itself_notices_an_invention(invented: Completion) -> None:
    assert_nothing_invented(READ, BODY, {})
    with pytest.raises(AssertionError):
        assert_nothing_invented(invented, BODY, {})
