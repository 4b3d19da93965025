"""AWS event-stream frames out of bytes that may be cut anywhere; botocore reads each frame.

Specification: https://smithy.io/2.0/aws/amazon-eventstream.html. A frame begins with its length,
four bytes, and that of its headers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_router.wires.json_values import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRELUDE = 12
# What botocore takes, headers and payload together; no header that AWS sends is nearly as long.
_LONGEST_FRAME = 24 * 1024 * 1024
_LONGEST_HEADERS = 16 * 1024


class FrameDecoder:
    """Yields each frame as the JSON object by which AWS's SDKs show it: `{"EVENT": payload}`.

    An exception is named by its type, `{"throttlingException": {"message": …}}`; an error frame,
    which has no payload, is `{"error": {"code": …, "message": …}}`. `seen` turns true with the
    first frame.
    """

    def __init__(self) -> None:
        # Imported late: botocore comes with LiteLLM, which is loaded by then.
        from botocore.eventstream import (  # type: ignore[import-untyped]  # It has no stubs.
            EventStreamBuffer,
        )

        self.seen = False
        self._new_buffer = EventStreamBuffer
        self._data = bytearray()
        self._other_body = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the frames that *data* completes; UnreadableError at what is none.

        What is no frame from the first byte on is another kind of body, and left alone.
        """
        if self._other_body:
            return
        self._data += data
        start = 0
        try:
            while (end := start + self._length(start)) <= len(self._data):
                event = self._read(bytes(self._data[start:end]))
                self.seen = True
                yield event
                start = end
        except UnreadableError:
            if self.seen:
                raise
            self._other_body = True
        del self._data[:start]

    def flush(self) -> bytes | None:
        """Return nothing: a frame that was cut cannot be read."""
        return None

    def _length(self, start: int) -> int:
        """Return how long the frame at *start* is, as far as can be known."""
        prelude = self._data[start : start + _PRELUDE]
        if len(prelude) < _PRELUDE:
            return _PRELUDE
        length, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
        if not _PRELUDE < length <= _LONGEST_FRAME or headers > min(length, _LONGEST_HEADERS):
            raise UnreadableError("holds bytes that are no event-stream frame")
        return length

    def _read(self, frame: bytes) -> bytes:
        buffer = self._new_buffer()
        buffer.add_data(frame)
        try:
            message = next(buffer)
        # Of a damaged frame botocore raises what comes: ParserError, struct.error, KeyError, …
        except Exception as error:
            raise UnreadableError("holds a damaged event-stream frame") from error
        return _as_json(message.headers, message.payload)


def _as_json(headers: dict[str, Any], payload: bytes) -> bytes:
    kind = headers.get(":message-type")
    if kind == "error":
        said = {"code": headers.get(":error-code"), "message": headers.get(":error-message")}
        return json.dumps({"error": said}, default=str).encode()
    name = headers.get(":exception-type" if kind == "exception" else ":event-type")
    if not payload.lstrip().startswith(b"{"):
        payload = json.dumps({"message": payload.decode("utf-8", "replace")}).encode()
    return b"{%b: %b}" % (json.dumps(str(name)).encode(), payload)
