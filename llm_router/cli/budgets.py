"""`budgets`: what is left of them; and what `check` says of calls that would take much of one."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from llm_router.cli.terminal import Format, config_option, rows_options, show_rows
from llm_router.config import loading
from llm_router.engine import Engine
from llm_router.errors import LLMRouterError
from llm_router.operations.chat import Chat
from llm_router.router import Router
from llm_router.routing.clock import Clock
from llm_router.usage import format_usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_router.config.model import RouterConfig
    from llm_router.options.request import Deployment
    from llm_router.routing.estimates import Estimate
    from llm_router.routing.money import BudgetStanding

_MUCH = 10
"""A call that may take a tenth of a budget: ten at once lock it up."""


@click.command()
@config_option
@rows_options
def budgets(config: str | None, style: Format) -> None:
    """Show what each budget has spent, reserved and left, and when it resets.

    As all who share the `state` know it; without one, as the ledger does.
    """
    rows = asyncio.run(_standings(loading.load(config)))
    show_rows([_row(standing) for standing in rows], style)


async def _standings(config: RouterConfig) -> list[BudgetStanding]:
    router = Router(config)
    try:
        return await router.budgets()
    finally:
        await router.aclose()


def _row(standing: BudgetStanding) -> dict[str, Any]:
    row = asdict(standing)
    if standing.resets_at is not None:
        row["resets_at"] = f"{datetime.fromtimestamp(standing.resets_at, UTC):%Y-%m-%d %H:%M} UTC"
    return row


def dear_calls(config: RouterConfig) -> Iterator[str]:
    """Say which calls could take more than a tenth of a budget. No network: prices are those of
    the rows, and of OpenRouter's catalogue as it was last fetched.
    """
    if not config.budgets:
        return
    engine = Engine(config, Clock(), None, ())
    engine.all_providers()["openrouter"].catalog.recall()
    for alias in config.aliases:
        for deployment in config.deployments(alias):
            estimate = _estimate(engine, alias, deployment)
            for budget in config.budgets:
                cost = estimate and (
                    estimate.worst if budget.reserve == "worst" else estimate.expected
                )
                if cost and cost * _MUCH > budget.usd:
                    yield (
                        f"a call of {alias!r} may reserve {_short(cost)} of the "
                        f"{format_usd(budget.usd)} USD of budget {budget.name!r} "
                        f"({deployment.name}): a few at once lock it up; ask for fewer max_tokens"
                    )


def _estimate(engine: Engine, alias: str, deployment: Deployment) -> Estimate | None:
    """Return what the smallest prompt may cost; None where the row lacks something."""
    row = engine.config.aliases[alias]
    try:
        request = Chat.ask("check", "", {}).request(deployment, row, None)
        return engine.estimates.of(alias, deployment, request)
    except LLMRouterError:
        return None


def _short(cost: Decimal) -> str:
    return format_usd(Decimal(f"{cost:.2g}"))
