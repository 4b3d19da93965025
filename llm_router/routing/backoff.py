"""How long to wait before the same deployment is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = 0.5
CAP = 20.0


def full_jitter(retry: int, random: Callable[[], float]) -> float:
    """Return seconds before retry number *retry* (from 1): anything up to a doubling bound.

    Full jitter spreads the retries of many callers best
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    return random() * min(CAP, BASE * 2.0 ** min(retry - 1, 16))


def wait_before_retry(retry: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Return seconds to wait: never less than the provider's own Retry-After."""
    return max(full_jitter(retry, random), retry_after or 0.0)
