"""The events of llm_router: their names, their fields, and how they are emitted.

| event | when | fields |
|---|---|---|
| `llm_router.provider_selected` | a deployment is about to be tried | `request_id alias deployment provider model attempt` |
| `llm_router.attempt_finished` | an attempt ended, well or not | the above and `status error status_code upstream_provider response_id input_tokens output_tokens cost latency_ms` |
| `llm_router.request_finished` | a call ended | `request_id alias operation status error attempts input_tokens output_tokens cost latency_ms` |
| `llm_router.deployment_skipped` | a deployment was passed over, nothing was sent | `request_id alias deployment reason` |
| `llm_router.cooldown_started` | a deployment (or a provider's key) rests | `deployment reason seconds` |
| `llm_router.cooldown_ended` | it answered again | `deployment reason` |
| `llm_router.cache_lost` | of an alias's input less than half as much is read from caches as it was | `alias before now` (shares) |
| `llm_router.budget_warning` | a budget has less left than its `warn_at`, once a window | `budget who window limit left` |
| `llm_router.budget_exceeded` | it refused an attempt, once a window | the same |
| `llm_router.budget_unseeded` | the ledger could not say what was spent in its window: it begins anew | `budget reason` |
| `llm_router.state_lost` | the shared state does not answer: this process goes on alone, or refuses | `server on_loss reason` |
| `llm_router.state_back` | it answers again, and was told the bills it missed | `server bills` |
| `llm_router.close_failed` | something did not close; everything else did | `provider reason` |
| `llm_router.observer_failed` | an observer raised, for the first time; calls go on | `observer reason` |
| `llm_router.model_retiring` | a configured model may be removed within 30 days, or is; once a day | `deployment date days` (left; negative when past) |
| `llm_router.catalog_entry_unreadable` | a model's entry is of another shape: it is unknown | `model reason` |

`cost` is USD as decimal text, None when unknown. `llm_router.ledger_*` events report what the
ledger does; each has a `reason`.

They go to structlog where the application has configured it, else to the logger `llm_router` of
`logging`, a line each: the event and what is known as `name=value`, and all of it as
`record.llm_router`. Nothing is printed where neither is set up, and neither is ever configured
here. What failed is a WARNING or an ERROR, all else INFO. Content (prompts, answers) is never in
an event.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import logging
import re
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from llm_router.redaction import redact_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Level = Literal["info", "warning", "error"]
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_log = logging.getLogger("llm_router")
# Where nobody set logging up, Python itself would print warnings.
_log.addHandler(logging.NullHandler())
_PLAIN = re.compile(r"[\w./:@+-]{1,200}")

PROVIDER_SELECTED = "llm_router.provider_selected"
ATTEMPT_FINISHED = "llm_router.attempt_finished"
REQUEST_FINISHED = "llm_router.request_finished"
DEPLOYMENT_SKIPPED = "llm_router.deployment_skipped"
COOLDOWN_STARTED = "llm_router.cooldown_started"
COOLDOWN_ENDED = "llm_router.cooldown_ended"
CACHE_LOST = "llm_router.cache_lost"
BUDGET_WARNING = "llm_router.budget_warning"
BUDGET_EXCEEDED = "llm_router.budget_exceeded"
BUDGET_UNSEEDED = "llm_router.budget_unseeded"
STATE_LOST = "llm_router.state_lost"
STATE_BACK = "llm_router.state_back"
CLOSE_FAILED = "llm_router.close_failed"
OBSERVER_FAILED = "llm_router.observer_failed"
MODEL_RETIRING = "llm_router.model_retiring"
CATALOG_ENTRY_UNREADABLE = "llm_router.catalog_entry_unreadable"


def enabled(level: Level = "info") -> bool:
    """Return whether the application listens; build no fields when it does not."""
    return _structlog() is not None or _log.isEnabledFor(_LEVELS[level])


def emit(event: str, level: Level = "info", **fields: Any) -> None:
    """Emit *event* with *fields*, redacted, to what the application has set up. Never raises."""
    if not enabled(level):
        return
    structlog = _structlog()
    try:
        known = redact_data(fields)
        if structlog is not None:
            getattr(structlog.get_logger("llm_router"), level)(event, **known)
        else:
            _log.log(_LEVELS[level], "%s", _line(event, known), extra={"llm_router": known})
    except Exception as error:
        # A processor or a filter is the application's code; what it raises must not fail a call.
        name = "logging" if structlog is None else "structlog"
        with suppress(Exception):
            _log.warning("%s raised %s on %s", name, type(error).__name__, event)


@contextmanager
def hushed(logger: str) -> Iterator[None]:
    """Keep what *logger* says in this thread meanwhile out of the application's log."""
    here, log = threading.get_ident(), logging.getLogger(logger)

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    log.addFilter(from_elsewhere)
    try:
        yield
    finally:
        log.removeFilter(from_elsewhere)


def _structlog() -> Any:
    """Return structlog where the application has configured it.

    One that has not imported it has not, so importing it here (a fifth of a second) would be for
    nothing.
    """
    structlog = sys.modules.get("structlog")
    return structlog if structlog is not None and structlog.is_configured() else None


def _line(event: str, fields: Mapping[str, Any]) -> str:
    """Return one line; what would end it, or could be read as another field, stands quoted."""
    known = ((name, str(value)) for name, value in fields.items() if value is not None)
    shown = (f"{name}={text if _PLAIN.fullmatch(text) else repr(text)}" for name, text in known)
    return " ".join((event, *shown))
