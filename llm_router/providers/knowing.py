"""What is wrong in a configuration by what is known of providers: their kinds, and their models.

Nothing is imported of LiteLLM and nothing is fetched: the one is read from its source, the other
from the catalogue as it was last kept on disk.
"""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from llm_router.config.findings import Finding
from llm_router.options.request import did_you_mean
from llm_router.providers.openrouter.catalog import kept_catalog
from llm_router.providers.registry import FOREIGN, WIRES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.config.model import RouterConfig

_ENUM = re.compile(r"^class LlmProviders\(.*?(?=^\S)", re.M | re.S)
_MEMBER = re.compile(r"^    \w+ = \"([^\"]+)\"", re.M)


def findings(config: RouterConfig) -> Iterator[Finding]:
    """Yield kinds that LiteLLM does not know, and models that OpenRouter's catalogue does not."""
    kinds = litellm_kinds()
    for name, row in config.providers.items():
        kind = row.kind(name)
        if kinds and kind not in kinds:
            hint = did_you_mean(kind, kinds)
            fix = "write `litellm: openai` for a server that speaks OpenAI's API"
            message = f"LiteLLM knows no provider {kind!r}{hint or '; '}{hint and ' Or '}{fix}"
            yield Finding(("providers", name), message)
    yield from _unknown_models(config)


def litellm_kinds() -> frozenset[str]:
    """Return the names of all providers; empty where LiteLLM's list is not found."""
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        try:
            source = (Path(folder) / "types" / "utils.py").read_text(encoding="utf-8")
        except OSError:
            continue
        if listed := _ENUM.search(source):
            return frozenset((*_MEMBER.findall(listed[0]), *WIRES, *FOREIGN))
    return frozenset()


def _unknown_models(config: RouterConfig) -> Iterator[Finding]:
    kept = functools.cache(kept_catalog)
    for alias in config.aliases:
        for deployment in config.deployments(alias):
            row = config.providers[deployment.provider]
            if row.kind(deployment.provider) != "openrouter":
                continue
            catalog = kept(row.base_url)
            if catalog.ids and catalog.known(deployment.model) is None:
                hint = did_you_mean(deployment.model, catalog.ids)
                message = f"OpenRouter's catalogue has no model {deployment.model!r}{hint}"
                yield Finding(("aliases", alias), message, "warning")
