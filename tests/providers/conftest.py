"""The sandbox, also where the package is not installed and its pytest plugin not loaded."""

from llm_router.testing.pytest_plugin import llm_sandbox as sandbox
