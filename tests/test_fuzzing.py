"""Whatever is wrong with an input: an answer or one of our errors, soon, and nothing else."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzzing import TARGETS


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", TARGETS)
def test_only_our_errors_come_of_damaged_inputs(name: str, seed: int) -> None:
    """5,000 together; the numbers in the test's name make them again."""
    outcomes = set()
    for number in range(152):
        dice = Random(f"{seed}-{number}")
        try:
            outcomes.add(TARGETS[name].judge(dice))
        except Exception as error:
            error.add_note(f"{name}, seed {seed}-{number}")
            raise
    assert len(outcomes) > 1, "the inputs are too much damaged, or not at all"
