"""Any policy, any configuration, any call: what left must say what the policy demands.

`python -m tests.router.any_policy 10000` tries so many; the suite tries a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_router.errors import LLMRouterError
from llm_router.router import Router
from llm_router.testing import Sandbox
from tests.router.setup import CLAUDE, EAGER, GPT

EMBEDDER = "openrouter/openai/text-embedding-3-small"
NAMES = st.sampled_from(["openai", "azure", "anthropic", "amazon-bedrock", "google-vertex"])
LISTS = st.lists(NAMES, min_size=1, max_size=4, unique=True)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "zdr": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "only": LISTS,
        "ignore": LISTS,
    },
)
PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "zdr": st.booleans(),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "only": LISTS,
        "ignore": LISTS,
        "order": LISTS,
        "sort": st.just("price"),
        "require_parameters": st.booleans(),
    },
)
VENDOR = st.none() | st.fixed_dictionaries({"provider": PREFERENCES | st.none()})
OPTIONS = st.fixed_dictionaries({}, optional={"openrouter": VENDOR, "extra_body": VENDOR})
OPERATIONS = st.sampled_from(["complete", "stream", "parse", "embed"])


@dataclass(frozen=True)
class Case:
    """One configuration, and one call on it."""

    policy: dict[str, Any]
    operation: str
    vendor: list[dict[str, Any] | None]
    options: dict[str, Any]
    faults: int
    path: str

    def configuration(self, sandbox: Sandbox) -> dict[str, Any]:
        row = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, "path": self.path}
        models = [EMBEDDER] if self.operation == "embed" else [GPT, CLAUDE]
        own = [{} if vendor is None else {"openrouter": vendor} for vendor in self.vendor]
        alias: dict[str, Any] = {"model": models[0], **own[0]}
        alias["fallbacks"] = [{"model": model, **own[1]} for model in models[1:]]
        return {
            "providers": {"openrouter": row},
            "aliases": {"any": alias},
            "policy": self.policy,
        }


def cases(path: st.SearchStrategy[str]) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        policy=POLICIES,
        operation=OPERATIONS,
        vendor=st.lists(VENDOR, min_size=2, max_size=2),
        options=OPTIONS,
        faults=st.integers(0, 2),
        path=path,
    )


async def leave(case: Case, sandbox: Sandbox) -> list[dict[str, Any]]:
    """Make the call of *case*; return the bodies that left."""
    sandbox.reset()
    if case.faults:
        sandbox.fail("http_503", times=case.faults)
    try:
        router = Router.from_dict(case.configuration(sandbox), clock=EAGER)
    except LLMRouterError:
        return []
    async with router:
        with contextlib.suppress(LLMRouterError):
            await _ask(router, case)
    posted = [request for request in sandbox.requests if request.method == "POST"]
    return [request.body for request in posted]


async def _ask(router: Router, case: Case) -> None:
    options: Any = case.options
    match case.operation:
        case "embed":
            await router.embed("any", "text", **options)
        case "parse":
            await router.parse("any", "text", schema=dict[str, int], **options)
        case "stream":
            async with router.stream("any", "text", **options) as stream:
                await stream.collect()
        case _:
            await router.complete("any", "text", **options)


def missing(policy: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """Return which demands of *policy* a body that left does not carry."""
    told = body.get("provider") or {}
    demands = {
        "zdr": not policy.get("zdr") or told.get("zdr") is True,
        "data_collection": policy.get("data_collection") != "deny"
        or told.get("data_collection") == "deny",
        "only": not policy.get("only")
        or (bool(told.get("only")) and set(told["only"]) <= set(policy["only"])),
        "ignore": set(policy.get("ignore") or ()) <= set(told.get("ignore") or ()),
    }
    return [name for name, met in demands.items() if not met]


def main(count: int) -> None:
    sent = 0
    with Sandbox() as sandbox:

        @settings(
            max_examples=count, deadline=None, database=None, suppress_health_check=[*HealthCheck]
        )
        @given(case=cases(st.just("native")))
        def search(case: Case) -> None:
            nonlocal sent
            bodies = asyncio.run(leave(case, sandbox))
            sent += len(bodies)
            assert [missing(case.policy, body) for body in bodies] == [[]] * len(bodies)

        search()
    told = f"{count} configurations and calls, {sent} requests left, none without the policy\n"
    sys.stdout.write(told)


if __name__ == "__main__":
    main(int(sys.argv[1]))
