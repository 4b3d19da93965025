"""One sandbox and one Router a module, before the tests that go over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from llm_router.operations.structured.modes import LADDER
from llm_router.providers.openrouter.catalog import Catalog
from llm_router.providers.openrouter.provider import OpenRouterProvider
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, EAGER, GPT, configuration


@pytest.fixture(scope="module")
def world() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(world: Sandbox) -> Iterator[Sandbox]:
    yield world
    world.wait_idle()
    left = world.unused
    world.reset()
    assert not left, "a scripted reply was not asked for"


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def aliases() -> dict[str, Any]:
    fixed: dict[str, Any] = {mode: {"model": GPT, "structured": mode} for mode in LADDER}
    return {"extract": {"model": GPT}, "safe": {"model": GPT, "fallbacks": [CLAUDE]}, **fixed}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def router(world: Sandbox, caches: None) -> AsyncIterator[Router]:
    """A Router that has read the catalogue."""
    async with Router.from_dict(configuration(world, aliases=aliases()), clock=EAGER) as router:
        await catalogue_of(router).get("openai/gpt-4o-mini")
        yield router


@pytest_asyncio.fixture(loop_scope="module")
async def newcomer(sandbox: Sandbox) -> AsyncIterator[Router]:
    """A Router that remembers no refusal, and has read the catalogue."""
    async with Router.from_dict(configuration(sandbox, aliases=aliases()), clock=EAGER) as router:
        await catalogue_of(router).get("openai/gpt-4o-mini")
        yield router


def catalogue_of(router: Router) -> Catalog:
    provider = router._engine.all_providers()["openrouter"]
    assert isinstance(provider, OpenRouterProvider)
    return provider.catalog
