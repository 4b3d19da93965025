"""Compare parsed objects with instructor and pydantic-ai, on the same sandbox.

    python benchmarks/compare_structured.py [--calls 200] [--environments DIR]

Each peer runs in an environment of its own, made in DIR when it is not there. For each scenario:
what came of it and how many calls it took; for the plain one also CPU time per parsed object.
Exits with 1 when ours takes more than 0.3 of instructor's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path
from typing import Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.sandbox import Sandbox

HERE = Path(__file__).parent
PEERS = {
    "llm_router": None,
    "instructor": "instructor",
    "pydantic-ai": "pydantic-ai-slim[openai]",
}
GOAL = 0.3
GOOD = '{"number": "A-7", "items": [{"name": "pen", "count": 2}]}'
WRONG = GOOD.replace("2}", '"two"}')
TEXTS = {
    "plain": GOOD,
    "fence": f"```json\n{GOOD}\n```",
    "prose": f"Here {{as asked}} is the order: {GOOD} Anything else?",
    "think": f'<think>Maybe {{"number": "B"}}?</think>\n{GOOD}',
    "trailing_comma": GOOD.replace("}]}", "},],}"),
    "wrong_type_always": WRONG,
    "truncated": GOOD[:-3],
    "defaults": '{"number": "A-7", "items": [{"name": "pen", "count": null}]}',
}


def scenario_of(body: Any) -> str:
    """Return what the first user message asks to be played."""
    texts = json.dumps([m.get("content") for m in body["messages"] if m["role"] == "user"])
    return texts.partition("scenario:")[2].partition('"')[0].rstrip("\\")


def reply_to(request: ChatRequest) -> Reply:
    """Play the scenario, as a tool call where a tool is asked for."""
    body = request.body
    scenario = scenario_of(body)
    if scenario == "refusal":
        return Reply(text=None, message={"content": None}, refusal="I cannot help with that.")
    asked_again = any(message["role"] in ("assistant", "tool") for message in body["messages"])
    text = TEXTS.get(scenario, GOOD if asked_again else WRONG)
    finish = "length" if scenario == "truncated" else "auto"
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        return Reply(tool_calls=[{"name": name, "arguments": text}], finish_reason=finish)
    return Reply(text=text, finish_reason=finish)


def python_for(peer: str, folder: Path) -> str:
    """Return the interpreter of the peer's environment, made now if need be."""
    package = PEERS[peer]
    if package is None:
        return sys.executable
    home = folder / peer
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
    return str(python)


def run_peer(peer: str, python: str, sandbox: Sandbox, calls: int) -> dict[str, dict[str, Any]]:
    """Return what the peer did in each scenario, with the calls the sandbox counted."""
    before = len(sandbox.chat_requests)
    command = [python, str(HERE / "structured_peers.py"), peer, sandbox.base_url, sandbox.api_key]
    environ = {**os.environ, "PYTHONPATH": str(HERE.parent) if PEERS[peer] is None else ""}
    done = subprocess.run(
        [*command, str(calls)], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    rows = {row["scenario"]: row for row in map(json.loads, done.stdout.splitlines())}
    made = Counter(scenario_of(sent.body) for sent in sandbox.chat_requests[before:])
    for name, row in rows.items():
        row["calls"] = made[name] if name != "plain" else 1 + made[name] // (calls + 12)
    return rows


def report(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    for peer, rows in results.items():
        print(f"\n{peer}: {rows['plain']['cpu'] * 1e6:,.0f} µs of CPU per parsed object")
        for name, row in rows.items():
            print(f"  {name:18} {row['calls']} call(s)  {row['outcome']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument(
        "--environments", type=Path, default=Path(tempfile.gettempdir()) / "structured_peers"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    given = parser.parse_args()
    results = {}
    for peer in given.peers:
        python = python_for(peer, given.environments)
        with Sandbox() as sandbox:
            sandbox.on(None, reply_to)
            results[peer] = run_peer(peer, python, sandbox, given.calls)
    report(results)
    if not {"llm_router", "instructor"} <= results.keys():
        return 0
    ours, theirs = (results[peer]["plain"]["cpu"] for peer in ("llm_router", "instructor"))
    print(f"\nllm_router takes {ours / theirs:.2f} of instructor's CPU (goal: {GOAL} at most)")
    return int(ours / theirs > GOAL)


if __name__ == "__main__":
    sys.exit(main())
