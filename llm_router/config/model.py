"""RouterConfig: the frozen configuration a Router runs on.

Where it comes from (YAML with file:line, a dict, the environment) is `loading`'s business;
what is wrong in it as a whole is found by `checks`.
Built in code it is the same object: `RouterConfig(aliases={"fast": AliasConfig(model="…")})`.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from llm_router.errors import KINDS, ConfigurationError, NextStep
from llm_router.options.openrouter import openrouter_problems
from llm_router.options.reasoning import normalise_reasoning
from llm_router.options.request import PARAM_NAMES, Deployment, did_you_mean
from llm_router.redaction import MASK, redact_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OPENROUTER_BASE_URL = "https://openrouter.ai/api/v1"


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would read `true` as 1
        raise ValueError("must be a number")
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_boolean)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_no_boolean)]
Attempts = Annotated[int, Field(ge=1, le=100), BeforeValidator(_no_boolean)]
Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_boolean)]
StructuredMode = Literal["json_schema", "tool", "json_object", "prompt"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Defaults(_Part):
    """Limits of every call; an alias or a call may set its own."""

    timeout: Seconds = 120.0
    """For one attempt."""
    deadline: Seconds = 300.0
    """For the whole call; a stream until its first content."""
    idle_timeout: Seconds = 60.0
    """Between two data events of a stream."""
    max_attempts: Attempts = 4
    """Requests one call may send: the first, retries, fallbacks and re-asks together."""
    provider: str | None = None
    """The provider row for models whose prefix names none; `LLM_ROUTER_PROVIDER` wins over it."""


class AppConfig(_Part):
    """How the application is named in OpenRouter's rankings; `title` needs `url`."""

    title: str | None = None
    url: str | None = None
    categories: tuple[str, ...] = ()


class PriceConfig(_Part):
    """USD per million tokens."""

    input: Price
    output: Price
    cache_read: Price | None = None
    cache_write: Price | None = None


class ProviderConfig(_Part):
    """A provider row: who serves, where, with which key."""

    litellm: str | None = None
    """LiteLLM's name for the provider; the row's own name when absent."""
    api_key: SecretStr | None = None
    """None: no key needed (OpenRouter always needs one). Empty: not set, an error at the call."""
    api_key_env: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """The variable the key came from, for error messages. Not a key of the file."""
    base_url: str | None = None
    app: AppConfig = AppConfig()
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Sent with every request."""
    path: Literal["native", "acompletion"] = "native"
    """OpenRouter only: "native" reads the wire itself, "acompletion" goes all through LiteLLM."""
    concurrency: Count | None = None
    """At most so many calls at once for each of its models; others wait in order."""
    structured: StructuredMode | None = None
    """The best way this provider serves a schema, where it is known."""
    prices: dict[str, PriceConfig] = Field(default_factory=dict)
    """By model; makes `cost.total` a local figure for providers that report none."""

    @property
    def key(self) -> str:
        """The key in clear; "" where none is set."""
        return self.api_key.get_secret_value() if self.api_key else ""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http:// or https:// URL")
        if url.username or url.password:
            raise ValueError("carries no user or password: the key goes into api_key")
        return value.rstrip("/")


def _checked_openrouter(value: dict[str, Any]) -> dict[str, Any]:
    problems = list(openrouter_problems(value))
    if problems:
        raise ValueError("; ".join(problems))
    return value


class FallbackConfig(_Part):
    """A fallback with options of its own; a plain string takes the alias's."""

    model: str
    params: dict[str, Any] | None = None
    openrouter: dict[str, Any] | None = None

    @field_validator("openrouter")
    @classmethod
    def _known_openrouter(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else _checked_openrouter(value)


class CacheConfig(_Part):
    """How long an explicit cache breakpoint lives, where the provider lets one choose."""

    ttl: Literal["5m", "1h"]


class AliasConfig(_Part):
    """What an alias means: a model, its parameters, and what to try when it fails."""

    model: str
    params: dict[str, Any] = Field(default_factory=dict)
    openrouter: dict[str, Any] = Field(default_factory=dict)
    fallbacks: tuple[str | FallbackConfig, ...] = ()
    timeout: Seconds | None = None
    deadline: Seconds | None = None
    idle_timeout: Seconds | None = None
    max_attempts: Attempts | None = None
    on_error: dict[str, NextStep] = Field(default_factory=dict)
    """What an error does next, by kind: {content_filter: next}."""
    concurrency: Count | None = None
    """At most so many calls at once; others wait in order."""
    structured: StructuredMode | None = None
    """A fixed way to ask for a schema; None lets `parse` choose."""
    cache: Literal["auto", "off"] | CacheConfig = "off"
    """Prompt-cache breakpoints where the provider needs them."""
    store: Literal["none", "metadata", "full"] | None = None
    """What the ledger keeps of this alias's calls."""

    @field_validator("params")
    @classmethod
    def _known_params(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in PARAM_NAMES:
                raise ValueError(f"unknown parameter {name!r}{did_you_mean(name, PARAM_NAMES)}")
        try:
            normalise_reasoning(value.get("reasoning"), value.get("max_tokens"))
        except TypeError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("openrouter")
    @classmethod
    def _known_openrouter(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _checked_openrouter(value)

    @field_validator("on_error")
    @classmethod
    def _known_kinds(cls, value: dict[str, NextStep]) -> dict[str, NextStep]:
        for name in value:
            if name not in KINDS:
                raise ValueError(f"unknown kind of error {name!r}{did_you_mean(name, KINDS)}")
        return value


class RetentionConfig(_Part):
    """How many whole UTC days things are kept; None keeps them for ever."""

    payloads_days: Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)] | None = None
    """Prompts, answers and error texts."""
    rows_days: Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)] | None = None
    """Requests and attempts, their payloads with them."""


