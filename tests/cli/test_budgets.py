"""`llm-router budgets`, and what `check` says of dear calls."""

from __future__ import annotations

import json
from pathlib import Path

from llm_router.testing import Sandbox
from tests.cli.conftest import FILE, Run

BUDGETS = """\
budgets:
  - {name: everything, usd: "2", window: day}
  - {name: small, usd: "0.0001", reserve: worst}
  - {name: tenants, scope: "tag:tenant", usd: "1", window: total}
"""


def test_what_the_ledger_knows_is_spent_when_there_is_no_shared_state(
    run: Run, folder: Path, sandbox: Sandbox
) -> None:
    (folder / "llm_router.yaml").write_text(FILE + BUDGETS.replace("0.0001", "1"))
    assert run("complete", "fast", "Why?").exit_code == 0
    rows = json.loads(run("budgets", "--format", "json").output)
    assert [row["name"] for row in rows] == ["everything", "small"]
    assert float(rows[0]["spent"]) == float(sandbox.total_billed) > 0
    assert float(rows[0]["left"]) == 2 - float(sandbox.total_billed)
    assert rows[0]["resets_at"].endswith("00:00 UTC")
    assert "everything" in run("budgets").output


def test_a_state_that_is_away_is_an_error_and_no_figure(run: Run, folder: Path) -> None:
    away = "state: {url: 'valkey://127.0.0.1:9'}\n"
    (folder / "llm_router.yaml").write_text(FILE + BUDGETS + away)
    result = run("budgets")
    assert result.exit_code == 1
    assert "StateUnavailableError" in result.output and "127.0.0.1:9" in result.output


def test_check_warns_when_one_call_could_take_more_than_a_tenth_of_a_budget(
    run: Run, folder: Path, sandbox: Sandbox
) -> None:
    (folder / "llm_router.yaml").write_text(FILE + BUDGETS.replace("0.0001", "1"))
    assert run("complete", "fast", "Why?").exit_code == 0, "the catalogue is fetched beside it"
    assert "may reserve" not in run("check").output
    (folder / "llm_router.yaml").write_text(FILE + BUDGETS)
    result = run("check")
    assert result.exit_code == 0
    assert "a call of 'fast' may reserve 0.0001" in result.output
    assert "budget 'small'" in result.output and "budget 'everything'" not in result.output
