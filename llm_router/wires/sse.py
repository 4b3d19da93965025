"""Server-sent events out of bytes that may be cut anywhere."""

from __future__ import annotations

from llm_router.wires.json_values import UnreadableError

MAX_EVENT_BYTES = 64 * 1024 * 1024
_FIELDS = frozenset({b"data", b"event", b"id", b"retry", b""})
_BOM = b"\xef\xbb\xbf"


class EventTooLongError(UnreadableError):
    """One event passed MAX_EVENT_BYTES."""


class SSEDecoder:
    """Yields the data of each event; comments and the fields event, id and retry are left out.

    Lines may end in LF, CRLF or CR; an event may come in many packets and a packet hold many
    events. `seen` turns true with the first line that is SSE at all.
    """

    def __init__(self) -> None:
        self.seen = False
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that *data* completes; EventTooLongError if one is huge."""
        if self._after_cr or b"\r" in data:
            data = self._newlines(data)
        head, newline, tail = data.rpartition(b"\n")
        events: list[bytes] = []
        if newline:
            if self._line:
                self._size -= sum(map(len, self._line))
                head = b"".join((*self._line, head))
                self._line = []
            for line in head.split(b"\n"):
                self._take(line, events)
        if tail:
            self._line.append(tail)
            self._grow(len(tail))
        return events

    def flush(self) -> bytes | None:
        """Return the data of an event that the end of input left without its blank line."""
        events: list[bytes] = []
        for line in (b"".join(self._line), b""):
            self._take(line, events)
        self._line = []
        return events[0] if events else None

    def _newlines(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not self._started and line:
            self._started = True
            line = line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self.seen = True
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._grow(len(line))
        elif line:
            self.seen = self.seen or line.partition(b":")[0] in _FIELDS
        else:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
            self._size = 0

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLongError(f"holds an event of more than {MAX_EVENT_BYTES} bytes")
