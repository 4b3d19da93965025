"""The ladder of modes: how a deployment is asked for a schema, and what it has refused."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from llm_router.errors import (
    ContextWindowExceededError,
    InvalidRequestError,
    NoEndpointError,
    RequestTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llm_router.answers.models import ModelInfo
    from llm_router.config.model import ProviderConfig
    from llm_router.errors import ProviderError
    from llm_router.options.values import StructuredMode

LADDER: tuple[StructuredMode, ...] = ("json_schema", "tool", "json_object", "prompt")

_PARAMETER = {
    "json_schema": "structured_outputs",
    "tool": "tools",
    "json_object": "response_format",
}
_REFUSAL_LIFETIME = 3600.0
_MAX_REFUSALS = 2048
# Servers that compile any JSON Schema into a grammar: they need no strict subset, and bounds
# such as maxLength do bind there.
_GRAMMAR_SERVERS = frozenset(
    {"hosted_vllm", "vllm", "lm_studio", "llamafile", "ollama", "ollama_chat"}
)
# What LiteLLM's `response_format` becomes at Claude depends on the model, and may be a tool call
# that only LiteLLM turns back: a tool is asked for outright. Ollama cannot be made to call one.
_MODES: dict[str, tuple[StructuredMode, ...]] = {
    "anthropic": ("tool", "prompt"),
    "bedrock": ("tool", "prompt"),
    "ollama_chat": ("json_schema", "json_object", "prompt"),
}
_NO_ENDPOINT = re.compile(r"\bsupport|requested parameters", re.I)
_FORMAT_WORDS = (
    r"response.?format|json.?schema|json.?object|json.?mode|structured.?output|output.?config"
    r"|output.?format|response.?schema|response.?mime|grammar|schema"
)
_REFUSALS = {
    "json_schema": re.compile(_FORMAT_WORDS, re.I),
    "json_object": re.compile(_FORMAT_WORDS, re.I),
    "tool": re.compile(r"tool|function|" + _FORMAT_WORDS, re.I),
}
_SCHEMA_FAULT = re.compile(
    r"invalid.{0,12}schema|schema.{0,40}(invalid|too|exceed|not permitted|unsupported)|too complex"
    r"|schema (error|conversion)|nesting|not permitted|keyword|propert(y|ies)|\$ref|grammar",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What is known of how a deployment can be asked for a schema. None: nobody said."""

    supported_parameters: frozenset[str] | None = None
    """OpenRouter's catalogue entry for the model."""
    best_mode: StructuredMode | None = None
    """The configuration's word (`structured:` of a provider row); it wins over the catalogue."""
    any_schema: bool = False
    """Whether json_schema takes any JSON Schema there, not only the strict subset."""
    modes: tuple[StructuredMode, ...] = LADDER
    """What the provider's wire has a way for, best first."""

    @classmethod
    def of(cls, row: ProviderConfig, name: str, info: ModelInfo | None = None) -> Capabilities:
        """Return what is known of a model at the provider *row* called *name*."""
        kind = row.kind(name)
        supported = info.supported_parameters if info else None
        own_server = kind == "openai" and bool(row.base_url)
        modes = _MODES.get(kind, LADDER) if row.path == "native" else LADDER
        return cls(supported, row.structured, own_server or kind in _GRAMMAR_SERVERS, modes)

    @property
    def ladder(self) -> tuple[StructuredMode, ...]:
        """The modes to try, best first; all of them where nothing is known."""
        return _ladder(self.modes, self.supported_parameters, self.best_mode)

    @property
    def tool_choice(self) -> bool:
        """Whether one tool can be forced."""
        supported = self.supported_parameters
        return supported is None or "tool_choice" in supported


@lru_cache(maxsize=512)
def _ladder(
    modes: tuple[StructuredMode, ...],
    supported: frozenset[str] | None,
    best: StructuredMode | None,
) -> tuple[StructuredMode, ...]:
    if best is not None:
        return (best, *(m for m in LADDER[LADDER.index(best) + 1 :] if m in modes))
    if supported is None:
        return modes
    return tuple(m for m in modes if m not in _PARAMETER or _PARAMETER[m] in supported)


class ModeMemory:
    """Which modes each deployment refused: for all schemas, or for one. A Router owns one.

    Forgotten after an hour, since upstreams learn.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[tuple[str, str, str | None], float] = OrderedDict()

    def refuse(self, deployment: str, mode: StructuredMode, schema: str | None = None) -> None:
        """Remember a refusal; of the mode itself, or of one schema in that mode."""
        key = (deployment, mode, schema)
        self._until[key] = self._clock() + _REFUSAL_LIFETIME
        self._until.move_to_end(key)
        if len(self._until) > _MAX_REFUSALS:
            self._until.popitem(last=False)

    def is_refused(self, deployment: str, mode: StructuredMode, schema: str) -> bool:
        """Return whether *mode* was refused there, for this schema or for all."""
        if not self._until:
            return False
        keys = ((deployment, mode, None), (deployment, mode, schema))
        return any(self._until.get(key, 0.0) > self._clock() for key in keys)


def first_open(
    modes: Iterable[StructuredMode], is_closed: Callable[[StructuredMode], bool]
) -> StructuredMode:
    """Return the first mode that is not closed; the prompt is always open."""
    return next((mode for mode in modes if mode == "prompt" or not is_closed(mode)), "prompt")


def is_refusal(error: ProviderError, mode: StructuredMode) -> bool:
    """Return whether *error* says that the mode (not the rest of the request) is not served."""
    if mode == "prompt":
        return False
    if isinstance(error, NoEndpointError):
        return bool(_NO_ENDPOINT.search(error.message))
    if isinstance(error, ContextWindowExceededError | RequestTooLargeError):
        return False
    return isinstance(error, InvalidRequestError) and bool(_REFUSALS[mode].search(_words(error)))


def is_about_schema(error: ProviderError) -> bool:
    """Return whether a refusal is of this very schema, not of the mode."""
    return isinstance(error, InvalidRequestError) and bool(_SCHEMA_FAULT.search(_words(error)))


def _words(error: ProviderError) -> str:
    return f"{error.message} {error.upstream_message or ''} {error.code or ''}"
