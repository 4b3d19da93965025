"""Try the clients that applications speak to OpenRouter with, against the Sandbox.

    python benchmarks/clients.py [--environments DIR] [--clients NAME …] [--verbose]

Each client runs in an environment of its own, made in DIR when it is not there; where it does not
install it is skipped, with the reason. Prints a table of clients and probes, and each failure in
full. Exits with 1 when a client of the table fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

# As a script this file is not inside a package: the checkout is found beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_router.testing import Sandbox

HERE = Path(__file__).parent
CLIENTS = {
    "openai": ["openai"],
    "openrouter": ["openrouter"],
    "litellm": ["litellm"],
    "pydantic-ai": ["pydantic-ai-slim[openrouter]"],
    "langchain-openrouter": ["langchain-openrouter"],
    "instructor": ["instructor"],
    "llm": ["llm", "llm-openrouter"],
}
MARKS = {"ok": "ok", "failed": "FAILED", "absent": "-"}
Row = dict[str, tuple[str, str]]
"""By probe: its status, and what came of it."""


class NotInstalledError(Exception):
    """A client that does not install here."""


def python_for(client: str, folder: Path) -> str:
    """Return the interpreter of the client's environment, made now if need be."""
    python = folder / client / "bin" / "python"
    if not python.exists():
        venv.create(folder / client, with_pip=True)
    command = [str(python), "-m", "pip", "install", "-q", *CLIENTS[client]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().splitlines()[-1])
    return str(python)


def try_client(client: str, python: str) -> Row:
    """Return what the client did in each probe, on a sandbox of its own."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OPEN", "PYTHON"))}
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as home:
        command = [python, str(HERE / "client_probes.py"), client]
        done = subprocess.run(
            [*command, sandbox.base_url, sandbox.api_key],
            env=environ | {"LLM_USER_PATH": home, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{client} failed:\n{done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"probe"')]
    return {line["probe"]: (line["status"], line["shown"]) for line in lines}


def version_of(client: str, python: str) -> str:
    code = f"from importlib.metadata import version; print(version({client!r}))"
    name = "pydantic-ai-slim" if client == "pydantic-ai" else client
    code = code.replace(repr(client), repr(name))
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def report(results: dict[str, Row], *, verbose: bool) -> None:
    probes = list(next(iter(results.values())))
    width = max(map(len, results)) + 2
    print(" " * width + "".join(f"{probe:8}" for probe in probes))
    for client, row in results.items():
        print(f"{client:{width}}" + "".join(f"{MARKS[row[p][0]]:8}" for p in probes))
    for client, row in results.items():
        for probe, (status, shown) in row.items():
            if status == "failed" or verbose:
                print(f"\n{client}, {probe} ({status}): {shown}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--environments", type=Path, default=Path(tempfile.gettempdir()) / "sandbox_clients"
    )
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--verbose", action="store_true", help="show what came of every probe")
    given = parser.parse_args()
    results: dict[str, Row] = {}
    for client in given.clients:
        try:
            python = python_for(client, given.environments)
        except NotInstalledError as error:
            print(f"{client}: skipped: {error}")
            continue
        results[f"{client} {version_of(client, python)}"] = try_client(client, python)
    if results:
        report(results, verbose=given.verbose)
    return int(any(status == "failed" for row in results.values() for status, _ in row.values()))


if __name__ == "__main__":
    sys.exit(main())
