"""A sandbox for adapters to talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llm_router.testing import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox
