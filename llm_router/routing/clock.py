"""Time, sleep and chance, passed in: tests run the loop on a virtual clock."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """The four ways in which the outside world's time reaches a call."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds, for durations and deadlines."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch, for records."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    """A number from 0 up to 1, for the jitter of the back-off."""
