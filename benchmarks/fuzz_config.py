"""Read many broken configurations: each must load or end in ConfigurationError, and soon.

    python benchmarks/fuzz_config.py --documents 50000

Documents are mutations of the files in config/, random structures and random bytes, from a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from llm_router.config.loading import builtin_file, load
from llm_router.config.schema import json_schema
from llm_router.errors import ConfigurationError

SECRET = "sk-or-v1-fuzzfuzzfuzzfuzz"
ENVIRON = {"OPENROUTER_API_KEY": SECRET, "SMALL": "3", "BLANK": " "}
FRAGMENTS = [
    "&a ", "*a", "<<: *a", "[", "]", "{", "}", ": ", "- ", "\n", "\t", "#", "'", '"', "|", ">",
    "!!", "!!binary ", "!!python/object/apply:os.system ", "!!timestamp ", "2020-13-45", "9" * 5000,
    "0x", "1e999", ".nan", ".inf", "${SMALL}", "${BLANK}", "${", "${OPENROUTER_API_KEY}", "$${",
    "${A:-b}", "\0", "\ufeff", "\U0001f600", "---\n", "...\n", "? ", "~", "off", "yes", "null",
    "true", "-1", "0", "%YAML 1.1\n", "[" * 60, "{a: " * 60, "\u2028", "\x85",
]  # fmt: skip


def keys(schema: Any) -> list[str]:
    """Return every key that the schema names, so that random structures get deep."""
    if not isinstance(schema, dict):
        return []
    found = list(schema.get("properties", {}))
    return found + [key for part in schema.values() for key in keys(part)]


KEYS = sorted({*keys(json_schema()), "openrouter", "local", "fast", "a", ""})


def mutated(rng: random.Random, seeds: list[str]) -> bytes:
    """Return a valid file with fragments put in, pieces cut out and lines swapped."""
    text = rng.choice(seeds)
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(text) + 1)
        end = start + rng.choice([0, 0, 1, 5, 40])
        text = text[:start] + rng.choice([*FRAGMENTS, rng.choice(KEYS), ""]) + text[end:]
    return text.encode(errors="surrogatepass")


def structure(rng: random.Random, depth: int = 0) -> Any:
    """Return a random value of mappings, lists and scalars under known keys."""
    kind = rng.random()
    if depth < 5 and (kind < 0.5 or depth < 2):
        size = range(rng.randint(0, 5))
        return {rng.choice(KEYS): structure(rng, depth + 1) for _ in size}
    if depth < 5 and kind < 0.65:
        return [structure(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    scalars = [None, True, 0, -3, 10**30, 1.5, float("nan"), "off", "5m", "http://[", *FRAGMENTS]
    return rng.choice([*scalars, "openrouter/x/y", "a", "fast", rng.choice(KEYS)])


def document(rng: random.Random, seeds: list[str]) -> bytes:
    """Return one document of any kind."""
    kind = rng.random()
    if kind < 0.5:
        return mutated(rng, seeds)
    if kind < 0.9:
        value = {rng.choice(["aliases", "providers", "defaults"]): structure(rng), **structure(rng)}
        return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    return rng.randbytes(rng.randint(0, 200))


def outcome(path: Path, raw: bytes) -> str:
    """Return how reading *raw* ends; any other exception than ours comes out."""
    path.write_bytes(raw)
    try:
        config = load(path)
    except ConfigurationError as error:
        assert error.problems, "an error without a problem"
        assert SECRET not in f"{error}{error.problems}", "a secret in a message"
        return "ConfigurationError"
    for alias in config.aliases:
        assert config.deployments(alias) is not None
    return "loaded"


def main() -> int:
    """Run, print counts, and return 1 when anything else than the two good ends came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.update(ENVIRON)
    rng = random.Random(options.seed)
    seeds = [
        file.read_text(encoding="utf-8") for file in sorted(builtin_file().parent.glob("*.yaml"))
    ]
    counts: Counter[str] = Counter()
    slowest = 0.0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.documents):
            raw = document(rng, seeds)
            start = time.perf_counter()
            try:
                counts[outcome(Path(folder) / "fuzz.yaml", raw)] += 1
            except Exception as error:  # whatever it is, it is what this script looks for
                counts[f"{type(error).__name__}: document {number}: {error!s:.200}"] += 1
            slowest = max(slowest, time.perf_counter() - start)
    seconds = time.perf_counter() - began
    for name, count in counts.most_common():
        print(f"{count:>8,}  {name}")
    print(f"{options.documents:,} documents in {seconds:.0f} s; slowest {slowest * 1000:.0f} ms")
    return 0 if set(counts) <= {"loaded", "ConfigurationError"} else 1


if __name__ == "__main__":
    sys.exit(main())
