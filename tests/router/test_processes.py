"""A process may fork, be interrupted, and end at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from llm_router.testing import Reply, Sandbox
from tests.router.setup import GPT

ROOT = Path(__file__).parents[2]


def program(sandbox: Sandbox, text: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env={**sandbox.env, "PATH": "", **env},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asked(sandbox: Sandbox) -> int:
    return sum(request.method == "POST" for request in sandbox.requests)


INTERRUPTED = f"""
import os
from llm_router import SyncRouter
fast = {{"model": "{GPT}", "fallbacks": ["openrouter/anthropic/claude-haiku-4.5"]}}
router = SyncRouter.from_dict({{
    "aliases": {{"fast": fast}},
    "ledger": {{"url": "sqlite:///" + os.environ["CALLS"]}},
}})
with router:
    router.complete("fast", "Take your time.")
"""


def test_an_interrupted_call_is_cancelled_at_once_and_nothing_more_is_sent(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.on(None, lambda _: Reply(text="late", delay=30))
    calls = tmp_path / "calls.db"
    with program(sandbox, INTERRUPTED, CALLS=str(calls)) as process:
        give_up = time.monotonic() + 60
        while not asked(sandbox) and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        interrupted = time.monotonic()
        _, told = process.communicate(timeout=20)
    assert time.monotonic() - interrupted < 15
    assert "KeyboardInterrupt" in told and process.returncode in (-signal.SIGINT, 1, 130)
    assert asked(sandbox) == 1
    (row,) = Ledger(LedgerConfig(url=f"sqlite:///{calls}")).logs()
    assert (row.status, row.attempts) == ("cancelled", 1)


FORKED = f"""
import os, sys
from llm_router import SyncRouter
router = SyncRouter.from_env()
router.complete("{GPT}", "Hello from the parent")
child = os.fork()
if not child:
    action = os.environ["ACTION"]
    if action == "complete":
        router.complete("{GPT}", "Hello from the child")
    elif action == "stream":
        with router.stream("{GPT}", "Hello from the child") as stream:
            stream.collect()
    elif action == "close":
        router.close()
    sys.exit(0)
_, status = os.waitpid(child, 0)
router.complete("{GPT}", "Hello again")
router.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    ("action", "requests"), [("complete", 3), ("stream", 3), ("close", 2), ("leave", 2)]
)
def test_the_child_of_a_fork_works_and_leaves_the_parent_alone(
    sandbox: Sandbox, action: str, requests: int
) -> None:
    with program(sandbox, FORKED, ACTION=action) as process:
        try:
            _, told = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, told
    assert asked(sandbox) == requests
