"""Feed damaged bodies to the wire: each must be a Completion or a ProviderError, nothing else.

    python benchmarks/fuzz_wire.py --bodies 1000000 [--seed 7] [--workers 2]

Prints how many bodies turned out as what, and exits with 1 at the first that turned out as
anything else, with the seed that makes it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.wires.mutations import mutated, verdict

_BATCH = 5_000


def run_batch(seed: int, bodies: int) -> Counter[str]:
    """Read *bodies* damaged bodies; the seed alone decides them."""
    counts: Counter[str] = Counter()
    for number in range(bodies):
        dice = Random(f"{seed}-{number}")
        body = mutated(dice)
        try:
            counts[verdict(body, dice)] += 1
        except Exception as error:  # Whatever it is, it is the finding.
            error.add_note(f"seed {seed}-{number}, body {body[:300]!r}")
            raise
    return counts


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bodies", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    started, counts = time.perf_counter(), Counter[str]()
    batches = [min(_BATCH, given.bodies - at) for at in range(0, given.bodies, _BATCH)]
    seeds = range(given.seed, given.seed + len(batches))
    with ProcessPoolExecutor(given.workers) as pool:
        for found in pool.map(run_batch, seeds, batches):
            counts += found
    seconds = time.perf_counter() - started
    print(f"{counts.total():,} bodies in {seconds:.0f} s, nothing but these came of them:")
    for kind, number in counts.most_common():
        print(f"  {number:>10,}  {kind}")


if __name__ == "__main__":
    main()