class LedgerConfig(_Part):
    """Where every attempt is recorded."""

    url: str = Field(default="sqlite:///llm_router.db", repr=False)
    """`sqlite:///file.db` or `postgresql://…`."""
    store: Literal["none", "metadata", "full"] = "metadata"
    """What is kept of a call: nothing at all; names and figures; the content too."""
    durability: Literal["batched", "strict"] = "batched"
    """`strict`: a call returns after its rows are committed."""
    flush_interval: Annotated[Seconds, Field(le=60)] = 0.2
    """Seconds between two commits when batched: the most that a killed process loses."""
    spool: str | None = None
    """A file for records while the database is away; None: beside a SQLite file, else in the
    user's state folder."""
    retention: RetentionConfig = RetentionConfig()

    @field_validator("url")
    @classmethod
    def _is_kept(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if scheme not in ("sqlite", "postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError("must be a sqlite:/// or postgresql:// URL")
        if scheme == "sqlite" and rest in ("", "/", "/:memory:"):
            raise ValueError("a ledger in memory is lost at exit: name a file, sqlite:///calls.db")
        return value


class Sections(_Part):
    """The sections of a configuration; `RouterConfig` is what they become."""

    version: Literal[1] = 1
    defaults: Defaults = Defaults()
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)
    aliases: dict[str, AliasConfig] = Field(default_factory=dict)
    ledger: LedgerConfig | None = None
    """None, `none` in a file: nothing is recorded."""
    source: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """Where it was read from, for messages. Not a key of the file."""

    @field_validator("ledger", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == "none" else value


class RouterConfig(Sections):
    """Everything a Router needs to know. Raises ConfigurationError when it is built wrongly."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = tuple(
                f"{_dotted(e['loc'])}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors()
            )
            raise ConfigurationError("; ".join(problems), problems=problems) from None

    def model_post_init(self, _context: Any) -> None:
        """OpenRouter is always there; without a row it has no key."""
        row = ProviderConfig(api_key_env="OPENROUTER_API_KEY")
        self.providers.setdefault("openrouter", row)

    @property
    def text(self) -> str:
        """The configuration in force as JSON text, keys of the file only, without secrets."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for row in data.get("providers", {}).values():
            row.update({"headers": dict.fromkeys(row["headers"], MASK)} if "headers" in row else {})
        return json.dumps(redact_data(data), indent=1, sort_keys=True, default=str)

    @property
    def fingerprint(self) -> str:
        """A short hash of `text`: two records with the same one ran on the same configuration."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def with_ledger(self, ledger: LedgerConfig | None) -> RouterConfig:
        """Return the same configuration, recorded elsewhere or not at all."""
        return self.model_copy(update={"ledger": ledger})

    def deployments(self, alias: str) -> tuple[Deployment, ...]:
        """Return what serves *alias*, in order, each deployment once; KeyError when unknown."""
        found: dict[str, Deployment] = {}
        for deployment in self._expand(alias):
            found.setdefault(deployment.name, deployment)
        return tuple(found.values())

    def _expand(self, alias: str) -> Iterator[Deployment]:
        """Walk depth first, each alias once: a second visit could only repeat deployments."""
        seen = {alias}
        stack = [choices(self.aliases[alias])]
        while stack:
            choice = next(stack[-1], None)
            if choice is None:
                stack.pop()
            elif "/" in choice[0]:
                yield self.split(*choice)
            elif choice[0] not in seen:
                seen.add(choice[0])
                stack.append(choices(self.aliases[choice[0]]))

    def split(
        self,
        model: str,
        params: Mapping[str, Any] | None = None,
        openrouter: Mapping[str, Any] | None = None,
    ) -> Deployment:
        """Return the deployment that `provider/model` names; KeyError for an unknown prefix."""
        prefix, _, name = model.partition("/")
        if prefix not in self.providers:
            if self.defaults.provider is None:
                raise KeyError(prefix)
            prefix, name = self.defaults.provider, model
        return Deployment(
            provider=prefix, model=name, params=params or {}, openrouter=openrouter or {}
        )


def choices(row: AliasConfig) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield what an alias may be served by, in order: name, params, openrouter."""
    yield row.model, row.params, row.openrouter
    for item in row.fallbacks:
        if isinstance(item, str):
            yield item, row.params, row.openrouter
        else:
            params = row.params if item.params is None else item.params
            yield item.model, params, row.openrouter if item.openrouter is None else item.openrouter


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path) or "configuration"
