"""A process may fork, be interrupted, and end at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from llm_router.testing import Reply, Sandbox
from tests.providers.openrouter.test_provider import free_port
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


def rows_of(calls: Path) -> list[str]:
    return [row.status for row in Ledger(LedgerConfig(url=f"sqlite:///{calls}")).logs()]


def finished(process: subprocess.Popen[str]) -> str:
    try:
        _, told = process.communicate(timeout=110)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, told
    return told


BUILT = f"""
import os
from llm_router import Router, SyncRouter
ledger = {{"url": "sqlite:///" + os.environ["CALLS"], "flush_interval": 30}}
data = {{"aliases": {{"fast": {{"model": "{GPT}"}}}}, "ledger": ledger}}
"""
MULTIPROCESSING = f"""{BUILT}
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def work(number):
    SyncRouter.from_dict(data).complete("fast", f"Hello from {{number}}")

def inherited():
    router.complete("fast", "Hello from the child")

if __name__ == "__main__":
    way = multiprocessing.get_context(os.environ["WAY"])
    if os.environ["WAY"] == "fork":
        router = SyncRouter.from_dict(data)
        router.complete("fast", "Hello from the parent")
        child = way.Process(target=inherited)
        child.start()
        child.join()
    with ProcessPoolExecutor(1, mp_context=way) as pool:
        list(pool.map(work, range(2)))
"""


@pytest.mark.parametrize(("way", "calls_made"), [("fork", 4), ("spawn", 2)])
def test_children_of_multiprocessing_record_their_rows(
    sandbox: Sandbox, tmp_path: Path, way: str, calls_made: int
) -> None:
    script, calls = tmp_path / "script.py", tmp_path / "calls.db"
    script.write_text(MULTIPROCESSING)
    env = {**sandbox.env, "PATH": "", "PYTHONPATH": str(ROOT), "CALLS": str(calls), "WAY": way}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script)], env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        assert finished(process) == ""
    assert rows_of(calls) == ["succeeded"] * calls_made


def test_a_router_that_nobody_closed_records_and_ends_without_a_traceback(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    calls = tmp_path / "calls.db"
    text = f"{BUILT}\nSyncRouter.from_dict(data).complete('fast', 'Hello')"
    with program(sandbox, text, CALLS=str(calls)) as process:
        assert finished(process) == ""
    assert rows_of(calls) == ["succeeded"]


FIRST = f"""
import asyncio, time
from llm_router import DeadlineExceededError, Router
async def main():
    router, begun = Router.from_env(), time.monotonic()
    try:
        await router.complete("{GPT}", "Hello", deadline=0.2)
    except DeadlineExceededError:
        assert time.monotonic() - begun < 1.5
    else:
        raise AssertionError("LiteLLM cannot be imported in that time")
    await router.complete("{GPT}", "Hello", deadline=60)
    await router.aclose()
asyncio.run(main())
"""
OPENED = """
import asyncio, sys
from llm_router import Router
async def main():
    async with Router.from_env():
        assert "litellm" in sys.modules
asyncio.run(main())
"""


def test_the_deadline_of_the_first_call_covers_its_imports(sandbox: Sandbox) -> None:
    with program(sandbox, FIRST) as process:
        assert finished(process) == ""
    assert asked(sandbox) == 1


def test_opening_imports_what_a_row_needs_that_no_alias_names(sandbox: Sandbox) -> None:
    with program(sandbox, OPENED) as process:
        assert finished(process) == ""


TERMINATED = f"""{BUILT}
import asyncio, signal, sys
async def main():
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Router.from_dict(data) as router:
        await router.complete("fast", "Take your time.")
if os.environ["ROUTER"] == "SyncRouter":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    SyncRouter.from_dict(data).complete("fast", "Take your time.")
elif os.environ["ROUTER"] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}")


@pytest.mark.parametrize(
    "router", ["Router", "SyncRouter", pytest.param("uvloop", marks=needs("uvloop"))]
)
def test_a_terminated_call_is_cancelled_recorded_and_not_sent_again(
    sandbox: Sandbox, tmp_path: Path, router: str
) -> None:
    sandbox.on(None, lambda _: Reply(text="late", delay=30))
    calls = tmp_path / "calls.db"
    with program(sandbox, TERMINATED, CALLS=str(calls), ROUTER=router) as process:
        give_up = time.monotonic() + 60
        while not asked(sandbox) and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        terminated = time.monotonic()
        process.communicate(timeout=30)
    assert time.monotonic() - terminated < 20
    assert asked(sandbox) == 1
    assert rows_of(calls) == ["cancelled"]


UVLOOP = f"""{BUILT}
import uvloop
async def main():
    async with Router.from_dict(data) as router:
        await router.complete("fast", "Hello")
        async with router.stream("fast", "Hello") as stream:
            await stream.collect()
        SyncRouter.from_dict({{"aliases": data["aliases"]}}).complete("fast", "Hello")
uvloop.run(main())
"""


@needs("uvloop")
def test_a_router_works_on_uvloop(sandbox: Sandbox, tmp_path: Path) -> None:
    calls = tmp_path / "calls.db"
    with program(sandbox, UVLOOP, CALLS=str(calls)) as process:
        assert finished(process) == ""
    assert rows_of(calls) == ["succeeded"] * 2


SERVICE = f"""{BUILT}
router = SyncRouter.from_dict(data)
router.complete("fast", "Hello from the master")
def app(environ, start_response):
    text = router.complete("fast", f"Hello from {{os.getpid()}}").text
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{{os.getpid()}} {{text}}".encode()]
"""


@needs("gunicorn")
def test_workers_of_gunicorn_answer_and_record_when_the_application_is_preloaded(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    calls, port = tmp_path / "calls.db", free_port()
    env = {**sandbox.env, "PATH": os.environ["PATH"], "CALLS": str(calls)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}"]
    with subprocess.Popen([*command, "service:app"], env=env, stderr=subprocess.DEVNULL) as master:
        answers = [answer_of(port) for _ in range(12)]
        master.terminate()
        assert master.wait(60) == 0
    workers = {answer.split()[0] for answer in answers}
    assert str(master.pid) not in workers
    assert rows_of(calls) == ["succeeded"] * 13


def answer_of(port: int) -> str:
    give_up = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
                return str(response.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
