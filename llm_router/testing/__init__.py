"""Test your own code against OpenRouter's wire, without a key and without the internet.

>>> from llm_router.testing import Sandbox
>>> with Sandbox() as sandbox:
...     sandbox.fail("http_502")
...     sandbox.reply(text="hello")
...     ...
"""

from __future__ import annotations

from llm_router.testing.billing import Bill, Tokens
from llm_router.testing.catalog import CATALOG, SandboxModel, Upstream
from llm_router.testing.faults import FAULTS, Fault, FaultPlan
from llm_router.testing.replies import ChatRequest, Reply
from llm_router.testing.sandbox import Sandbox

__all__ = [
    "CATALOG",
    "FAULTS",
    "Bill",
    "ChatRequest",
    "Fault",
    "FaultPlan",
    "Reply",
    "Sandbox",
    "SandboxModel",
    "Tokens",
    "Upstream",
]
