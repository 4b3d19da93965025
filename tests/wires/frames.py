"""AWS event-stream frames, written by hand."""

from __future__ import annotations

import json
from binascii import crc32
from typing import Any


def frame(name: str, payload: Any, kind: str = "event") -> bytes:
    """Return one frame of an event, or of an "exception", with *payload* as JSON or as bytes."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    place = ":event-type" if kind == "event" else ":exception-type"
    headers = {place: name, ":content-type": "application/json", ":message-type": kind}
    return framed(headers, data)


def framed(headers: dict[str, str], data: bytes) -> bytes:
    """Return a frame: length, length of the headers, their checksum; headers; data; checksum."""
    head = b"".join(
        len(name).to_bytes(1)
        + name.encode()
        + b"\x07"
        + len(value.encode()).to_bytes(2)
        + value.encode()
        for name, value in headers.items()
    )
    prelude = (len(head) + len(data) + 16).to_bytes(4) + len(head).to_bytes(4)
    message = prelude + crc32(prelude).to_bytes(4) + head + data
    return message + crc32(message).to_bytes(4)


def frames_in(body: bytes) -> list[int]:
    """Return where the frames of a stream end, but for the last; nothing for another body."""
    ends, at = [], 0
    while body.startswith(b"\0") and at + 4 < len(body):
        at += int.from_bytes(body[at : at + 4])
        ends.append(at)
    return ends[:-1]
