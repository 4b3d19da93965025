"""What is wrong in a configuration as a whole: references, loops, how keys travel."""

from __future__ import annotations

import graphlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from llm_router.config.model import choices
from llm_router.errors import MissingCredentialsError
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.config.model import AliasConfig, ProviderConfig, RouterConfig

_MOST_LOOPS = 20


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
        missing = missing_credentials(name, row)
        if missing is not None:
            yield Problem(path, f"no credentials: set {missing.env_var} to use it", "note")
        yield from _check_transport(row, path)


def missing_credentials(
    name: str, row: ProviderConfig, model: str | None = None
) -> MissingCredentialsError | None:
    """Return the error of a provider row that needs a key and has none; None when all is well."""
    needs_key = row.api_key is not None or "openrouter" in (name, row.litellm)
    if row.key or not needs_key:
        return None
    variable = row.api_key_env or f"{name.upper().replace('-', '_')}_API_KEY"
    return MissingCredentialsError(
        f"no credentials for provider {name!r}: {variable} is not set",
        provider=name,
        model=model,
        env_var=variable,
        hint=f"Set {variable}, or try without a key on the sandbox: `llm-router sandbox`.",
    )


def _check_transport(row: ProviderConfig, path: tuple[str, ...]) -> Iterator[Problem]:
    if row.base_url is None or urlsplit(row.base_url).scheme != "http":
        return
    if is_loopback(row.base_url):
        return
    where = (*path, "base_url")
    if row.key:
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
            yield Problem(path, f"no such alias (a model is `provider/model`): {model!r}{hint}")
    elif not name or not prefix:
        yield Problem(path, f"a model is `provider/model`, not {model!r}")
    elif prefix not in config.providers and config.defaults.provider is None:
        hint = did_you_mean(prefix, config.providers)
        yield Problem(path, f"unknown provider {prefix!r} in {model!r}{hint}")


def _check_loops(config: RouterConfig) -> Iterator[Problem]:
    known = config.aliases
    graph = {name: {c[0] for c in choices(row)} & known.keys() for name, row in known.items()}
    for _ in range(_MOST_LOOPS):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            loop = error.args[1][::-1]
            graph[loop[0]].discard(loop[1])
            yield Problem(("aliases", loop[0]), f"aliases refer in a loop: {' -> '.join(loop)}")
        else:
            return
