"""Feed damaged inputs to every reader: each must be an answer or one of our errors, nothing else.

    python benchmarks/fuzz_wire.py --bodies 1000000 [--target gemini] [--seed 7] [--workers 2]

A target is a wire (a text or a stream), an operation, the catalogue or the spool; without one they
take turns. Prints how many inputs turned out as what, and exits with 1 at the first that turned
out as anything else, with the seed that makes it again.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing import TARGETS

_BATCH = 5_000


def run_batch(target: str, seed: int, bodies: int) -> tuple[Counter[str], int]:
    """Read *bodies* damaged inputs; return their ends, and the most memory in KiB.

    Target and seed alone decide them.
    """
    counts: Counter[str] = Counter()
    for number in range(bodies):
        try:
            counts[f"{target}: {TARGETS[target].judge(Random(f'{seed}-{number}'))}"] += 1
        except Exception as error:  # Whatever it is, it is the finding.
            error.add_note(f"{target}, seed {seed}-{number}")
            raise
    return counts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bodies", type=int, default=100_000)
    options.add_argument("--target", choices=TARGETS)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=1)
    given = options.parse_args()
    started, counts, most = time.perf_counter(), Counter[str](), 0
    batches = [min(_BATCH, given.bodies - at) for at in range(0, given.bodies, _BATCH)]
    seeds = range(given.seed, given.seed + len(batches))
    names = [given.target] if given.target else list(TARGETS)
    targets = [names[seed % len(names)] for seed in seeds]
    with ProcessPoolExecutor(given.workers) as pool:
        for found, memory in pool.map(run_batch, targets, seeds, batches):
            counts += found
            most = max(most, memory)
    seconds = time.perf_counter() - started
    print(f"{counts.total():,} inputs in {seconds:.0f} s and at most {most / 1024:.0f} MiB:")
    for kind, number in sorted(counts.items()):
        print(f"  {number:>10,}  {kind}")


if __name__ == "__main__":
    main()
