"""CPU time per call on the wires of Anthropic and Gemini, beside `litellm.acompletion`.

    python benchmarks/other_wires.py [--rounds 7] [--calls 100]

Measured as in `overhead.py`: the paths take turns in one run, medians over the rounds, CPU time of
this process alone. Exits with 1 when a text takes more than 0.3 of LiteLLM's, or a stream 0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from overhead import (
    KEY,
    PARAMS,
    Call,
    interleaved,
    litellm_path,
    router_path,
    served,
)

from llm_router import Router
from llm_router.providers import importing

MODELS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
ADDRESSES = {"anthropic": "", "gemini": "/v1beta"}
GOAL = {"text": 0.3, "stream": 0.1}
OURS, THEIRS = "llm_router.Router", "litellm.acompletion"


async def measure(url: str, kind: str, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    litellm = await asyncio.to_thread(importing.load_here)
    model = f"{kind}/{MODELS[kind]}"
    config = {
        "providers": {kind: {"api_key": KEY, "base_url": url}},
        "aliases": {"fast": {"model": model, "params": PARAMS}},
    }
    async with Router.from_dict(config) as router:
        theirs = litellm_path(
            litellm.acompletion,
            model=model,
            api_base=f"{url}{ADDRESSES[kind]}",
            api_key=KEY,
            num_retries=0,
        )
        paths: dict[str, Call] = {OURS: router_path(router), THEIRS: theirs}
        figures = await interleaved(paths, rounds, calls)
        await litellm.close_litellm_async_clients()
    return figures


def report(kind: str, figures: dict[str, dict[str, float]]) -> bool:
    """Print the figures of one wire; return whether both goals are met."""
    met = True
    for asked, rows in figures.items():
        ratio = rows[OURS] / rows[THEIRS]
        met = met and ratio <= GOAL[asked]
        what = "stream of 100 chunks" if asked == "stream" else "text"
        print(
            f"{kind:10} {what:22} {rows[OURS]:8.3f} ms {rows[THEIRS]:9.3f} ms"
            f"  x {ratio:.3f} (goal: {GOAL[asked]:g})"
        )
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=100, help="texts a round; streams: a fifth")
    options = parser.parse_args()
    print(f"{'':10} {'CPU per call':22} {OURS:>11} {THEIRS:>12}")
    met = True
    with served() as url:
        for kind in MODELS:
            figures = asyncio.run(measure(url, kind, options.rounds, options.calls))
            met = report(kind, figures) and met
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
