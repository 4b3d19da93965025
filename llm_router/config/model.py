"""RouterConfig: the frozen configuration a Router runs on.

Where it comes from (YAML with file:line, a dict, the environment) is `loading`'s business;
what is wrong in it as a whole is found by `checks`.
Built in code it is the same object: `RouterConfig(aliases={"fast": AliasConfig(model="…")})`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    field_serializer,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from llm_router.config.checks import check
from llm_router.config.findings import explain, refusal, sentence
from llm_router.errors import KINDS, NextStep
from llm_router.options.request import PARAM_NAMES, Deployment, did_you_mean
from llm_router.options.values import MOST_ATTEMPTS, StructuredMode
from llm_router.redaction import MASK, Secret, redact_data

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

OPENROUTER_BASE_URL = "https://openrouter.ai/api/v1"
_PLACE = re.compile(r"[\w.-]{1,255}(:\d{1,5})?/[\w.-]{1,64}")
_SPAN = re.compile(r"(\d{1,6})([smh])")
_REGION = re.compile(r"[a-z]{1,20}(-[a-z0-9]{1,20}){0,4}")


class ApiKey(SecretStr):
    """A key that came, or should have come, from an environment variable.

    No pickle holds it: where one is read, that variable is looked up again.
    """

    def __init__(self, secret_value: str, variable: str | None = None) -> None:
        super().__init__(Secret(secret_value))
        self.variable = variable

    def __reduce__(self) -> Any:
        return _key_of_the_environment, (self.variable,)

    def __deepcopy__(self, _memo: Any) -> ApiKey:
        return self


def _key_of_the_environment(variable: str | None) -> ApiKey:
    return ApiKey(os.environ.get(variable, "") if variable else "", variable)


class DatabaseUrl(Secret):
    """A database's URL; of a server's its place is shown where it is one beyond doubt."""

    __slots__ = ()

    def shown(self) -> str:
        scheme, mark, rest = self.partition("://")
        if scheme == "sqlite":
            return str(self)
        _, at, place = rest.rpartition("@")
        # A password can have any shape, and stand anywhere.
        return f"{scheme}{mark}{MASK}{f'@{place}' if at and _PLACE.fullmatch(place) else ''}"


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would read `true` as 1
        raise ValueError("must be a number")
    return value


def _as_seconds(value: Any) -> Any:
    if isinstance(value, str) and (found := _SPAN.fullmatch(value)):
        return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
    return _no_boolean(value)


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_boolean)]
Span = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False),
    BeforeValidator(_as_seconds, json_schema_input_type=float | str),
]
"""Seconds, or a text such as `30m` and `1h`."""
Count = Annotated[int, Field(ge=1), BeforeValidator(_no_boolean)]
Attempts = Annotated[int, Field(ge=1, le=MOST_ATTEMPTS), BeforeValidator(_no_boolean)]
Days = Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)]
Price = Annotated[Decimal, Field(ge=0, lt=10**9, allow_inf_nan=False), BeforeValidator(_no_boolean)]


def _one_of(what: str, known: Collection[str]) -> AfterValidator:
    def check_name(name: str) -> str:
        if name not in known:
            raise sentence(f"unknown {what}: {name!r}{did_you_mean(name, known)}")
        return name

    return AfterValidator(check_name)


def _listed(known: Collection[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": sorted(known)})


ParamName = Annotated[str, _one_of("parameter", PARAM_NAMES), _listed(PARAM_NAMES)]
ErrorKind = Annotated[str, _one_of("key", KINDS), _listed(KINDS)]


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
    """LiteLLM's name for the kind of provider; the row's own name when absent."""
    api_key: SecretStr | None = None
    """None: no key needed (OpenRouter always needs one). Empty: not set, an error at the call."""
    base_url: str | None = None
    """None: the provider's own address. OpenRouter's key of the environment goes nowhere else."""
    api_version: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d(-preview)?$")] | None = None
    """Azure only: the date of the API version, `2024-10-21` or `2025-04-01-preview`."""
    region: str | None = None
    """Bedrock and Vertex AI only: `us-east-1`, `europe-west1`. Without it Bedrock's is that of
    `base_url`, or of AWS_REGION or AWS_DEFAULT_REGION."""
    app: AppConfig = AppConfig()
    headers: dict[str, Annotated[str, AfterValidator(Secret)]] = Field(default_factory=dict)
    """Sent with every request; their values are shown nowhere."""
    path: Literal["native", "acompletion"] = "native"
    """"native": the wire itself is read where it is known. "acompletion": all through LiteLLM."""
    concurrency: Count | None = None
    """At most so many calls at once for each of its models; others wait in order."""
    requests_per_minute: Count | None = None
    """For each of its models, spread evenly; others wait in order."""
    tokens_per_minute: Count | None = None
    """Input and output, for each of its models; estimated before and put right afterwards."""
    structured: StructuredMode | None = None
    """The best way this provider serves a schema, where it is known."""
    prices: dict[str, PriceConfig] = Field(default_factory=dict)
    """By model; makes `cost.total` a local figure for providers that report none."""
    trusted: bool = False
    """Whether it may be asked under a `policy`, which only OpenRouter can be told."""

    @property
    def key(self) -> Secret:
        """The key; "" where none is set: a blank one counts as unset."""
        key = self.api_key.get_secret_value() if self.api_key else ""
        return Secret(key if key.strip() else "")

    def kind(self, name: str) -> str:
        """Return what kind of provider the row called *name* is, by LiteLLM's name for it."""
        return self.litellm or name

    @field_validator("api_key")
    @classmethod
    def _is_in_no_pickle(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or isinstance(value, ApiKey):
            return value
        return ApiKey(value.get_secret_value())

    @field_validator("region")
    @classmethod
    def _is_part_of_a_host(cls, value: str | None) -> str | None:
        if value is not None and not _REGION.fullmatch(value):
            raise ValueError("must be a region such as us-east-1")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http:// or https:// URL")
        if url.port == 0:  # reading it raises ValueError for a port that is none
            raise ValueError("Port out of range 1-65535")
        if url.username or url.password:
            raise ValueError("carries no user or password: the key goes into api_key")
        return value.rstrip("/")

    @field_serializer("headers", when_used="json")
    def _mask(self, headers: dict[str, str]) -> dict[str, str]:
        return dict.fromkeys(headers, MASK)


class FallbackConfig(_Part):
    """A fallback with options of its own; a plain string takes the alias's."""

    model: str
    params: dict[ParamName, Any] | None = None
    openrouter: dict[str, Any] | None = None


class CacheConfig(_Part):
    """How long an explicit cache breakpoint lives, where the provider lets one choose."""

    ttl: Literal["5m", "1h"]


class AliasConfig(_Part):
    """What an alias means: a model, its parameters, and what to try when it fails."""

    model: str
    params: dict[ParamName, Any] = Field(default_factory=dict)
    openrouter: dict[str, Any] = Field(default_factory=dict)
    fallbacks: tuple[str | FallbackConfig, ...] = ()
    timeout: Seconds | None = None
    deadline: Seconds | None = None
    idle_timeout: Seconds | None = None
    max_attempts: Attempts | None = None
    on_error: dict[ErrorKind, NextStep] = Field(default_factory=dict)
    """What an error does next, by kind: {content_filter: next}."""
    concurrency: Count | None = None
    """At most so many calls at once; others wait in order."""
    requests_per_minute: Count | None = None
    """Attempts, spread evenly; others wait in order."""
    tokens_per_minute: Count | None = None
    """Input and output of its attempts; estimated before and put right afterwards."""
    structured: StructuredMode | None = None
    """A fixed way to ask for a schema; None lets `parse` choose."""
    cache: Literal["auto", "off"] | CacheConfig = "off"
    """Prompt-cache breakpoints where the provider needs them, and a session a conversation."""
    stick: Span | None = None
    """How long (`1h`) a session stays at the OpenRouter upstream that served it from its cache."""
    store: Literal["none", "metadata", "full"] | None = None
    """What the ledger keeps of this alias's calls."""
    batch_size: Count | None = None
    """Of `embed`: how many texts a request has at most (96); fewer once an upstream says so."""


class BudgetConfig(_Part):
    """Money that may be spent in a window, reserved before each attempt."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[^|]+$")]
    scope: Annotated[str, Field(pattern=r"^(all|alias|user|tag:.+)$")] = "all"
    """One budget over all calls, or one for each alias, user, or value of a tag."""
    usd: Annotated[Price, Field(gt=0)]
    window: Literal["hour", "day", "month", "total"] = "day"
    """In UTC; `total` never ends."""
    warn_at: Annotated[Price, Field(gt=0, le=1)] = Decimal("0.8")
    """The share that is taken when the event `budget_warning` goes out."""
    reserve: Literal["expected", "worst"] = "expected"
    """`worst`: the whole `max_tokens` of each call, so that the limit holds to the cent."""
    unpriced: Literal["refuse", "allow"] = "refuse"
    """What becomes of a model whose price is unknown."""


class StateConfig(_Part):
    """A Valkey or Redis server that many processes share budgets, rates and slots in."""

    url: Annotated[str, AfterValidator(DatabaseUrl)] = Field(repr=False)
    """`valkey://host:6379/0`, `valkeys://…` over TLS, or the same as `redis://`, `rediss://`."""
    namespace: Annotated[str, Field(pattern=r"^[^{}]+$")] = "llm_router"
    """Those who share it share everything: the beginning of all keys, and their hash tag."""
    on_loss: Literal["serve", "refuse"] = "serve"
    """When the server does not answer: go on alone, from what was last known; or refuse."""
    timeout: Seconds = 0.5
    """What a server that stalls costs, once."""

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value.partition("://")[0] not in ("valkey", "valkeys", "redis", "rediss", "unix"):
            raise ValueError("must be a valkey://, valkeys://, redis:// or rediss:// URL")
        return value

    @field_serializer("url", when_used="json")
    def _mask(self, url: DatabaseUrl) -> str:
        return url.shown()

    @property
    def place(self) -> str:
        """The server for messages: nothing of user and password."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


class PolicyConfig(_Part):
    """Who may see what is sent. Part of every request to OpenRouter; a call can only narrow it."""

    zdr: bool = False
    """True: only endpoints with zero data retention."""
    data_collection: Literal["allow", "deny"] = "allow"
    """`deny`: only upstreams that neither keep nor train on what they are sent."""
    only: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """No other upstreams, by slug (`amazon-bedrock`); empty: all."""
    ignore: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Never these upstreams."""

    @property
    def preferences(self) -> dict[str, Any]:
        """The policy in OpenRouter's words; empty where it forbids nothing."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in said.items() if value not in (False, "allow", [])}


class RetentionConfig(_Part):
    """How many whole UTC days things are kept; None keeps them for ever."""

    payloads_days: Days | None = None
    """Prompts, answers and error texts."""
    rows_days: Days | None = None
    """Requests and attempts, their payloads with them."""


class LedgerConfig(_Part):
    """Where every attempt is recorded."""

    url: Annotated[str, AfterValidator(DatabaseUrl)] = Field(
        default="sqlite:///llm_router.db", validate_default=True
    )
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

    @field_serializer("url", when_used="json")
    def _mask(self, url: DatabaseUrl) -> str:
        shown = url.shown()  # of a server not even the place: who reads it there has found it
        return shown if shown == url else shown.partition("@")[0]


class Sections(_Part):
    """The sections of a configuration file; `RouterConfig` is what they become."""

    version: Literal[1] = 1
    defaults: Defaults = Defaults()
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)
    aliases: dict[str, AliasConfig] = Field(default_factory=dict)
    budgets: tuple[BudgetConfig, ...] = ()
    state: StateConfig | None = None
    """None: budgets, rates and slots are those of this process."""
    policy: PolicyConfig = PolicyConfig()
    ledger: Annotated[
        LedgerConfig | None,
        BeforeValidator(
            lambda value: None if value == "none" else value,
            json_schema_input_type=LedgerConfig | Literal["none"] | None,
        ),
    ] = None
    """None, `none` in a file: nothing is recorded."""


class RouterConfig(Sections):
    """Everything a Router needs to know. Raises ConfigurationError when it is built wrongly."""

    source: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """Where it was read from, for messages. Not a key of the file."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            found = list(explain(error, type(self), values))
        else:
            checked = {"defaults", "providers", "aliases", "budgets", "policy"}
            found = list(check(self.model_dump(include=checked)))
        del values  # else a traceback with local variables shows the keys in them
        if found:
            raise refusal(found)

    def model_post_init(self, _context: Any) -> None:
        """OpenRouter is always there; without a row it has no key."""
        self.providers.setdefault("openrouter", ProviderConfig())

    @property
    def text(self) -> str:
        """The configuration in force as JSON text, keys of the file only, without secrets."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(redact_data(data), indent=1, sort_keys=True, default=str)

    @property
    def fingerprint(self) -> str:
        """A short hash of `text`: two records with the same one ran on the same configuration."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

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
