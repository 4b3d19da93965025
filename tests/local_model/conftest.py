"""One real model for the whole session, and Routers before it."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest

from llm_router.cli.local_model import LocalModel
from llm_router.errors import ConfigurationError
from llm_router.router import Router

CONFIG = pathlib.Path(__file__).parents[2] / "config"


@pytest.fixture(scope="session")
def model() -> Iterator[LocalModel]:
    try:
        found = LocalModel()
    except ConfigurationError as error:
        pytest.skip(str(error))
    with found:
        yield found


@pytest.fixture
async def router(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Router]:
    monkeypatch.setenv("LOCAL_BASE_URL", model.base_url)
    async with Router.from_yaml(CONFIG / "local.yaml") as router:
        yield router
