"""Request ids: UUIDv7 (RFC 9562), which sort by time. The standard library has it from 3.14."""

from __future__ import annotations

import os


def uuid7(wall: float) -> str:
    """Return a UUIDv7 for the time *wall* (seconds since the epoch)."""
    value = int(wall * 1000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF000 << 64 | 0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
