"""A sandbox and a Router before it: real sockets, no waiting between retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.testing import Sandbox
from tests.router.setup import EAGER, configuration


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def router(sandbox: Sandbox) -> AsyncIterator[Router]:
    async with Router.from_dict(configuration(sandbox), clock=EAGER) as router:
        yield router


@pytest.fixture
async def routed(sandbox: Sandbox) -> AsyncIterator[Callable[..., Router]]:
    """Build Routers with other sections or another clock; they are closed at the end."""
    made: list[Router] = []

    def build(*, clock: Clock = EAGER, key: str | None = None, **sections: Any) -> Router:
        data = configuration(sandbox, **sections)
        if key is not None:
            data["providers"]["openrouter"]["api_key"] = key
        made.append(Router.from_dict(data, clock=clock))
        return made[-1]

    yield build
    for router in made:
        await router.aclose()
