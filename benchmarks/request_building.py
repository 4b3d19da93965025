"""CPU of building one request for each wire that is not OpenAI's, with no socket in reach.

    python benchmarks/request_building.py

Fails when one costs more than LiteLLM's own call does (4 ms), or asks the network for anything.
Of what is spent nine tenths are LiteLLM's: it looks up what a model can do, at Bedrock most.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from pydantic import SecretStr

from llm_router.config.model import ProviderConfig
from llm_router.options.request import Deployment, ProviderRequest
from llm_router.providers.importing import load_here
from llm_router.providers.registry import FOREIGN

MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere_chat": "command-a-03-2025",
    "gemini": "gemini-2.5-flash",
    "ollama_chat": "llama3.2",
}
MOST_SECONDS = 4e-3
FUNCTION = {"name": "f", "description": "A tool.", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}


def best_of(kind: str, params: dict[str, Any]) -> float:
    row = ProviderConfig(litellm=kind, base_url="http://127.0.0.1:9", api_key=SecretStr("k" * 16))
    builder = FOREIGN[kind][1](load_here(), row, kind)
    deployment = Deployment(provider=kind, model=MODELS[kind])
    messages = [{"role": "user", "content": "Hello"}]
    request = ProviderRequest(deployment=deployment, messages=messages, params=params)
    best = float("inf")
    for _ in range(30):
        began = time.process_time()
        for _ in range(20):
            builder.build(request)
        best = min(best, (time.process_time() - began) / 20)
    return best


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("building a request asked the network")


def main() -> None:
    load_here()
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, refuse)
    socket.getaddrinfo = refuse  # type: ignore[assignment]  # nothing may be looked up
    for kind in MODELS:
        plain = best_of(kind, {"temperature": 0.2, "max_tokens": 64})
        tools = best_of(kind, {"temperature": 0.2, "max_tokens": 64, "tools": [TOOL]})
        print(f"{kind:12} {plain * 1e6:6.0f} µs, with a tool {tools * 1e6:6.0f} µs")
        assert max(plain, tools) < MOST_SECONDS, kind


if __name__ == "__main__":
    main()
