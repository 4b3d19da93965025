"""Every command: what it prints, its exit code, and what it never prints."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from llm_router.testing import Sandbox
from tests.cli.conftest import Run
from tests.router.setup import GPT, WRONG_KEY

HERE = Path(__file__).parents[2]


def test_the_answer_goes_out_and_the_figures_beside_it(run: Run, sandbox: Sandbox) -> None:
    sandbox.reply(text="Rayleigh scattering.", provider="Azure")
    done = run(
        "complete", "fast", "Why is the sky blue?", "--system", "Be brief.", "-c", "llm_router.yaml"
    )
    assert done.exit_code == 0
    assert done.stdout == "Rayleigh scattering.\n"
    bill = f"{sandbox.total_billed.normalize():f}"
    assert f"[{GPT} via Azure: " in done.stderr
    assert f"${bill}" in done.stderr
    assert sandbox.chat_requests[0].body["messages"][0]["content"] == "Be brief."


def test_options_of_the_call_reach_the_wire(run: Run, sandbox: Sandbox) -> None:
    done = run("complete", GPT, "Hi", "--max-tokens", "5", "--temperature", "0.5")
    body = sandbox.chat_requests[0].body
    assert done.exit_code == 0
    assert (body["max_tokens"], body["temperature"]) == (5, 0.5)


def test_json_prints_the_whole_completion(run: Run, sandbox: Sandbox) -> None:
    done = run("complete", "safe", "Hi", "--json")
    reply = json.loads(done.stdout)
    assert reply["alias"] == "safe"
    assert Decimal(reply["cost"]["total"]) == sandbox.total_billed
    assert reply["attempts"][0]["error"]["type"] == "ProviderUnavailableError"
    assert reply["attempts"][-1]["status"] == "succeeded"
    assert done.stderr == ""


def test_stream_prints_the_text_as_it_comes(run: Run, sandbox: Sandbox) -> None:
    sandbox.reply(text="a b c", chunks=["a ", "b ", "c"])
    done = run("complete", "fast", "Hi", "--stream")
    assert done.stdout == "a b c\n"
    assert sandbox.chat_requests[0].body["stream"] is True


@pytest.mark.parametrize("arguments", [("complete", "fast", "-"), ("complete", "fast")])
def test_the_prompt_is_read_from_standard_input(
    run: Run, sandbox: Sandbox, arguments: tuple[str, ...]
) -> None:
    run(*arguments, stdin="From the pipe")
    assert sandbox.chat_requests[0].body["messages"][0]["content"] == "From the pipe"


def test_without_a_key_the_exit_code_is_2_and_the_message_says_what_to_do(run: Run) -> None:
    done = run("complete", GPT, "hi")
    assert done.exit_code == 2
    assert "MissingCredentialsError" in done.stderr
    assert "OPENROUTER_API_KEY" in done.stderr
    assert "llm-router sandbox" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("extra", [(), ("--stream",), ("--json",)])
def test_a_wrong_key_is_exit_code_1_and_the_key_is_nowhere(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", WRONG_KEY)
    done = run("complete", GPT, "hi", *extra)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"AuthenticationError: {GPT}: 401: User not found. [request ")
    assert WRONG_KEY not in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("complete", "fst", "hi"), "did you mean 'fast'"),
        (("complete", "nobody/model", "hi"), "unknown provider 'nobody'"),
        (("complete", "fast", "hi", "-c", "absent.yaml"), "absent.yaml"),
        (("complete", "fast", "hi", "--deadline", "0"), "0.0 is not in the range x>0"),
        (("complete", "fast", "hi", "--max-tokens", "many"), "not a valid integer"),
        (("report", "--since", "yesterdy"), "neither a date"),
        (("frobnicate",), "No such command"),
    ],
)
def test_what_is_misused_is_exit_code_2_and_one_clear_paragraph(
    run: Run, sandbox: Sandbox, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert said in done.stderr
    assert done.exit_code == 2
    assert not sandbox.chat_requests


def test_check_says_that_a_file_is_fine(run: Run) -> None:
    done = run("check", "llm_router.yaml")
    assert done.exit_code == 0
    assert "is fine; aliases: fast, safe" in done.stdout


def test_it_is_said_where_was_looked_when_there_is_no_file(run: Run, folder: Path) -> None:
    (folder / "llm_router.yaml").unlink()
    for command in (("check",), ("complete", "fast", "Hi"), ("explain", "fast"), ("logs",)):
        done = run(*command)
        assert done.exit_code == 2
        assert "LLM_ROUTER_CONFIG is not set" in done.stderr
        assert "config/llm_router.yaml" in done.stderr and "llm-router init" in done.stderr


def test_no_file_is_needed_when_a_model_is_asked_by_name_or_the_sample_is_meant(
    run: Run, folder: Path, sandbox: Sandbox
) -> None:
    (folder / "llm_router.yaml").unlink()
    assert run("complete", GPT, "Hi").exit_code == 0
    assert run("explain", GPT).exit_code == 0
    assert run("complete", "fast", "Hi", "--config", "builtin").exit_code == 0
    assert "is fine; aliases: fast, smart" in run("check", "builtin").stdout


def test_check_lists_all_mistakes_with_their_lines(run: Run, folder: Path) -> None:
    (folder / "bad.yaml").write_text(
        "version: 1\n"
        "defalts: {timeout: 1}\n"
        "aliases:\n"
        "  fast: {modl: x}\n"
        "  loop: {model: openruter/x, fallbacks: [openruter/x]}\n"
    )
    done = run("check", "bad.yaml")
    assert done.exit_code == 2
    assert "bad.yaml:2" in done.stderr and "did you mean 'defaults'" in done.stderr
    assert "bad.yaml:4" in done.stderr and "did you mean 'model'" in done.stderr
    assert "bad.yaml:5" in done.stderr
    assert "problems in" in done.stderr


def test_check_prints_the_schema_for_editors(run: Run) -> None:
    schema = json.loads(run("check", "--schema").stdout)
    assert {"aliases", "providers", "defaults", "ledger"} <= schema["properties"].keys()


def test_init_writes_a_file_that_check_likes_and_replaces_none(run: Run, folder: Path) -> None:
    done = run("init", "mine.yaml")
    assert done.exit_code == 0
    assert run("check", "mine.yaml").exit_code == 0
    refused = run("init", "mine.yaml")
    assert refused.exit_code == 2
    assert "--force replaces it" in refused.stderr
    assert run("init", "mine.yaml", "--force").exit_code == 0


def test_explain_shows_the_request_without_sending_it(run: Run, sandbox: Sandbox) -> None:
    done = run("explain", "safe", "Hi")
    shown = json.loads(done.stdout)
    assert [c["deployment"] for c in shown["candidates"]] == [
        "openrouter/demo/always-down",
        GPT,
    ]
    assert shown["candidates"][1]["request"]["body"]["model"] == "openai/gpt-4o-mini"
    assert sandbox.api_key not in done.output
    assert sandbox.requests == []


def test_what_was_called_is_listed_shown_and_summed_up(run: Run, sandbox: Sandbox) -> None:
    run("complete", "fast", "Hi")
    run("complete", "safe", "Hi")
    sandbox.fail("bad_request")
    assert run("complete", "fast", "Hi").exit_code == 1

    rows = json.loads(run("logs", "--format", "json").stdout)
    assert [(row["requested"], row["status"]) for row in rows] == [
        ("fast", "failed"),
        ("safe", "succeeded"),
        ("fast", "succeeded"),
    ]
    failed = json.loads(run("logs", "--failed", "--format", "json").stdout)
    assert [row["error"] for row in failed] == ["InvalidRequestError"]
    assert len(json.loads(run("logs", "--alias", "safe", "--format", "json").stdout)) == 1
    assert "succeeded" in run("logs").stdout

    shown = json.loads(run("show", rows[1]["id"]).stdout)
    assert shown["request"]["alias"] == "safe"
    assert shown["attempts"][0]["deployment"] == "openrouter/demo/always-down"

    table = list(csv.DictReader(io.StringIO(run("report", "--format", "csv").stdout)))
    assert sum(Decimal(row["cost"]) for row in table if row["cost"]) == sandbox.total_billed
    assert all("E" not in row["cost"] for row in table)
    assert run("report", "--by", "alias,upstream", "--since", "7d").exit_code == 0
    assert run("report", "--since", "2099-01-01").stdout == "no rows\n"


def test_an_unknown_id_is_said_to_be_unknown(run: Run, sandbox: Sandbox) -> None:
    run("complete", "fast", "Hi")
    done = run("show", "gen-nothing")
    assert done.exit_code == 1
    assert "gen-nothing" in done.stderr


def test_reconcile_completes_what_was_cut(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("cut_stream")
    assert run("complete", "fast", "Hi", "--stream").exit_code == 1
    done = run("reconcile")
    assert done.stdout == "1 completed, 0 not known yet, 0 failed\n"
    (row,) = json.loads(run("report", "--format", "json").stdout)
    assert Decimal(row["cost"]) == sandbox.total_billed


def test_purge_deletes_what_is_old(run: Run, sandbox: Sandbox) -> None:
    run("complete", "fast", "Hi")
    assert "0 requests" in run("purge", "--rows-days", "7").stdout
    assert "0 requests" in run("purge").stdout
    assert len(json.loads(run("logs", "--format", "json").stdout)) == 1


def test_the_tables_are_made_and_described(run: Run) -> None:
    assert "calls.db does not exist" in run("db", "status").stderr
    upgraded = run("db", "upgrade")
    assert upgraded.exit_code == 0
    assert run("db", "status").stdout == upgraded.stdout != ""
    assert "CREATE TABLE" in run("db", "sql").stdout


@pytest.mark.parametrize("command", [("logs",), ("report",), ("purge",), ("db", "status")])
def test_a_configuration_without_a_ledger_is_told_how_to_get_one(
    run: Run, folder: Path, command: tuple[str, ...]
) -> None:
    (folder / "llm_router.yaml").write_text(
        "version: 1\naliases: {fast: {model: openrouter/a/b}}\n"
    )
    done = run(*command)
    assert done.exit_code == 2
    assert "records nothing" in done.stderr and "ledger: {url:" in done.stderr


def test_a_report_by_an_unknown_group_names_the_known(run: Run, sandbox: Sandbox) -> None:
    run("complete", "fast", "Hi")
    done = run("report", "--by", "nonsense")
    assert done.exit_code in (1, 2)
    assert "nonsense" in done.stderr and "alias" in done.stderr


def test_an_interrupted_call_ends_with_130(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("slow_headers")

    def interrupt() -> None:
        while not sandbox.chat_requests:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = run("complete", "fast", "Hi")
    thread.join()
    assert done.exit_code == 130
    assert done.stderr == "Interrupted.\n"
    (row,) = json.loads(run("logs", "--format", "json").stdout)
    assert row["status"] == "cancelled"


def test_what_the_machine_refuses_is_one_line(run: Run, sandbox: Sandbox) -> None:
    for command in (("init", "absent/mine.yaml"), ("sandbox", "--port", str(sandbox.port))):
        done = run(*command)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert len(done.stderr.splitlines()) == 1


def test_help_lists_the_commands_and_the_exit_codes(run: Run) -> None:
    done = run("--help")
    for word in ("demo", "complete", "check", "sandbox", "report", "Exit codes", "130"):
        assert word in done.output


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ
    }
    return {**kept, "PYTHONPATH": str(HERE), **more}


def test_a_real_process_prints_one_paragraph_and_no_key(sandbox: Sandbox, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm_router.cli.main", "complete", GPT, "hi"],
        env=environment(OPENROUTER_BASE_URL=sandbox.base_url, OPENROUTER_API_KEY=WRONG_KEY),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"AuthenticationError: {GPT}: 401: User not found. [request ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert WRONG_KEY not in done.stdout + done.stderr


def test_the_sandbox_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "llm_router.cli.main", "sandbox", "--port", "0"],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    said = "".join(iter(server.stdout.readline, "Ctrl-C stops it.\n"))
    base = said.split(" on ")[1].split(". ")[0]
    with urllib.request.urlopen(f"{base}/models", timeout=10) as answer:
        assert json.load(answer)["data"]
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=20)
    assert server.returncode == 0
    assert f"export OPENROUTER_BASE_URL={base}" in said
    assert "Served 1 requests" in out
    assert err == ""
