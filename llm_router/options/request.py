"""What is asked: the options of a call, and one call as a provider gets it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar

from llm_router.answers.completion import Completion
from llm_router.errors import ConfigurationError
from llm_router.options.values import StorePolicy, check_values, elsewhere
from llm_router.redaction import Secret

if TYPE_CHECKING:
    from decimal import Decimal

Message = Mapping[str, Any]
Prompt = str | Sequence[Message | Completion]
"""Text, or chat messages of the OpenAI shape, in which an answer is its own message."""
CachePolicy = Literal["off", "auto", "5m", "1h"]
Q = TypeVar("Q")


class Params(TypedDict, total=False):
    """Parameters of the model, by their OpenAI names. None means: not given."""

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    top_a: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Any] | None
    tool_choice: str | Mapping[str, Any] | Callable[..., Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    reasoning: str | int | Mapping[str, Any] | None
    verbosity: str | None
    modalities: Sequence[str] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    service_tier: str | None
    web_search_options: Mapping[str, Any] | None
    metadata: Mapping[str, str] | None


class CommonOptions(TypedDict, total=False):
    """Keyword-only options of every operation.

    A misspelt one is a TypeError. An option given here wins over the alias's own.
    """

    openrouter: Mapping[str, Any] | None
    """OpenRouter's own options (`provider`, `models`, `plugins`, …); other providers ignore it."""
    extra_body: Mapping[str, Any] | None
    """Put into the request body as it is, for what has no name here yet."""
    tags: Mapping[str, str] | None
    """Yours, for the ledger's reports; never sent."""
    user: str | None
    """An id of your end user; sent as `user`."""
    store: StorePolicy | None
    """What the ledger keeps of this call: "none", "metadata" or "full"."""
    provider: str | None
    """The provider row for a model whose prefix names none."""
    timeout: float | None
    """Seconds for one attempt."""
    deadline: float | None
    """Seconds for the whole call (a stream: until its first content), retries included."""
    session: str | None
    """A name of your conversation: OpenRouter keeps it at the upstream that has it cached."""
    api_key: str | None
    """Sent in place of the row's key, to the alias's first provider alone, and kept nowhere."""
    max_attempts: int | None
    """How many requests the call may send, retries, fallbacks and re-asks together; `embed` for
    each batch of texts."""
    max_cost: Decimal | str | float | None
    """USD for the whole call: an attempt that could pass it is not sent."""


class CallOptions(Params, CommonOptions, total=False):
    """All keyword-only options of `complete`, `parse` and `stream`."""

    system: str | None
    """Put before the messages as the system message."""
    params: Mapping[str, Any] | None
    """Parameters together, as a mapping; single keywords win over it."""
    cache: str | Mapping[str, str] | None
    """Prompt-cache breakpoints: "auto", "off", or {"ttl": "5m" | "1h"}."""
    idle_timeout: float | None
    """Seconds between two data events of a stream, after its first content."""


PARAM_NAMES = frozenset(Params.__annotations__)
COMMON_NAMES = frozenset(CommonOptions.__annotations__)
OPTION_NAMES = frozenset(CallOptions.__annotations__)
_RESERVED = frozenset({"model", "messages", "stream"})


def check_options(method: str, given: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raise TypeError for a name that is not *allowed*, naming the nearest, or for a value of
    another type than its name's; ValueError for a value that its name cannot have."""
    for name in given:
        if name not in allowed:
            hint = elsewhere(name) or did_you_mean(name, allowed)
            raise TypeError(f"{method} got an unexpected keyword argument {name!r}{hint}")
    if given:
        check_values(given)
        conceal(given)


def conceal(options: Any) -> None:
    """Turn the key among a call's *options* into a Secret, in place: tracebacks show locals."""
    if options.get("api_key") is not None:
        options["api_key"] = Secret(options["api_key"])


def refuse_ours(given: Collection[str]) -> None:
    """Raise ConfigurationError where options of the caller name what the call itself decides."""
    if taken := _RESERVED.intersection(given):
        raise ConfigurationError(
            f"{sorted(taken)[0]!r} cannot be set through extra_body or openrouter: "
            "it is decided by the call itself"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'fast'?`, or nothing when no known name is near."""
    near = difflib.get_close_matches(name, [str(item) for item in known], 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model at a provider, with what the alias says about it."""

    provider: str
    """The name of the provider row."""
    model: str
    """The model as the provider is asked for it, without the row's prefix."""
    params: Mapping[str, Any] = field(default_factory=dict)
    openrouter: Mapping[str, Any] = field(default_factory=dict)
    api_key: Secret | None = field(default=None, repr=False)
    """The call's own key; None where the row's is sent."""

    @property
    def name(self) -> str:
        """`provider/model`: how configuration, errors and records name it."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One attempt as an adapter gets it: everything decided, nothing left to look up."""

    deployment: Deployment
    messages: Sequence[Message]
    params: Mapping[str, Any] = field(default_factory=dict)
    """Only names of `Params`, no None, alias and call merged."""
    openrouter: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    user: str | None = None
    stream: bool = False
    cache: CachePolicy = "off"
    """Where the provider wants explicit cache breakpoints: put none, put them, with a lifetime."""
    stick: float | None = None
    """Seconds for which a session stays with the upstream that had it cached; None: not."""
    answering: Callable[[str], None] | None = None
    """Told the answer's id with its headers: what is lost on its way is billed all the same."""

    @property
    def model(self) -> str:
        return self.deployment.model

    @property
    def prompt(self) -> Any:
        """Everything that the model reads as tokens."""
        return self.messages, self.params.get("tools"), self.params.get("response_format")

    @property
    def output_limit(self) -> int | None:
        """The most tokens of the answer; None where nothing limits it."""
        return self.params.get("max_completion_tokens") or self.params.get("max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest(Generic[Q]):
    """One attempt of an operation beside chat as an adapter gets it."""

    deployment: Deployment
    question: Q
    openrouter: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    user: str | None = None
    answering: Callable[[str], None] | None = None

    @property
    def model(self) -> str:
        return self.deployment.model

    @property
    def prompt(self) -> Any:
        """Everything that the model reads as tokens."""
        asked: Any = self.question  # a dataclass, which no TypeVar can say
        return [getattr(asked, one.name) for one in fields(asked)]

    @property
    def output_limit(self) -> int:
        """What comes is counted by units of its own."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPreview:
    """What would be sent: for `explain`, with secrets masked."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    method: Literal["POST"] = "POST"
