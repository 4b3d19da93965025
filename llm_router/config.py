"""RouterConfig: the frozen configuration a Router runs on, and the checks of it as a whole.

Where it comes from (YAML with file:line, a dict, the environment) is `config_file`'s business.
Built in code it is the same object: `RouterConfig(aliases={"fast": AliasConfig(model="…")})`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from llm_router.completions.openrouter_options import openrouter_problems
from llm_router.completions.request import PARAM_NAMES, Deployment
from llm_router.completions.request import did_you_mean as did_you_mean  # where others look
from llm_router.errors import ConfigurationError
from llm_router.redaction import redact_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OPENROUTER_BASE_URL = "https://openrouter.ai/api/v1"
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
StructuredMode = Literal["json_schema", "tool", "json_object", "prompt"]
ErrorAction = Literal["retry", "next", "stop"]
ERROR_KINDS = (
    "rate_limit", "unavailable", "connection", "empty", "invalid_response", "timeout",
    "context_window", "request_too_large", "model_not_found", "no_endpoint", "permission",
    "credits", "authentication", "invalid_request", "content_filter",
)  # fmt: skip


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
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 4
    provider: str | None = None
    """The provider row for models whose prefix names none (`LLM_ROUTER_PROVIDER` sets it too)."""


class AppConfig(_Part):
    """How the application is named in OpenRouter's rankings; `title` needs `url`."""

    title: str | None = None
    url: str | None = None
    categories: tuple[str, ...] = ()


class PriceConfig(_Part):
    """USD per million tokens."""

    input: Annotated[Decimal, Field(ge=0)]
    output: Annotated[Decimal, Field(ge=0)]
    cache_read: Annotated[Decimal, Field(ge=0)] | None = None
    cache_write: Annotated[Decimal, Field(ge=0)] | None = None


class ProviderConfig(_Part):
    """A provider row: who serves, where, with which key."""

    litellm: str | None = None
    """LiteLLM's name for the provider; the row's own name when absent."""
    api_key: SecretStr | None = None
    """None: no key needed (OpenRouter always needs one). Empty: not set, an error at the call."""
    api_key_env: str | None = Field(default=None, exclude=True)
    """The variable the key came from, for error messages. Not a key of the file."""
    base_url: str | None = None
    app: AppConfig = AppConfig()
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every request."""
    path: Literal["native", "acompletion"] = "native"
    """OpenRouter only: "native" reads the wire itself, "acompletion" goes all through LiteLLM."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """At most so many calls at once for each of its models; others wait in order."""
    structured: StructuredMode | None = None
    """The best way this provider serves a schema, where it is known."""
    prices: dict[str, PriceConfig] = Field(default_factory=dict)
    """By model; makes `cost.total` a local figure for providers that report none."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https")):
            raise ValueError("must be an http:// or https:// URL")
        return value.rstrip("/") if value else value


def _checked_openrouter(value: dict[str, Any]) -> dict[str, Any]:
    for problem in openrouter_problems(value):
        raise ValueError(problem)
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
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    on_error: dict[str, ErrorAction] = Field(default_factory=dict)
    """What an error does next, by kind: {content_filter: next}."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
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
        return value

    @field_validator("openrouter")
    @classmethod
    def _known_openrouter(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _checked_openrouter(value)

    @field_validator("on_error")
    @classmethod
    def _known_kinds(cls, value: dict[str, ErrorAction]) -> dict[str, ErrorAction]:
        for name in value:
            if name not in ERROR_KINDS:
                raise ValueError(f"unknown kind of error {name!r}{did_you_mean(name, ERROR_KINDS)}")
        return value


class LedgerConfig(_Part):
    """Where every attempt is recorded."""

    url: str = "sqlite:///llm_router.db"
    store: Literal["none", "metadata", "full"] = "metadata"
    durability: Literal["batched", "strict"] = "batched"
    spool: str | None = None
    """A file for records while the database is away; beside a SQLite file by default."""
    retain_payloads_days: Annotated[int, Field(ge=0)] | None = None
    retain_days: Annotated[int, Field(ge=0)] | None = None


class RouterConfig(_Part):
    """Everything a Router needs to know. Raises ConfigurationError when it is built wrongly."""

    version: Literal[1] = 1
    defaults: Defaults = Defaults()
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)
    aliases: dict[str, AliasConfig] = Field(default_factory=dict)
    ledger: LedgerConfig | None = None
    source: str | None = Field(default=None, exclude=True)
    """Where it was read from, for messages. Not a key of the file."""

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
        return json.dumps(redact_data(data), indent=1, sort_keys=True, default=str)

    @property
    def fingerprint(self) -> str:
        """A short hash of `text`: two records with the same one ran on the same configuration."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def deployments(self, alias: str) -> tuple[Deployment, ...]:
        """Return what serves *alias*, in order, each deployment once; KeyError when unknown."""
        found: dict[str, Deployment] = {}
        for deployment in self._expand(alias, ()):
            found.setdefault(deployment.name, deployment)
        return tuple(found.values())

    def _expand(self, alias: str, seen: tuple[str, ...]) -> Iterator[Deployment]:
        row = self.aliases[alias]
        for model, params, openrouter in _choices(row):
            if "/" in model:
                yield self.split(model, params, openrouter)
            elif model not in (*seen, alias):
                yield from self._expand(model, (*seen, alias))

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


