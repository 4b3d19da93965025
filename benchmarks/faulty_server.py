"""The sandbox in a process of its own, where one request in five fails.

    python benchmarks/faulty_server.py SEED [--stream | --mixed]

Prints its base URL; when its standard input closes it prints, as JSON, what it received, and what
it charged for each answer. Which
fault a request meets depends only on the seed, the prompt and how often that prompt came before:
every client meets the same faults, whatever its order and pace.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_router.testing import ChatRequest, FaultPlan, Reply, Sandbox

SLOW = 3.0
"""Seconds; the clients give an attempt 2."""
MISFITS = 100
"""Of 1000 objects that are answered, so many do not fit their schema."""


def _plans(*given: tuple[float, FaultPlan]) -> list[tuple[float, FaultPlan]]:
    return list(given)


# Of 1000 requests so many meet this fault: 200 together. What a client must not retry (a wrong
# request, a wrong key) is left out: nothing could answer it.
BODIES = _plans(
    (20, FaultPlan(fault="http_500")),
    (20, FaultPlan(fault="http_502")),
    (15, FaultPlan(fault="http_503")),
    (5, FaultPlan(fault="http_524")),
    (10, FaultPlan(fault="http_529")),
    (10, FaultPlan(fault="rate_limit", retry_after=0.2)),
    (15, FaultPlan(fault="upstream_rate_limit")),
    (5, FaultPlan(fault="upstream_rate_limit", retry_after=1.0)),
    (20, FaultPlan(fault="dropped")),
    (20, FaultPlan(fault="error_in_200")),
    (15, FaultPlan(fault="blank")),
    (10, FaultPlan(fault="empty_choices")),
    (5, FaultPlan(fault="html_200")),
    (5, FaultPlan(fault="empty_body")),
    (1, FaultPlan(fault="slow_headers", seconds=SLOW)),
    (1, FaultPlan(fault="slow_body", seconds=SLOW)),
)
TEXTS = _plans(
    (8, FaultPlan(fault="choice_error")),
    (7, FaultPlan(fault="garbage")),
    (4, FaultPlan(fault="truncated_json")),
    (4, FaultPlan(fault="cut_stream")),
)
STREAMS = _plans(
    (5, FaultPlan(fault="stream_error_first")),
    (4, FaultPlan(fault="cut_stream", after=0)),
    (4, FaultPlan(fault="cut_stream", after=3)),
    (4, FaultPlan(fault="ended_stream", after=3)),
    (3, FaultPlan(fault="stream_error", after=3)),
    (2, FaultPlan(fault="choice_error", after=3)),
    (1, FaultPlan(fault="stalled_stream", after=3, seconds=SLOW)),
)


class Faults:
    """Decides on each request, and counts."""

    def __init__(self, seed: str, stream: bool | None) -> None:
        """*stream* None takes it from each request, and lets some objects miss their schema."""
        self._seed = seed
        self._stream = stream
        self.by_prompt: Counter[str] = Counter()
        self.played: Counter[str] = Counter()

    def __call__(self, request: ChatRequest) -> FaultPlan | Reply | None:
        prompt = request.prompt
        self.by_prompt[prompt] += 1
        drawn = random.Random(f"{self._seed}/{prompt}/{self.by_prompt[prompt]}").random() * 1000
        for weight, plan in self._plans(request):
            if drawn < weight:
                self.played[plan.fault] += 1
                return plan
            drawn -= weight
        if self._stream is None and "response_format" in request.body and drawn < MISFITS:
            return Reply(text='{"n": "many"}')
        return None

    def _plans(self, request: ChatRequest) -> list[tuple[float, FaultPlan]]:
        if request.output == "embeddings":
            return BODIES
        return BODIES + (STREAMS if self._streams(request) else TEXTS)

    def _streams(self, request: ChatRequest) -> bool:
        return request.stream if self._stream is None else self._stream

    def seen(self) -> dict[str, object]:
        return {
            "requests": self.by_prompt.total(),
            "most_of_one_call": max(self.by_prompt.values(), default=0),
            "faults": dict(self.played.most_common()),
        }


def main() -> None:
    mixed = "--mixed" in sys.argv
    faults = Faults(sys.argv[1], None if mixed else "--stream" in sys.argv)
    with Sandbox(keep_requests=1) as sandbox:
        sandbox.on(None, faults)
        print(json.dumps(sandbox.env), flush=True)
        sys.stdin.read()
        bills = {id: str(bill.total) for id, bill in sandbox.bills.items()}
    print(json.dumps(faults.seen() | {"bills": bills}), flush=True)


if __name__ == "__main__":
    main()
