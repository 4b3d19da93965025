"""Calls of every kind in one process: no law is broken, and nothing is left when they are over.

The short form of `benchmarks/mixed_calls.py`, which says what the laws are.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mixed_calls.py"


@pytest.mark.timeout(400)
def test_every_law_holds_when_2000_mixed_calls_meet_faults_deadlines_and_cancellations() -> None:
    command = [sys.executable, str(SCRIPT), "--calls", "2000", "--seed", "12"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["all laws hold"], done.stdout + done.stderr
