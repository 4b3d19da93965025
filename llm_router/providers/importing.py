"""The import of LiteLLM: once, in a thread, and without leaving marks on the process.

LiteLLM's import downloads a price map, reads a `.env` file into the environment, adds handlers
to its loggers that print, adds warning filters and quiets the `httpx` logger. If the host has
imported it already, that was the host's choice, and nothing of it is touched.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
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
# What its modules warn of, and what pydantic warns of while they are imported inside a call.
_MODULES = re.compile(r"litellm(\.|$)")
_TYPES = re.compile(r"Items? '.* using the `ReadOnly` qualifier")
_lock = threading.Lock()


def load_here() -> Any:
    """Return the module `litellm`, imported in this thread: some seconds the first time."""
    if _is_loaded():
        return sys.modules["litellm"]
    with _lock:
        if "litellm" in sys.modules:
            # The host imports it at this moment, or another thread of ours just did.
            return importlib.import_module("litellm")
        with _traceless(), _without_collections():
            module: Any = importlib.import_module("litellm")
        module.suppress_debug_info = True  # it prints banners to stdout on errors
        module.disable_hf_tokenizer_download = True  # 47 s in the middle of a stream
        return module


def load_for_calls_here() -> Any:
    """Return `litellm` with what it would load inside its first call, its tokenizer (41 MB) too.

    Left to that call they would write into the environment and emit warnings.
    """
    module = load_here()
    with _lock, _traceless():
        importlib.import_module("litellm.litellm_core_utils.default_encoding")
        module.ModelResponse()
        module.types.utils.ModelResponseStream()
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Let no warning out of a look-up in LiteLLM: not to the host, whose filters may raise.

    LiteLLM imports modules as they are asked for, some of which warn. Filters are the process's:
    only for short stretches without `await`, once for each row and model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ignore_litellms_warnings() -> None:
    """Ignore what LiteLLM's calls warn of, from now on.

    For calls that wait in the middle: no filter of a task's own exists. Before each call, since
    the host may put its filters back; the same filter is never there twice.
    """
    if ("ignore", None, Warning, _MODULES, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", _TYPES.pattern, UserWarning)
        warnings.filterwarnings("ignore", module=_MODULES.pattern)


def _is_loaded() -> bool:
    spec = getattr(sys.modules.get("litellm"), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


@contextmanager
def _traceless() -> Iterator[None]:
    """Undo what happens inside to the environment, the warning filters and the loggers."""
    with _environment(), warnings.catch_warnings(), _loggers():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _without_collections() -> Iterator[None]:
    """Pause the garbage collector: a third of the import's time goes into looking for none.

    Nor is LiteLLM looked through later: each full collection would stop every thread of the
    process for half a second. `gc.freeze` knows no owners: what the host holds by then is not
    looked through either (`gc.unfreeze()` takes it back).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


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
