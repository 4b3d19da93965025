"""From records to rows: what is kept of a call, and nothing that its content policy forbids.

`metadata` keeps names and figures: no prompt, no answer, and no sentence of an error, since
providers quote what they were sent. `full` keeps those too, as payloads. Keys are never kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

from llm_router import events
from llm_router.answers.answer import plain
from llm_router.answers.records import (
    AttemptFinished,
    Generation,
    RequestFinished,
    RequestStarted,
)
from llm_router.ledger.outage import LEDGER_DROPPED, LEDGER_PAYLOAD_DROPPED
from llm_router.ledger.results import AttemptRow, ConfigRow, Label, RequestRow, bill, columns
from llm_router.redaction import MASK, names_secret, redact, redact_keys
from llm_router.usage import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llm_router.answers.answer import Attempt
    from llm_router.errors import LLMRouterError

Row = dict[str, Any]
"""One row by column name: JSON values, money as Decimal or decimal text, times in seconds."""
Rows = list[tuple[str, Row]]
"""Rows, each with its table: "configs", "requests", "attempts" or "payloads"."""
Record = RequestStarted | AttemptFinished | RequestFinished | ConfigRow

_LONGEST_LABEL = 512
_SEARCHED, _MARGIN = 4_096, 1_024
"""Characters of a label in which keys are looked for, and of them those that a key cut in two may
stand in, which are not kept."""
_REMEMBERED, _LONGEST_REMEMBERED = 4_096, 128
"""How many cleaned labels are remembered, up to which length."""
_PIECE, _CONTEXT, _TRIES = 16_384, 1_024, 16
"""Long content is redacted in pieces: their size, how far beyond a seam a key may reach, and how
many seams are tried."""
_LABELS = {
    name
    for row in (RequestRow, AttemptRow)
    for name, kind in columns(row).items()
    if Label in (kind, *get_args(kind))
}
# What a provider calls a code can be a sentence that quotes the request.
_WORD = re.compile(r"[\w.:/-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBuilder:
    """Builds rows under a content policy. Safe on several threads."""

    store: str
    """The policy of calls that have none of their own."""
    secrets: tuple[str, ...] = ()
    redactor: Callable[[Any], Any] | None = None
    """Given each payload's JSON data; what it returns is kept, None keeps nothing."""
    _remembered: Callable[[str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Labels repeat from call to call, and looking for keys is the dearest part of a row.
        object.__setattr__(self, "_remembered", lru_cache(maxsize=_REMEMBERED)(self._clean))

    def build(self, records: Sequence[Record]) -> Rows:
        """Return the rows of some records; a request that began and ended has one."""
        rows: Rows = []
        ended = {r.request.request_id for r in records if isinstance(r, RequestFinished)}
        for record in records:
            try:
                for row in self._rows(record, ended):
                    rows.append(row)
            except Exception as error:  # one odd record must not take the others with it
                reason = type(error).__name__
                events.emit(LEDGER_DROPPED, "error", reason=reason, rows=1)
        return rows

    def policy(self, request: RequestStarted) -> str:
        """Return the content policy in force for a call."""
        return request.store or self.store

    def _rows(self, record: Record, ended: set[str]) -> Iterator[tuple[str, Row]]:
        if isinstance(record, ConfigRow):
            yield "configs", self._config_row(record)
            return
        request = record if isinstance(record, RequestStarted) else record.request
        if isinstance(record, AttemptFinished):
            yield "attempts", self._attempt_row(record)
        elif isinstance(record, RequestFinished):
            yield "requests", self._request_row(request, record)
        elif request.request_id not in ended:
            yield "requests", self._request_row(request)
        if self.policy(request) == "full":
            number = record.attempt.number if isinstance(record, AttemptFinished) else None
            for kind, body in _contents(record):
                yield from self._payload(request, number, kind, body)

    def completed(self, found: Generation, at: float) -> Row:
        """Return the columns of an attempt that the provider's later record knows."""
        row = {
            "served_model": found.model,
            "upstream_provider": found.upstream_provider,
            "native_finish_reason": _word(found.native_finish_reason),
            "reconciled_at": at,
            **bill(found.usage, found.cost),
        }
        return {name: value for name, value in self._cleaned(row).items() if value is not None}

    def _config_row(self, seen: ConfigRow) -> Row:
        text = self._clean(seen.text)
        at = seen.first_seen_at.timestamp()
        return {"fingerprint": seen.fingerprint, "first_seen_at": at, "text": text}

    def _request_row(self, request: RequestStarted, end: RequestFinished | None = None) -> Row:
        row = {
            **_named(RequestRow, request),
            "id": request.request_id,
            "day": _day(request.started_at),
            "status": "started",
            "tags": {self._label(k): self._label(v) for k, v in request.tags.items()},
        }
        if end is not None:
            row |= _named(RequestRow, end) | _error(end.error) | _total(end.attempts)
            row["attempts"] = len(end.attempts)
        return self._cleaned(row)

    def _attempt_row(self, record: AttemptFinished) -> Row:
        request, attempt, answer = record.request, record.attempt, record.answer
        row = {
            **_named(AttemptRow, request, attempt, record),
            "id": f"{request.request_id}-{attempt.number}",
            "day": _day(attempt.started_at),
            "served_model": getattr(answer, "model", None),
            "finish_reason": getattr(answer, "finish_reason", None),
            "native_finish_reason": _word(getattr(answer, "native_finish_reason", None)),
            **_error(attempt.error),
            **bill(attempt.usage, attempt.cost),
        }
        if attempt.status_code is not None:
            row["status_code"] = attempt.status_code
        return self._cleaned(row)

    def _payload(
        self, request: RequestStarted, number: int | None, kind: str, body: Mapping[str, Any]
    ) -> Iterator[tuple[str, Row]]:
        attempt_id = None if number is None else f"{request.request_id}-{number}"
        identity = f"{attempt_id or request.request_id}-{kind}"
        text = self._body(body, identity)
        if text is not None:
            yield (
                "payloads",
                {
                    "id": identity,
                    "request_id": request.request_id,
                    "attempt_id": attempt_id,
                    "day": _day(request.started_at),
                    "kind": kind,
                    "body": text,
                },
            )

    def _body(self, body: Mapping[str, Any], identity: str) -> str | None:
        try:
            # Through JSON and back: what is then redacted is what will be stored, strings only.
            data = json.loads(json.dumps(body, default=_data))
            if self.redactor is not None:
                data = self.redactor(data)
            return None if data is None else json.dumps(self._redacted(data))
        except Exception as error:  # the redactor is the application's: it may raise anything
            reason = type(error).__name__
            events.emit(LEDGER_PAYLOAD_DROPPED, "error", reason=reason, id=identity)
            return None

    def _redacted(self, data: Any) -> Any:
        if data is None or isinstance(data, bool | int | float):
            return data
        if isinstance(data, Mapping):
            return {
                self._clean(str(name)): MASK
                if names_secret(str(name)) and value is not None
                else self._redacted(value)
                for name, value in data.items()
            }
        if isinstance(data, list | tuple):
            return [self._redacted(value) for value in data]
        return _in_pieces(str(data), lambda text: redact(text, self.secrets))

    def _cleaned(self, row: Row) -> Row:
        labels = {n: self._label(row[n]) for n in row.keys() & _LABELS if row[n] is not None}
        return row | labels

    def _label(self, value: Any) -> str:
        """Return a label without keys, short enough for any index."""
        text = str(value)
        if len(text) <= _LONGEST_REMEMBERED:
            return self._remembered(text)
        cleaned = self._clean(text[:_SEARCHED])
        return (cleaned if len(text) <= _SEARCHED else cleaned[:-_MARGIN])[:_LONGEST_LABEL]

    def _clean(self, text: str) -> str:
        """Return a text without keys, and without characters that PostgreSQL refuses."""
        return _storable(redact_keys(text, self.secrets))


def _named(row: type, *sources: Any) -> Row:
    """Return the columns of *row* that *sources* have under the same name; the last one wins."""
    return {
        name: getattr(source, name) for source in sources for name in _shared(row, source.__class__)
    }


@lru_cache
def _shared(row: Any, source: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(source) if f.name in columns(row))


def _total(attempts: Sequence[Attempt]) -> Row:
    usages = [a.usage for a in attempts if a.usage is not None]
    costs = [a.cost for a in attempts if a.cost is not None]
    return bill(Usage.sum(usages) if usages else None, Cost.sum(costs) if costs else None)


def _day(at: float) -> str:
    return _date(int(at // 86_400))


@lru_cache(maxsize=64)
def _date(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def _word(text: str | None) -> str | None:
    return text if text is not None and _WORD.fullmatch(text) else None


def _error(error: LLMRouterError | None) -> Row:
    if error is None:
        return {"error": None}
    code, status = _word(error.code), error.status_code
    return {"error": type(error).__name__, "error_code": code, "status_code": status}


def _contents(
    record: RequestStarted | AttemptFinished | RequestFinished,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the content of a record, by its kind; binary answers have none."""
    if isinstance(record, RequestStarted):
        yield "request", record.asked
        return
    answer = record.answer if isinstance(record, AttemptFinished) else None
    content = None if answer is None else answer.payload()
    if content is not None:
        yield "response", content
    error = record.attempt.error if isinstance(record, AttemptFinished) else record.error
    if error is not None:
        yield "error", _sentences(error)


def _sentences(error: LLMRouterError) -> Row:
    names = ("message", "upstream_message", "hint", "code", "raw", "raw_texts", "errors")
    found = {name: getattr(error, name, None) for name in names}
    return {"type": type(error).__name__, **{n: v for n, v in found.items() if v}}


def _data(value: Any) -> Any:
    """Return JSON data of what `json` does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    data = plain(value)
    return str(value) if data is value else data


def _in_pieces(text: str, clean: Callable[[str], str]) -> str:
    """Clean a text in pieces: a pattern lets no other thread run until it is through."""
    pieces, start = [], 0
    while start < len(text):
        end = _seam(text, start, clean)
        pieces.append(clean(text[start:end]))
        start = end
    return "".join(pieces)


def _seam(text: str, start: int, clean: Callable[[str], str]) -> int:
    """Return where a piece may end: between words, where nothing is cleaned away across it."""
    cut = end = start + _PIECE
    if end >= len(text):
        return len(text)
    for _ in range(_TRIES):
        cut = max(text.rfind(mark, start + _PIECE // 2, cut) for mark in ' \n"')
        if cut < 0:
            break
        left, right = text[cut - _CONTEXT : cut], text[cut : cut + _CONTEXT]
        if clean(left + right) == clean(left) + clean(right):
            return cut
    return end


def _storable(text: str) -> str:
    """Return text that both databases take: no U+0000, no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
