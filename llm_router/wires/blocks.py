"""Content blocks: the form of an answer that Anthropic and Bedrock's Converse share.

Both are read as lists of blocks in Anthropic's words, from a body or from what a stream adds up to:

    {"type": "text", "text": str, "citations": [the wire's own objects]}
    {"type": "thinking", "thinking": str, "signature": str}
    {"type": "redacted_thinking", "data": str}
    {"type": "tool_use", "id": str, "name": str, "input": an object, or its JSON text}
    {"type": "image", "format": "png" | …, "data": base64}

Blocks of other types are a provider's own tools and their results: no calls of the caller's, and no
text of the answer.

What must go back unchanged is in `Completion.reasoning_details`, one mapping for each block of
thinking, in the wire's order: the block, with `format` naming its wire:

    {"type": "thinking", "thinking": "…", "signature": "…", "format": "anthropic"}
    {"type": "redacted_thinking", "data": "…", "format": "converse"}

A key that the wire did not send is absent: Bedrock has models whose thinking has no signature.
Without `format` each is a content block as Anthropic takes it back, and an item of the
`thinking_blocks` that LiteLLM's requests for both providers read on an assistant message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llm_router.answers.completion import Citation, Completion, Image
from llm_router.answers.stream_events import (
    CitationDelta,
    ImageDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from llm_router.wires import parts
from llm_router.wires.json_values import (
    json_text,
    mend,
    mend_all,
    object_or_empty,
    objects,
    plain_json,
    text_or_none,
)
from llm_router.wires.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.wires.reading import Wire

_THINKING = ("thinking", "redacted_thinking")
# What deltas add to, for each type of block. The rest of a block comes with its start.
_JOINED = {
    "text": ("text",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("input",),
    "image": ("data",),
}


def completion_of(
    blocks: list[dict[str, Any]], native: str | None, wire: str, *, whole: bool, **names: Any
) -> Completion:
    """Return the answer that *blocks* are; *names* are the fields that are not in them.

    *native* is the wire's reason why it ended, *wire* its name. Calls of an answer that is not
    *whole*, or was cut by its length, are not complete.
    """
    finish = parts.finish_reason(native, native)
    thinking = [block for block in blocks if block.get("type") in _THINKING]
    notes = [note for block in _of("text", blocks) for note in objects(block.get("citations"))]
    return Completion(
        text=_joined(blocks, "text"),
        reasoning=_joined(blocks, "thinking") or None,
        reasoning_details=tuple(_detail(block, wire) for block in thinking),
        tool_calls=parts.tool_calls_of(_message(blocks), complete=whole and finish != "length"),
        citations=tuple(citation for note in notes if (citation := _citation(note))),
        annotations=tuple(map(plain_json, notes)),
        images=tuple(image for block in _of("image", blocks) if (image := _image(block))),
        finish_reason=finish,
        native_finish_reason=native,
        **names,
    )


def _of(kind: str, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for block in blocks if block.get("type") == kind]


def _joined(blocks: list[dict[str, Any]], kind: str) -> str:
    return "".join(text_or_none(block.get(kind)) or "" for block in _of(kind, blocks))


def _detail(block: dict[str, Any], wire: str) -> dict[str, Any]:
    return {**plain_json(block), "format": wire}


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the calls as `parts` reads them."""
    calls = [
        {
            "id": block.get("id"),
            "function": {"name": block.get("name"), "arguments": block.get("input")},
        }
        for block in _of("tool_use", blocks)
    ]
    return {"tool_calls": calls}


def _citation(note: Mapping[str, Any]) -> Citation | None:
    """Return the source that a citation names; None for one of the caller's own documents."""
    web = object_or_empty(object_or_empty(note.get("location")).get("web"))
    named = (note.get("url"), web.get("url"), note.get("source"))
    url = next((text for text in named if isinstance(text, str) and "://" in text), None)
    if url is None:
        return None
    quoted = "".join(
        text_or_none(part.get("text")) or "" for part in objects(note.get("sourceContent"))
    )
    return Citation(
        url=url,
        title=text_or_none(note.get("title")),
        content=text_or_none(note.get("cited_text")) or quoted or None,
    )


def _image(block: Mapping[str, Any]) -> Image | None:
    kind, data = block.get("format"), block.get("data")
    if not (isinstance(kind, str) and isinstance(data, str) and data):
        return None
    return Image(url=f"data:image/{kind};base64,{data}")


