"""The structlog events of llm_router: their names, their fields, and how they are emitted.

| event | when | fields |
|---|---|---|
| `llm_router.provider_selected` | a deployment is about to be tried | `request_id alias deployment provider model attempt` |
| `llm_router.attempt_finished` | an attempt ended, well or not | the above and `status error status_code upstream_provider response_id input_tokens output_tokens cost latency_ms` |
| `llm_router.request_finished` | a call ended | `request_id alias operation status error attempts input_tokens output_tokens cost latency_ms` |
| `llm_router.deployment_skipped` | a deployment was passed over, nothing was sent | `request_id alias deployment reason` |
| `llm_router.cooldown_started` | a deployment (or a provider's key) rests | `deployment reason seconds` |
| `llm_router.cooldown_ended` | it answered again | `deployment reason` |
| `llm_router.cache_lost` | of an alias's input less than half as much is read from caches as it was | `alias before now` (shares) |
| `llm_router.close_failed` | something did not close; everything else did | `provider reason` |
| `llm_router.observer_failed` | an observer raised, for the first time; calls go on | `observer reason` |
| `llm_router.model_retiring` | a configured model may be removed within 30 days, or is; once a day | `deployment date days` (left; negative when past) |
| `llm_router.catalog_entry_unreadable` | a model's entry is of another shape: it is unknown | `model reason` |

`cost` is USD as decimal text, None when unknown. `llm_router.ledger_*` events report what the
ledger does; each has a `reason`.

Events go out only when the application has configured structlog: unconfigured structlog prints,
and a library never prints. Content (prompts, answers) is never in an event.
"""  # noqa: E501 - a table row is one line

from __future__ import annotations

import logging
import sys
from typing import Any

from llm_router.redaction import redact_data

PROVIDER_SELECTED = "llm_router.provider_selected"
ATTEMPT_FINISHED = "llm_router.attempt_finished"
REQUEST_FINISHED = "llm_router.request_finished"
DEPLOYMENT_SKIPPED = "llm_router.deployment_skipped"
COOLDOWN_STARTED = "llm_router.cooldown_started"
COOLDOWN_ENDED = "llm_router.cooldown_ended"
CACHE_LOST = "llm_router.cache_lost"
CLOSE_FAILED = "llm_router.close_failed"
OBSERVER_FAILED = "llm_router.observer_failed"
MODEL_RETIRING = "llm_router.model_retiring"
CATALOG_ENTRY_UNREADABLE = "llm_router.catalog_entry_unreadable"


def enabled() -> bool:
    """Return whether the application listens; build no fields when it does not.

    An application that has not imported structlog has not configured it, so importing it here
    (a fifth of a second) would be for nothing.
    """
    structlog = sys.modules.get("structlog")
    return structlog is not None and bool(structlog.is_configured())


def emit(event: str, level: str = "info", **fields: Any) -> None:
    """Emit *event* with *fields*, redacted, to the structlog of the application. Never raises."""
    if not enabled():
        return
    try:
        log = sys.modules["structlog"].get_logger("llm_router")
        getattr(log, level)(event, **redact_data(fields))
    except Exception as error:
        # A processor is the application's code; what it raises must not fail a paid call.
        reason = type(error).__name__
        logging.getLogger("llm_router").warning("structlog raised %s on %s", reason, event)
