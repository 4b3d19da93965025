"""The import of LiteLLM: once, in a thread, and without leaving marks on the process.

LiteLLM's import downloads a price map, reads a `.env` file into the environment, adds handlers
to its loggers that print, adds warning filters and quiets the `httpx` logger. If the host has
imported it already, that was the host's choice, and nothing of it is touched.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_DURING_IMPORT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no download
    "LITELLM_MODE": "PRODUCTION",  # no `.env`
    "LITELLM_LOG": "ERROR",
}
_WRITTEN_BY_IMPORT = ("TIKTOKEN_CACHE_DIR",)
_lock = threading.Lock()


async def load() -> Any:
    """Return the module `litellm`, imported in a thread unless it is there already."""
    if _is_loaded():
        return sys.modules["litellm"]
    return await asyncio.to_thread(load_here)


def load_here() -> Any:
    """Return the module `litellm`, imported in this thread: some seconds the first time."""
    if _is_loaded():
        return sys.modules["litellm"]
    with _lock:
        if "litellm" in sys.modules:
            # The host imports it at this moment, or another thread of ours just did.
            return importlib.import_module("litellm")
        with _environment(), _warning_filters(), _loggers():
            module: Any = importlib.import_module("litellm")
            # Left to the first call, these would set TIKTOKEN_CACHE_DIR and emit a warning.
            importlib.import_module("litellm.litellm_core_utils.default_encoding")
            module.ModelResponse()
            module.types.utils.ModelResponseStream()
        module.suppress_debug_info = True  # it prints banners to stdout on errors
        return module


def _is_loaded() -> bool:
    spec = getattr(sys.modules.get("litellm"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


@contextmanager
def _environment() -> Iterator[None]:
    names = (*_DURING_IMPORT, *_WRITTEN_BY_IMPORT)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(_DURING_IMPORT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _warning_filters() -> Iterator[None]:
    before = list(warnings.filters)
    try:
        yield
    finally:
        # In place: `warnings` and others hold this very list.
        warnings.filters[:] = [item for item in warnings.filters if item in before]  # type: ignore[index]  # a list at run time
        warnings._filters_mutated()  # type: ignore[attr-defined]  # how `warnings` itself does it


@contextmanager
def _loggers() -> Iterator[None]:
    known = _all_loggers()
    before = {name: (logger.level, list(logger.handlers)) for name, logger in known.items()}
    try:
        yield
    finally:
        for name, logger in _all_loggers().items():
            level, handlers = before.get(name, (logging.NOTSET, []))
            logger.setLevel(level)
            for handler in list(logger.handlers):
                if handler not in handlers and not isinstance(handler, logging.NullHandler):
                    logger.removeHandler(handler)
            if name.startswith("LiteLLM") and not logger.handlers:
                # Without any handler Python's last resort would print its warnings.
                logger.addHandler(logging.NullHandler())


def _all_loggers() -> dict[str, logging.Logger]:
    found = dict(logging.root.manager.loggerDict)
    return {n: item for n, item in found.items() if isinstance(item, logging.Logger)} | {
        "": logging.root
    }
