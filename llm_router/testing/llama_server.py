"""The process of `LocalModel`: llama.cpp's server over one model file, until the parent is gone.

It is run as a file, by path, and imports nothing of llm_router: so it starts quickly, and from
any working directory.
"""

from __future__ import annotations

import os
import sys

FIRST_WORD = "listening "
MODEL = "smollm2"


def serve(weights: str, context_tokens: int, threads: int) -> None:  # pragma: no cover
    """Say where the server listens, then run until standard input ends, as it does with the parent.

    No coverage is measured here: it only ever runs in a process of its own.
    """
    import xllamacpp  # type: ignore[import-untyped]  # it ships no types

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {MODEL}  # else answers name the path of the file
    params.port = 0
    params.n_ctx = context_tokens
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.fit_params = False  # it would try first how much fits into a graphics card
    params.cache_ram_mib = 0  # up to 8 GiB of old prompts otherwise
    params.warmup = False
    params.ui = False
    params.verbosity = 1  # errors only
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{FIRST_WORD}{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # the server's own end waits for requests that nobody will read


if __name__ == "__main__":  # pragma: no cover
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
