"""From records to rows: what is kept of a call, and nothing that its content policy forbids.

`metadata` keeps names and figures: no prompt, no answer, and no sentence of an error, since
providers quote what they were sent. `full` keeps those too, as payloads. Keys are never kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.answers.answer import plain
from llm_router.answers.records import AttemptFinished, RequestFinished, RequestStarted
from llm_router.ledger.outage import LEDGER_DROPPED, LEDGER_PAYLOAD_DROPPED
from llm_router.redaction import redact_data, redact_keys
from llm_router.usage import Cost, Usage, format_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from llm_router.answers.answer import Attempt
    from llm_router.errors import LLMRouterError

Row = dict[str, Any]
"""One row by column name; JSON values only, money as decimal text."""
Rows = dict[str, list[Row]]
TABLES = ("configs", "requests", "attempts", "payloads")
_LABELS = (
    *("alias", "requested", "user", "deployment", "provider", "model", "served_model"),
    *("upstream_provider", "response_id", "error_code", "native_finish_reason"),
)
# What a provider calls a code can be a sentence that quotes the request.
_WORD = re.compile(r"[\w.:/-]{1,64}")


@dataclass(frozen=True, slots=True)
class ConfigSeen:
    """A configuration came into force."""

    fingerprint: str
    text: str
    at: float


Record = RequestStarted | AttemptFinished | RequestFinished | ConfigSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBuilder:
    """Builds rows under a content policy. Safe on several threads."""

    store: str
    """The policy of calls that have none of their own."""
    secrets: tuple[str, ...] = ()
    redactor: Callable[[Any], Any] | None = None
    """Given each payload's JSON data; what it returns is kept, None keeps nothing."""
    _label: Callable[[str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Labels repeat from call to call, and looking for keys is the dearest part of a row.
        object.__setattr__(self, "_label", lru_cache(maxsize=4_096)(self._clean))

    def build(self, records: Sequence[Record]) -> Rows:
        """Return the rows of some records; a request that began and ended has one."""
        rows: Rows = {name: [] for name in TABLES}
        ended = {r.request.request_id for r in records if isinstance(r, RequestFinished)}
        for record in records:
            try:
                self._add(record, rows, ended)
            except Exception as error:  # one odd record must not take the others with it
                reason = type(error).__name__
                events.emit(LEDGER_DROPPED, "error", reason=reason, rows=1)
        return rows

    def _add(self, record: Record, rows: Rows, ended: set[str]) -> None:
        if isinstance(record, RequestStarted):
            if record.request_id not in ended:
                rows["requests"].append(self._request_row(record))
            rows["payloads"] += self._request_payload(record)
        elif isinstance(record, AttemptFinished):
            rows["attempts"].append(self._attempt_row(record))
            rows["payloads"] += self._attempt_payloads(record)
        elif isinstance(record, RequestFinished):
            rows["requests"].append(self._request_row(record.request, record))
            rows["payloads"] += self._error_payload(record)
        else:
            rows["configs"].append(self._config_row(record))

    def policy(self, request: RequestStarted) -> str:
        """Return the content policy in force for a call."""
        return request.store or self.store

    def _config_row(self, seen: ConfigSeen) -> Row:
        text = self._clean(seen.text)
        return {"fingerprint": seen.fingerprint, "first_seen_at": seen.at, "text": text}

    def _request_row(self, request: RequestStarted, end: RequestFinished | None = None) -> Row:
        attempts = end.attempts if end else ()
        row = {
            "id": request.request_id,
            "day": _day(request.started_at),
            "started_at": request.started_at,
            "alias": request.alias,
            "requested": request.requested,
            "operation": request.operation,
            "stream": request.stream,
            "status": end.status if end else "started",
            **_error(end.error if end else None),
            "attempts": len(attempts) if end else None,
            "latency_ms": end.latency_ms if end else None,
            "user": request.user,
            "tags": {self._label(str(k)): self._label(str(v)) for k, v in request.tags.items()},
            "config_fingerprint": request.config_fingerprint,
            **_total(attempts),
        }
        return self._cleaned(row)

    def _attempt_row(self, record: AttemptFinished) -> Row:
        request, attempt, answer = record.request, record.attempt, record.answer
        row = {
            "id": f"{request.request_id}-{attempt.number}",
            "request_id": request.request_id,
            "number": attempt.number,
            "day": _day(attempt.started_at),
            "started_at": attempt.started_at,
            "alias": request.alias,
            "deployment": attempt.deployment,
            "provider": attempt.provider,
            "model": attempt.model,
            "served_model": answer.model if answer else None,
            "upstream_provider": attempt.upstream_provider,
            "response_id": attempt.response_id,
            "stream": request.stream,
            "mode_used": record.mode_used,
            "status": attempt.status,
            **_error(attempt.error),
            **({} if attempt.status_code is None else {"status_code": attempt.status_code}),
            "finish_reason": getattr(answer, "finish_reason", None),
            "native_finish_reason": _word(getattr(answer, "native_finish_reason", None)),
            "latency_ms": attempt.latency_ms,
            "time_to_first_token_ms": attempt.time_to_first_token_ms,
            "reconciled_at": None,
            **bill(attempt.usage, attempt.cost),
        }
        return self._cleaned(row)

    def _request_payload(self, request: RequestStarted) -> Iterator[Row]:
        if self.policy(request) == "full":
            yield from self._payload(request, None, "request", request.asked)

    def _attempt_payloads(self, record: AttemptFinished) -> Iterator[Row]:
        if self.policy(record.request) != "full":
            return
        number, error = record.attempt.number, record.attempt.error
        content = record.answer.payload() if record.answer else None
        if content is not None:
            yield from self._payload(record.request, number, "response", content)
        if error is not None:
            yield from self._payload(record.request, number, "error", _sentences(error))

    def _error_payload(self, record: RequestFinished) -> Iterator[Row]:
        if self.policy(record.request) == "full" and record.error is not None:
            yield from self._payload(record.request, None, "error", _sentences(record.error))

    def _payload(
        self, request: RequestStarted, number: int | None, kind: str, body: Mapping[str, Any]
    ) -> Iterator[Row]:
        attempt_id = None if number is None else f"{request.request_id}-{number}"
        identity = f"{attempt_id or request.request_id}-{kind}"
        try:
            text = self._body(body)
        except Exception as error:  # the redactor is the application's: it may raise anything
            reason = type(error).__name__
            events.emit(LEDGER_PAYLOAD_DROPPED, "error", reason=reason, id=identity)
            return
        if text is not None:
            yield {
                "id": identity,
                "request_id": request.request_id,
                "attempt_id": attempt_id,
                "day": _day(request.started_at),
                "kind": kind,
                "body": text,
            }

    def _body(self, body: Mapping[str, Any]) -> str | None:
        # Through JSON and back: what is then redacted is what will be stored, strings only.
        data = json.loads(json.dumps(body, default=_data))
        if self.redactor is not None:
            data = self.redactor(data)
        if data is None:
            return None
        return json.dumps(self._without_keys_as_names(redact_data(data, self.secrets)), default=str)

    def _without_keys_as_names(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {
                self._clean(str(name)): self._without_keys_as_names(value)
                for name, value in data.items()
            }
        if isinstance(data, list):
            return [self._without_keys_as_names(value) for value in data]
        return data

    def _cleaned(self, row: Row) -> Row:
        for name in _LABELS:
            value = row.get(name)
            if value is not None:
                row[name] = self._label(str(value))
        return row

    def _clean(self, text: str) -> str:
        """Return a label without keys, and without characters that PostgreSQL refuses."""
        return _storable(redact_keys(text, self.secrets))


def bill(usage: Usage | None, cost: Cost | None) -> Row:
    """Return the columns of a bill; None where nobody said."""
    usage, cost_source = usage or _NO_USAGE, cost.source if cost else None
    cost = cost or _NO_COST
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_total": _usd(cost.total),
        "cost_reported": _usd(cost.reported),
        "cost_upstream": _usd(cost.upstream),
        "cost_computed": _usd(cost.computed),
        "cost_source": cost_source,
        "is_byok": cost.is_byok,
    }


_NO_USAGE, _NO_COST = Usage(), Cost()


def count(rows: Rows) -> int:
    return sum(map(len, rows.values()))


def flat(rows: Rows) -> list[tuple[str, Row]]:
    return [(table, row) for table, found in rows.items() for row in found]


def grouped(pairs: Iterable[tuple[str, Row]]) -> Rows:
    rows: Rows = {}
    for table, row in pairs:
        rows.setdefault(table, []).append(row)
    return rows


def joined(first: Rows, second: Rows) -> Rows:
    return grouped([*flat(first), *flat(second)]) if first else second


def halves(rows: Rows) -> tuple[Rows, Rows]:
    pairs = flat(rows)
    middle = len(pairs) // 2
    return grouped(pairs[:middle]), grouped(pairs[middle:])


def _total(attempts: Sequence[Attempt]) -> Row:
    usages = [a.usage for a in attempts if a.usage is not None]
    costs = [a.cost for a in attempts if a.cost is not None]
    return bill(Usage.sum(usages) if usages else None, Cost.sum(costs) if costs else None)


def _day(at: float) -> str:
    return _date(int(at // 86_400))


@lru_cache(maxsize=64)
def _date(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def _usd(amount: Any) -> str | None:
    return None if amount is None else format_usd(amount)


def _word(text: str | None) -> str | None:
    return text if text is not None and _WORD.fullmatch(text) else None


def _error(error: LLMRouterError | None) -> Row:
    if error is None:
        return {"error": None, "error_code": None, "status_code": None}
    code, status = _word(error.code), error.status_code
    return {"error": type(error).__name__, "error_code": code, "status_code": status}


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


def _storable(text: str) -> str:
    """Return text that both databases take: no U+0000, no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
