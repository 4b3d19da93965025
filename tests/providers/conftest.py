"""The sandbox, also where the package is not installed and its pytest plugin not loaded."""

from llm_router.testing import pytest_plugin

sandbox = pytest_plugin.llm_sandbox