class _Block:
    """One block of a stream: what it began with, and what was added."""

    __slots__ = ("call", "fields", "notes", "pieces", "type")

    def __init__(self, fields: dict[str, Any], call: int) -> None:
        self.fields, self.call = fields, call
        self.type = text_or_none(fields.get("type")) or ""
        self.pieces: dict[str, parts.TextParts] = {}
        self.notes: list[dict[str, Any]] = []

    def add(self, field: str, text: str) -> str:
        """Add to a field; return what can be shown of it."""
        return self.pieces.setdefault(field, parts.TextParts()).add(text)

    def whole(self) -> dict[str, Any]:
        """Return the block as an unstreamed answer has it."""
        joined = {field: text.whole() for field, text in self.pieces.items()}
        if "data" in self.pieces:
            joined["data"] = mend(parts.join_base64(self.pieces["data"].pieces))
        return self.fields | joined | ({"citations": self.notes} if self.notes else {})


class BlockReader(Reader):
    """The reader of a stream of blocks: each starts, is added to and stops, by its index.

    The wire's reader calls `_start`, `_add`, `_cite` and `_stop`; `_blocks` is what they add up to.
    """

    format: ClassVar[str]
    """The wire's name in what goes back."""

    def __init__(self, wire: Wire, headers: Mapping[str, str]) -> None:
        super().__init__(wire, headers)
        self._all: list[_Block] = []
        self._latest: dict[int | None, _Block] = {}
        self._calls = 0

    def _blocks(self) -> list[dict[str, Any]]:
        return [block.whole() for block in self._all]

    def _start(self, index: int | None, fields: dict[str, Any], events: list[StreamEvent]) -> None:
        """Begin a block; text that it begins with is added to it."""
        block = _Block(mend_all(fields), self._calls)
        joined = _JOINED.get(block.type, ())
        begun = {name: block.fields.pop(name) for name in joined if type(fields.get(name)) is str}
        notes = block.fields.pop("citations", None) if block.type == "text" else None
        self._all.append(block)
        self._latest[index] = block
        if block.type == "tool_use":
            self._calls += 1
            events.append(self._call(block, ""))
        for field, text in begun.items():
            self._grow(block, field, text, events)
        for note in objects(notes):
            self._cite(index, note, events)

    def _add(
        self, index: int | None, kind: str, field: str, text: Any, events: list[StreamEvent]
    ) -> None:
        """Add *text* to a field of a block, which is of *kind* if it was not started."""
        if isinstance(text, str):
            self._grow(self._opened(index, kind, events), field, text, events)

    def _opened(self, index: int | None, kind: str, events: list[StreamEvent]) -> _Block:
        """Return the block that is open at *index*; one of *kind* if none was begun as anything."""
        block = self._latest.get(index)
        if block is None or not block.type:
            self._start(index, {"type": kind}, events)
        return self._latest[index]

    def _grow(self, block: _Block, field: str, text: str, events: list[StreamEvent]) -> None:
        if field not in _JOINED.get(block.type, ()):
            return
        shown = block.add(field, text)
        if not shown:
            return
        if field == "text":
            events.append(TextDelta(shown))
        elif field == "thinking":
            events.append(ReasoningDelta(shown))
        elif field == "input":
            events.append(self._call(block, shown))

    def _cite(self, index: int | None, note: Any, events: list[StreamEvent]) -> None:
        """Add a citation to a block of text."""
        if not isinstance(note, dict):
            return
        block, note = self._opened(index, "text", events), mend_all(note)
        if block.type == "text":
            block.notes.append(note)
            if citation := _citation(note):
                events.append(CitationDelta(citation))

    def _stop(self, index: int | None, events: list[StreamEvent]) -> None:
        """End a block: what only a whole one can show is told."""
        block = self._latest.pop(index, None)
        if block is None:
            return
        if block.type in _THINKING:
            events.append(ReasoningDelta("", (_detail(block.whole(), self.format),)))
        elif block.type == "image" and (image := _image(block.whole())):
            events.append(ImageDelta(image))
        elif block.type == "tool_use" and not block.whole().get("input"):
            # Without arguments no delta comes; the body of an unstreamed answer says {}.
            self._grow(block, "input", json_text(block.fields.get("input") or {}), events)

    def _call(self, block: _Block, arguments: str) -> ToolCallDelta:
        name = text_or_none(block.fields.get("name"))
        return ToolCallDelta(block.call, arguments, text_or_none(block.fields.get("id")), name)
