"""What was asked for, turned into who may serve it and within which limits. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llm_router.config.checks import is_refused, missing_credentials
from llm_router.config.model import AliasConfig
from llm_router.errors import ConfigurationError, UnknownAliasError, UnsupportedFeatureError
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.config.model import RouterConfig
    from llm_router.options.request import Deployment

_MOST_PLANS = 1024
_NO_ALIAS = AliasConfig(model="none/none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a call; seconds."""

    timeout: float
    deadline: float
    idle_timeout: float
    max_attempts: int


_LIMIT_NAMES = frozenset(Limits.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The deployments of a call in order, and its limits."""

    requested: str
    alias: str | None
    row: AliasConfig = field(repr=False)
    """The alias's row; one without any settings where a model was asked for by name."""
    deployments: tuple[Deployment, ...]
    limits: Limits
    """Where the call says nothing else."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """How many calls at once each deployment of a provider takes, where it is limited."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Deployments that cannot be asked, by name, with the reason."""

    def require_one_model(self, operation: str) -> None:
        """Raise ConfigurationError where a fallback is another model than *operation* can have."""
        models = {deployment.model for deployment in self.deployments}
        if len(models) > 1:
            raise ConfigurationError(
                f"alias {self.alias!r} cannot {operation}: it falls back to another model "
                f"({', '.join(sorted(models))}), whose answers cannot be compared",
                alias=self.alias,
                hint="Let such an alias fall back to the same model at other providers.",
            )


class Planner:
    """Makes plans from a configuration; those for the names asked for last are kept."""

    def __init__(self, config: RouterConfig) -> None:
        self._config = config
        self._made = lru_cache(_MOST_PLANS)(self._make)

    def plan(self, requested: str, provider: str | None = None) -> Plan:
        """Return who may serve *requested*, an alias or `provider/model`.

        Raises UnknownAliasError, ConfigurationError for an unknown provider,
        UnsupportedFeatureError for one that the policy refuses, and MissingCredentialsError when
        the first choice has no key: a set-up that is broken must not live on its fallbacks
        unnoticed.
        """
        if not isinstance(requested, str):
            raise TypeError(
                f"a model is a str, an alias or `provider/model`, not {type(requested).__name__}"
            )
        return self._made(requested, provider)

    def _make(self, requested: str, provider: str | None) -> Plan:
        alias = None if "/" in requested else requested
        deployments: tuple[Deployment, ...]
        if alias is None:
            deployments, row = (self._by_name(requested, provider),), _NO_ALIAS
        elif provider is not None:
            raise ConfigurationError(
                f"provider={provider!r} goes with a model, and {requested!r} is an alias: "
                "the configuration says who serves an alias"
            )
        else:
            deployments, row = self._by_alias(requested), self._config.aliases[requested]
        rows = self._config.providers
        self._refuse_untrusted(deployments)
        missing = {
            d.name: missing_credentials(d.provider, rows[d.provider], d.name) for d in deployments
        }
        first = missing[deployments[0].name]
        if first is not None:
            raise first
        return Plan(
            requested=requested,
            alias=alias,
            row=row,
            deployments=tuple(d for d in deployments if missing[d.name] is None),
            limits=self._limits_of(row, {}),
            slots={n: r.concurrency for n, r in rows.items() if r.concurrency},
            skipped={name: str(error) for name, error in missing.items() if error is not None},
        )

    def _refuse_untrusted(self, deployments: Sequence[Deployment]) -> None:
        """Raise UnsupportedFeatureError for a model that the policy keeps from being asked."""
        if not self._config.policy.preferences:
            return
        for deployment in deployments:
            name, row = deployment.provider, self._config.providers[deployment.provider]
            if is_refused(row.kind(name), row.trusted):
                raise UnsupportedFeatureError(
                    f"the policy cannot be told to {name!r}, which is not OpenRouter",
                    model=deployment.name,
                    provider=name,
                    hint=f"Write `trusted: true` in providers.{name} if it may see the data.",
                )

    def _by_alias(self, alias: str) -> tuple[Deployment, ...]:
        try:
            return self._config.deployments(alias)
        except KeyError:
            known = self._config.aliases
            hint = did_you_mean(alias, known) or (f"; known: {', '.join(known)}" if known else "")
            raise UnknownAliasError(
                f"no such alias: {alias!r}{hint}",
                alias=alias,
                hint="An alias is a key under `aliases:`; a model is asked for as provider/model.",
            ) from None

    def _by_name(self, model: str, provider: str | None) -> Deployment:
        rows = self._config.providers
        if provider is not None and provider not in rows:
            hint = did_you_mean(provider, rows)
            raise ConfigurationError(f"no such provider: {provider!r}{hint}", model=model)
        prefix, _, name = model.partition("/")
        if not (prefix and name):
            raise ConfigurationError(f"a model is `provider/model`, not {model!r}", model=model)
        if prefix not in rows and provider is not None:
            return self._config.split(f"{provider}/{model}")
        try:
            return self._config.split(model)
        except KeyError:
            hint = did_you_mean(prefix, rows) or f"; known: {', '.join(rows)}"
            raise ConfigurationError(
                f"unknown provider {prefix!r} in {model!r}{hint}",
                model=model,
                hint="Name a row of `providers:`, pass provider=…, or set LLM_ROUTER_PROVIDER.",
            ) from None

    def limits(self, plan: Plan, options: Mapping[str, Any]) -> Limits:
        """Return the call's limits: its own, else the alias's, else the defaults."""
        if _LIMIT_NAMES.isdisjoint(options):
            return plan.limits
        return self._limits_of(plan.row, options)

    def _limits_of(self, row: AliasConfig, options: Mapping[str, Any]) -> Limits:
        found = {
            name: _first(
                options.get(name), getattr(row, name), getattr(self._config.defaults, name)
            )
            for name in Limits.__slots__
        }
        for name, value in found.items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, not {value!r}")
        return Limits(**found)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
