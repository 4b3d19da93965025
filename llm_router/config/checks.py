"""What is wrong in a configuration as a whole: references, loops, options that contradict."""

from __future__ import annotations

import graphlib
import ipaddress
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from llm_router.config.findings import Finding, Path
from llm_router.errors import MissingCredentialsError
from llm_router.options.openrouter import openrouter_problems
from llm_router.options.policy import allowed_by_both, names_of
from llm_router.options.reasoning import normalise_reasoning
from llm_router.options.request import did_you_mean
from llm_router.options.values import check_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.config.model import ProviderConfig, RouterConfig

AZURE_API_VERSION = "2024-10-21"
"""The newest version of Azure's API that is not a preview; a row's `api_version` wins."""
_MOST_LOOPS = 20
_TRUE = ("true", "yes", "on", "1")
"""How a variable may spell it: as pydantic reads it."""


def check(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with *data* as a whole: all of it errors.

    *data* is shaped as the file is. What else may be wrong in it is passed over, so that a
    misspelt key does not hide a loop among aliases.
    """
    aliases, providers = _mapping(data.get("aliases")), _mapping(data.get("providers"))
    for name, row in providers.items():
        yield from _check_provider(name, _mapping(row))
    for name, row in aliases.items():
        yield from _check_alias(data, name, _mapping(row))
    yield from _check_loops(aliases)
    yield from _check_budgets(_list(data.get("budgets")))
    if policy := _demands(data):
        for name, row in aliases.items():
            yield from _check_under_policy(data, policy, ("aliases", name), _mapping(row))
    default = _default_provider(data)
    if isinstance(default, str) and providers and default not in providers:
        hint = did_you_mean(default, providers)
        yield Finding(("defaults", "provider"), f"no such provider: {default!r}{hint}")


def notes(config: RouterConfig) -> Iterator[Finding]:
    """Yield what is good to know of a configuration in which nothing is wrong."""
    postgres = config.ledger is not None and config.ledger.url.startswith("postgres")
    if postgres and find_spec("psycopg") is None:
        fix = "pip install 'llm-router-litellm[postgres]'"
        yield Finding(("ledger", "url"), f"PostgreSQL needs a driver: {fix}", "warning")
    for name, row in config.providers.items():
        missing = missing_credentials(name, row)
        if missing is not None:
            named = row.api_key is not None or row.base_url is None
            fix = f"set {missing.env_var} to use it" if named else "the row names no api_key"
            yield Finding(("providers", name), f"no credentials: {fix}", "note")
        if row.base_url is not None and travels_in_clear(row.base_url):
            message = f"plain http beyond this machine: {row.base_url}"
            yield Finding(("providers", name, "base_url"), message, "note")
        if said := _note_of_kind(row, row.kind(name)):
            yield Finding(("providers", name), *said)
    if config.policy.preferences:
        yield Finding(("policy",), _who_is_left(config), "note")


def _who_is_left(config: RouterConfig) -> str:
    """Return which provider rows are asked under the policy, and which are not."""
    told: list[str] = []
    trusted: list[str] = []
    refused: list[str] = []
    for name, row in config.providers.items():
        if row.kind(name) == "openrouter":
            told.append(f"{name} at {row.base_url}" if row.base_url else name)
        else:
            (trusted if row.trusted else refused).append(name)
    groups = {"told with every request": told, "trusted": trusted, "never asked": refused}
    return "; ".join(f"{words}: {', '.join(names)}" for words, names in groups.items() if names)


def _note_of_kind(row: ProviderConfig, kind: str) -> tuple[str, Literal["warning", "note"]] | None:
    """Return what a row of this kind leaves out, or would better say, and how grave that is."""
    if kind == "ollama" and row.path == "native":
        return "`litellm: ollama` asks /api/generate, for text alone: write ollama_chat", "warning"
    if kind == "azure" and row.api_version is None and not (row.base_url or "").endswith("/v1"):
        return f"no api_version: {AZURE_API_VERSION} is asked for", "note"
    if kind == "bedrock" and row.region is None and row.base_url is None:
        return "no region: that of AWS_REGION or AWS_DEFAULT_REGION is asked", "note"
    if kind == "vertex_ai" and row.path == "native" and not (row.key or row.headers):
        return "no credentials: set api_key (express mode), or path: acompletion", "note"
    return None


def missing_credentials(
    name: str, row: ProviderConfig, model: str | None = None
) -> MissingCredentialsError | None:
    """Return the error of a provider row that needs a key and has none; None when all is well."""
    if row.key or (row.api_key is None and row.kind(name) != "openrouter"):
        return None
    owner = "openrouter" if row.kind(name) == "openrouter" else name
    usual = f"{owner.upper().replace('-', '_')}_API_KEY"
    variable = getattr(row.api_key, "variable", None) or usual
    why = f"{variable} is not set"
    fix = f"Set {variable}, or try without a key on the sandbox: `llm-router sandbox`."
    if row.api_key is None and row.base_url is not None:
        why = "its row names no api_key, and a key of the environment is for openrouter.ai alone"
        fix = f"Write ${{{variable}}} as its `api_key`, if that host may have the key."
    return MissingCredentialsError(
        f"no credentials for provider {name!r}: {why}",
        provider=name,
        model=model,
        env_var=variable,
        hint=fix,
    )


def is_refused(kind: str, trusted: Any) -> bool:
    """Return whether a policy keeps a provider of this kind from being asked: it has no word."""
    return kind != "openrouter" and str(trusted).lower() not in _TRUE


def travels_in_clear(url: str) -> bool:
    """Return whether others can read what is sent to *url*: plain http beyond this machine."""
    return url.startswith("http:") and not is_loopback(url)


def is_loopback(url: str) -> bool:
    """Return whether *url* points at this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return False


def _check_provider(name: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    path = ("providers", name)
    if "/" in name or not name:
        yield Finding(path, f"a provider's name has no slash: {name!r}")
    url = row.get("base_url")
    if row.get("api_key") and isinstance(url, str) and travels_in_clear(url):
        message = f"the key would travel in clear over {url}: use https://"
        yield Finding((*path, "base_url"), message)
    kind = str(row.get("litellm") or name)
    if row.get("api_version") is not None and not kind.startswith("azure"):
        yield Finding((*path, "api_version"), f"only Azure has one, and this row is {kind!r}")
    if row.get("region") is not None and not kind.startswith(("bedrock", "vertex_ai")):
        message = f"only Bedrock and Vertex AI have regions, and this row is {kind!r}"
        yield Finding((*path, "region"), message)


def _check_alias(data: Mapping[str, Any], name: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    path: Path = ("aliases", name)
    if "/" in name or not name:
        yield Finding(path, f"an alias has no slash: {name!r}")
    seen: set[str] = set()
    for inside, model in _references(row):
        where = (*path, *inside)
        if model in seen:
            message = f"{model!r} stands here twice: the primary or an earlier fallback"
            yield Finding(where, message)
        seen.add(model)
        yield from _check_model(data, where, model)
    yield from _check_options(path, row)
    for place, item in enumerate(_list(row.get("fallbacks"))):
        yield from _check_options((*path, "fallbacks", place), _mapping(item))


def _check_model(data: Mapping[str, Any], path: Path, model: str) -> Iterator[Finding]:
    aliases, providers = _mapping(data.get("aliases")), _mapping(data.get("providers"))
    prefix, slash, name = model.partition("/")
    if not slash:
        if model not in aliases:
            hint = did_you_mean(model, aliases)
            yield Finding(path, f"no such alias (a model is `provider/model`): {model!r}{hint}")
    elif not name or not prefix:
        yield Finding(path, f"a model is `provider/model`, not {model!r}")
    elif providers and prefix not in providers and _default_provider(data) is None:
        hint = did_you_mean(prefix, providers)
        yield Finding(path, f"unknown provider {prefix!r} in {model!r}{hint}")


def _check_options(path: Path, row: Mapping[str, Any]) -> Iterator[Finding]:
    for problem in openrouter_problems(_mapping(row.get("openrouter"))):
        yield Finding((*path, "openrouter"), problem)
    params = _mapping(row.get("params"))
    try:
        check_values(params)
        normalise_reasoning(params.get("reasoning"), params.get("max_tokens"))
    except (TypeError, ValueError) as error:
        yield Finding((*path, "params"), str(error))


def _check_under_policy(
    data: Mapping[str, Any], policy: Mapping[str, Any], path: Path, row: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield each model that the policy keeps from being asked, and each `only` that it empties."""
    providers = _mapping(data.get("providers"))
    for inside, model in _references(row):
        prefix, slash, _ = model.partition("/")
        name = prefix if prefix in providers else _default_provider(data) or prefix
        written = _mapping(providers.get(name))
        if slash and is_refused(str(written.get("litellm") or name), written.get("trusted")):
            message = (
                f"the policy cannot be told to {name!r}, which is not OpenRouter: {model!r} is "
                f"never asked; write `trusted: true` in providers.{name} if it may see the data"
            )
            yield Finding((*path, *inside), message)
    fallbacks = enumerate(_list(row.get("fallbacks")))
    items: list[tuple[Path, Any]] = [(path, row)]
    items += [((*path, "fallbacks", number), item) for number, item in fallbacks]
    for place, item in items:
        only = names_of(_mapping(_mapping(item).get("openrouter")).get("provider"), "only")
        if only and policy.get("only") and not allowed_by_both(policy["only"], only):
            message = f"the policy leaves nobody of {', '.join(only)}"
            yield Finding((*place, "openrouter", "provider", "only"), message)


def _demands(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the policy in *data* demands; nothing where it is none."""
    policy = _mapping(data.get("policy"))
    nothing = ("allow", "false", "", "none", "()", "[]")
    return {name: value for name, value in policy.items() if str(value).lower() not in nothing}


def _check_loops(aliases: Mapping[str, Any]) -> Iterator[Finding]:
    graph = {
        name: {model for _, model in _references(_mapping(row))} & aliases.keys()
        for name, row in aliases.items()
    }
    for _ in range(_MOST_LOOPS):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            loop = error.args[1][::-1]
            graph[loop[0]].discard(loop[1])
            yield Finding(("aliases", loop[0]), f"aliases refer in a loop: {' -> '.join(loop)}")
        else:
            return


def _check_budgets(budgets: Sequence[Any]) -> Iterator[Finding]:
    seen: set[Any] = set()
    for place, row in enumerate(budgets):
        name = _mapping(row).get("name")
        if isinstance(name, str) and name in seen:
            yield Finding(("budgets", place, "name"), f"two budgets are called {name!r}")
        seen.add(name)


def _references(row: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield each model that an alias names, with its path inside the row."""
    written: list[tuple[Path, Any]] = [(("model",), row.get("model"))]
    for place, item in enumerate(_list(row.get("fallbacks"))):
        model = item.get("model") if isinstance(item, Mapping) else item
        written.append((("fallbacks", place), model))
    yield from ((path, model) for path, model in written if isinstance(model, str))


def _default_provider(data: Mapping[str, Any]) -> Any:
    return _mapping(data.get("defaults")).get("provider")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
