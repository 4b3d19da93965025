"""What the deltas of a stream add up to: the very parts that an unstreamed message would have."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from llm_router.answers.stream_events import ToolCallDelta
from llm_router.wires.answer_parts import raw_arguments_of
from llm_router.wires.json_values import (
    count,
    mend,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    text_or_none,
)

_JOINED = ("text", "summary", "data")


class TextParts:
    """Text that comes in pieces. Half of a surrogate pair waits for its other half."""

    __slots__ = ("_half", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._half = ""

    def add(self, text: str) -> str:
        """Take *text*; return what can be shown now."""
        self.pieces.append(text)
        # ASCII, the common case, is sound without a look.
        if not self._half and (text.isascii() or _sound(text)):
            return text
        return self._shown(text)

    def whole(self) -> str:
        """Return all that came."""
        return mend("".join(self.pieces))

    def _shown(self, text: str) -> str:
        text = self._half + text
        half = bool(text) and "\ud800" <= text[-1] <= "\udbff"
        self._half = text[-1] if half else ""
        return mend(text[:-1] if half else text)


def _sound(text: str) -> bool:
    try:
        text.encode()  # A lone surrogate cannot be encoded.
    except UnicodeEncodeError:
        return False
    return True


class _Call:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.arguments = TextParts()


class ToolCallParts:
    """Tool calls by index. Gemini gives several calls the same index: a new id is a new call."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, delta: dict[str, Any]) -> ToolCallDelta:
        """Take one entry of `delta.tool_calls`; return the event that it is."""
        function = object_or_empty(delta.get("function"))
        call_id, name = text_or_none(delta.get("id")), text_or_none(function.get("name"))
        call = self._find(count(delta.get("index")), call_id or None, name or None)
        call.id = call.id or (call_id and mend(call_id))
        call.name = call.name or (name and mend(name))
        shown = call.arguments.add(raw_arguments_of(function))
        return ToolCallDelta(self._calls.index(call), shown, call.id, call.name)

    def message(self) -> list[dict[str, Any]]:
        """Return `message.tool_calls` as an unstreamed answer has them."""
        return [
            {"id": c.id, "function": {"name": c.name, "arguments": c.arguments.whole()}}
            for c in self._calls
        ]

    def _find(self, index: int | None, call_id: str | None, name: str | None) -> _Call:
        for call in reversed(self._calls):
            if index is None:
                # Without an index: the call with this id, or the last one when nothing is new.
                if (call_id and call.id == call_id) or (not call_id and not name):
                    return call
            elif call.index == index:
                if call_id and call.id and call.id != call_id and name:
                    continue
                return call
        call = _Call(index)
        self._calls.append(call)
        return call


class _Detail:
    __slots__ = ("fields", "pieces")

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.pieces: dict[str, list[str]] = {}

    def takes(self, fragment: dict[str, Any]) -> bool:
        """Say whether *fragment* continues this detail."""
        mine, new = self.fields, fragment.get("id")
        return (
            mine.get("type") == fragment.get("type")
            and mine.get("index") == fragment.get("index")
            and any(name in fragment or name in self.pieces for name in _JOINED)
            and (new is None or mine.get("id") is None or mine["id"] == new)
        )

    def add(self, fragment: dict[str, Any]) -> None:
        for name, value in fragment.items():
            if name in _JOINED and isinstance(value, str):
                self.pieces.setdefault(name, []).append(value)
            elif value is not None or name not in self.fields:
                self.fields[mend(name)] = mend_all(value)

    def whole(self) -> dict[str, Any]:
        return self.fields | {name: mend("".join(parts)) for name, parts in self.pieces.items()}


class ReasoningDetailParts:
    """`reasoning_details`: fragments of one index and type are one detail, its text joined."""

    def __init__(self) -> None:
        self._details: list[_Detail] = []

    def add(self, fragment: dict[str, Any]) -> None:
        """Take one fragment."""
        detail = next((d for d in reversed(self._details) if d.takes(fragment)), None)
        # Without an index only the detail before it can be continued.
        if detail is None or (fragment.get("index") is None and detail is not self._details[-1]):
            detail = _Detail()
            self._details.append(detail)
        detail.add(fragment)

    def message(self) -> list[dict[str, Any]]:
        """Return the details as an unstreamed answer has them."""
        return [detail.whole() for detail in self._details]


class AudioParts:
    """Audio out: base64 pieces, each maybe padded on its own, and a transcript in pieces."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.data: list[str] = []
        self.transcript = TextParts()

    def add(self, audio: dict[str, Any]) -> tuple[str | None, str | None]:
        """Take one `delta.audio`; return its data and its transcript."""
        for name in ("id", "expires_at"):
            if audio.get(name) is not None:
                self.fields[name] = mend_all(audio[name])
        data, said = text_or_none(audio.get("data")), text_or_none(audio.get("transcript"))
        if data:
            self.data.append(mend(data))
        return data or None, self.transcript.add(said) if said else None

    def message(self) -> dict[str, Any] | None:
        """Return `message.audio` as an unstreamed answer has it."""
        fields = dict(self.fields)
        if self.data:
            fields["data"] = _join_base64(self.data)
        if self.transcript.pieces:
            fields["transcript"] = self.transcript.whole()
        return fields or None


def _join_base64(pieces: list[str]) -> str:
    if not any(piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)


class LogprobParts:
    """Log probabilities: the lists of all chunks, one after the other."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any] | None] = {}

    def add(self, logprobs: dict[str, Any]) -> None:
        for name, value in plain_json(mend_all(logprobs)).items():
            known = self.lists.get(name)
            if not isinstance(value, list):
                self.lists.setdefault(name, None)
            elif known is None:
                self.lists[name] = list(value)
            else:
                known.extend(value)


class AnnotationParts:
    """Annotations; an upstream that repeats its whole list with every chunk is heard once."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []

    def add(self, value: Any) -> list[dict[str, Any]]:
        """Take one `delta.annotations`; return those that are new."""
        notes = [plain_json(mend_all(note)) for note in objects(value)]
        known = len(self.notes)
        new = notes[known:] if notes[:known] == self.notes else notes
        self.notes.extend(new)
        return new
