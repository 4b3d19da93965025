"""One real model for the whole session, and Routers before it."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest

from llm_router.cli.local_model import LocalModel
from llm_router.config import loading
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
async def router(model: LocalModel) -> AsyncIterator[Router]:
    async with Router(loading.load(CONFIG / "local.yaml", environ=model.env)) as router:
        yield router
