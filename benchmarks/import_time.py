"""How long `import llm_router` takes beside `import litellm`: CPU of new processes, interleaved.

    python benchmarks/import_time.py

LiteLLM's download of its price list is switched off, in its favour.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ROUNDS = 5
STATEMENTS = {
    "python itself": "pass",
    "import llm_router": "import llm_router",
    "from llm_router import Router": "from llm_router import Router",
    "import litellm": "import litellm",
}


def cpu_seconds(statement: str) -> float:
    """Return the CPU time that a new interpreter takes for *statement*, compiled files in place."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = f"{statement}; import time; print(time.process_time())"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(shown.stdout.split()[-1])


def main() -> None:
    for statement in STATEMENTS.values():
        cpu_seconds(statement)  # compiles what is not compiled yet
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            times[name].append(cpu_seconds(statement))
    floor = statistics.median(times["python itself"])
    whole = statistics.median(times["import litellm"]) - floor
    print(f"medians of {ROUNDS} rounds, CPU seconds above an empty interpreter ({floor:.3f} s)")
    for name in list(STATEMENTS)[1:]:
        seconds = statistics.median(times[name]) - floor
        print(f"{name:32} {seconds:7.3f} s   {seconds / whole:6.1%} of `import litellm`")


if __name__ == "__main__":
    main()
