"""Pytest fixtures: `llm_sandbox`, a fresh OpenRouter sandbox, and `loopback_only`, a guard.

Pytest loads this file in every project that has llm_router installed: it must import next to
nothing, and its fixtures do nothing until a test asks for them.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.testing.sandbox import Sandbox


@pytest.fixture
def llm_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox for this test; OPENROUTER_API_KEY and OPENROUTER_BASE_URL point to it."""
    from llm_router.testing.sandbox import Sandbox

    with Sandbox() as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects beyond this machine, so that none can spend money by mistake."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = str(address[0]) if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "::1") and not host.startswith("127."):
            pytest.fail(f"this test tried to reach {host!r}, beyond loopback")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
