"""Request ids: UUIDv7 (RFC 9562), which sort by time. The standard library has it from 3.14."""

from __future__ import annotations

import os


def uuid7(wall: float) -> str:
    """Return a UUIDv7 for the time *wall* (seconds since the epoch)."""
    time = f"{int(wall * 1000):012x}"
    random = os.urandom(10)
    chance = random.hex()
    variant = "89ab"[random[9] & 3]
    return f"{time[:8]}-{time[8:]}-7{chance[:3]}-{variant}{chance[3:6]}-{chance[6:18]}"
