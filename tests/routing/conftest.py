"""The sandbox and Routers before it, as the tests of the facade have them."""

from __future__ import annotations

from tests.router.conftest import routed, router, sandbox

__all__ = ["routed", "router", "sandbox"]
