"""CPU time in seconds of an idle machine, whatever else runs and whatever the process holds.

A quadratic pattern takes minutes where a linear one takes a tenth of a second; the machine, the
coverage measurement and the collector over a heap of thousands of tests differ by ten at most.
So each measurement stands beside a piece of plain work measured just before it, and a tracer
(that of a coverage run, which slows our lines alone) looks away meanwhile.
"""

import json
import sys
import time
from collections.abc import Callable

# What `_plain_work` took on the idle machine whose seconds the tests speak of.
_SECONDS = 0.02
_LISTS = "[" + "[],{}," * 2_000 + "1]"


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that *work* takes, in those of an idle machine."""
    slowness = max(1.0, _took(_plain_work) / _SECONDS)
    return _took(work) / slowness


def _plain_work() -> object:
    found = json.loads(_LISTS)
    for _ in range(3):
        found = [{"one": item, "two": str(item)} for item in found]
    return found


def _took(work: Callable[[], object]) -> float:
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        started = time.process_time()
        work()
        return time.process_time() - started
    finally:
        sys.settrace(tracer)