def _choices(row: AliasConfig) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    yield row.model, row.params, row.openrouter
    for item in row.fallbacks:
        if isinstance(item, str):
            yield item, row.params, row.openrouter
        else:
            params = row.params if item.params is None else item.params
            yield item.model, params, row.openrouter if item.openrouter is None else item.openrouter


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a configuration, and where: a path of keys."""

    path: tuple[str | int, ...]
    message: str
    severity: Literal["error", "warning", "note"] = "error"


def check(config: RouterConfig) -> list[Problem]:
    """Return what is wrong with the configuration as a whole: references, loops, key transport."""
    problems = list(_check_providers(config))
    for name, row in config.aliases.items():
        problems.extend(_check_alias(config, name, row))
    problems.extend(_check_loops(config))
    default = config.defaults.provider
    if default is not None and default not in config.providers:
        hint = did_you_mean(default, config.providers)
        problems.append(Problem(("defaults", "provider"), f"no such provider: {default!r}{hint}"))
    return problems


def _check_providers(config: RouterConfig) -> Iterator[Problem]:
    for name, row in config.providers.items():
        path = ("providers", name)
        if "/" in name or not name:
            yield Problem(path, f"a provider's name has no slash: {name!r}")
        needs_key = row.api_key is not None or name == "openrouter"
        if needs_key and not (row.api_key and row.api_key.get_secret_value()):
            variable = row.api_key_env or f"{name.upper()}_API_KEY"
            yield Problem(path, f"no credentials: set {variable} to use it", "note")
        yield from _check_transport(row, path)


def _check_transport(row: ProviderConfig, path: tuple[str, ...]) -> Iterator[Problem]:
    if row.base_url is None or urlsplit(row.base_url).scheme != "http":
        return
    if is_loopback(row.base_url):
        return
    where = (*path, "base_url")
    if row.api_key and row.api_key.get_secret_value():
        message = f"the key would travel in clear over {row.base_url}: use https://"
        yield Problem(where, message)
    else:
        yield Problem(where, f"plain http beyond this machine: {row.base_url}", "note")


def is_loopback(url: str) -> bool:
    """Return whether *url* points at this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_alias(config: RouterConfig, name: str, row: AliasConfig) -> Iterator[Problem]:
    path: tuple[str | int, ...] = ("aliases", name)
    if "/" in name or not name:
        yield Problem(path, f"an alias has no slash: {name!r}")
    yield from _check_model(config, row.model, (*path, "model"))
    seen = {row.model}
    for place, item in enumerate(row.fallbacks):
        model = item if isinstance(item, str) else item.model
        where = (*path, "fallbacks", place)
        if model in seen:
            yield Problem(where, f"{model!r} stands here twice: the primary or an earlier fallback")
        seen.add(model)
        yield from _check_model(config, model, where)


def _check_model(
    config: RouterConfig, model: str, path: tuple[str | int, ...]
) -> Iterator[Problem]:
    prefix, slash, name = model.partition("/")
    if not slash:
        if model not in config.aliases:
            hint = did_you_mean(model, config.aliases)
            yield Problem(path, f"no such alias: {model!r}{hint}; a model is `provider/model`")
    elif not name or not prefix:
        yield Problem(path, f"a model is `provider/model`, not {model!r}")
    elif prefix not in config.providers and config.defaults.provider is None:
        hint = did_you_mean(prefix, config.providers)
        yield Problem(path, f"unknown provider {prefix!r} in {model!r}{hint}")


def _check_loops(config: RouterConfig) -> Iterator[Problem]:
    reported: set[frozenset[str]] = set()
    for name in config.aliases:
        loop = _find_loop(config, name, (name,))
        if loop and frozenset(loop) not in reported:
            reported.add(frozenset(loop))
            yield Problem(("aliases", name), f"aliases refer in a loop: {' -> '.join(loop)}")


def _find_loop(config: RouterConfig, name: str, seen: tuple[str, ...]) -> tuple[str, ...] | None:
    for model, _, _ in _choices(config.aliases[name]):
        if model == seen[0]:
            return (*seen, model)
        if model in config.aliases and model not in seen:
            loop = _find_loop(config, model, (*seen, model))
            if loop:
                return loop
    return None


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path) or "configuration"
