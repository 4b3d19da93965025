"""The local model in a process of its own, so that it can die."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_CODE = """
from llm_router.cli.local_model import LocalModel
with LocalModel() as model:
    print(model.base_url, flush=True)
    input()
"""


@contextlib.contextmanager
def mortal_model() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the base URL of a model, and its process to be killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _CODE], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()
