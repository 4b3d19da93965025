"""Damaged bodies: an answer or one of our errors, never anything else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wires.mutations import SEEDS, mutated, verdict


@pytest.mark.parametrize("seed", range(10))
def test_five_thousand_damaged_bodies_are_answers_or_our_errors(seed: int) -> None:
    dice = Random(seed)
    outcomes = {verdict(mutated(dice), dice) for _ in range(500)}
    assert {"Completion", "InvalidResponseError"} <= outcomes


@settings(max_examples=300)
@given(st.binary(max_size=200), st.randoms(use_true_random=False))
def test_any_bytes_are_an_answer_or_one_of_our_errors(body: bytes, dice: Random) -> None:
    assert verdict(body, dice)
    assert verdict(b"data: " + body + b"\n\n" + dice.choice(SEEDS), dice)
