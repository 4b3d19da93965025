"""Recorded streams, where the folder is there: what is shown on the way lies within the whole."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import Any

from llm_router.answers.stream_events import StreamEvent, TextDelta, ToolCallDelta
from llm_router.errors import ProviderError
from llm_router.wires.reading import Wire
from tests import recordings
from tests.operations.structured.test_growing import LIST, OBJECT, fed, lies_within, without_nulls
from tests.wires import test_provider_recordings as providers
from tests.wires import test_recordings as openrouter
from tests.wires.wire_bodies import WIRE

pytestmark = recordings.needed


def events_of(wire: Wire, headers: Any, body: bytes) -> list[StreamEvent]:
    reader = wire.reader(headers)
    events: list[StreamEvent] = []
    try:
        for packet in itertools.batched(body, 50) if hasattr(itertools, "batched") else [body]:
            events += reader.feed(bytes(packet))
        events += reader.close()
    except ProviderError:
        pass
    return events


def streams() -> dict[str, list[StreamEvent]]:
    """Return the events of every recorded stream, of OpenRouter and of the providers."""
    found = {
        name: events_of(WIRE, openrouter.RECORDINGS[name]["headers"], openrouter.body_of(name))
        for name in openrouter.STREAMS
    }
    for name in providers.STREAMS:
        headers = providers.RECORDINGS[name]["headers"]
        found[name] = events_of(providers.wire_of(name), headers, providers.body_of(name))
    return found


def json_of(events: list[StreamEvent]) -> list[list[str]]:
    """Return the pieces of the text, and of the arguments of each tool call."""
    said: dict[Any, list[str]] = defaultdict(list)
    for event in events:
        if isinstance(event, TextDelta):
            said["text"].append(event.text)
        elif isinstance(event, ToolCallDelta):
            said[event.index].append(event.arguments)
    return list(said.values())


def test_what_is_shown_of_every_recorded_stream_lies_within_the_whole() -> None:
    wholes = 0
    for name, events in streams().items():
        for pieces in json_of(events):
            try:
                whole = json.loads("".join(pieces))
            except ValueError:
                continue
            if not isinstance(whole, dict | list):
                continue
            schema = OBJECT if isinstance(whole, dict) else LIST
            for grow_strings in (False, True):
                partials, _ = fed(schema, pieces, grow_strings=grow_strings)
                shown = [partial.data for partial in partials]
                assert shown[-1:] == [without_nulls(whole)], name
                assert all(
                    lies_within(a, b, strings=grow_strings) for a, b in itertools.pairwise(shown)
                ), name
            wholes += 1
    assert wholes >= 10
