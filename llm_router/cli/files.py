"""`check` and `init`: the configuration file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from llm_router.config import loading
from llm_router.config.schema import json_schema

MISUSED = 2


@click.command()
@click.argument("file", required=False, type=click.Path())
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors.")
def check(file: str | None, schema: bool) -> None:
    """Say all that is wrong in a configuration file, with line numbers and suggestions."""
    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    report = loading.check_file(file)
    for finding in report.findings:
        click.echo(f"{finding.severity}: {finding}", err=finding.severity == "error")
    if report.config is None:
        count = len(report.problems)
        click.echo(f"{count} problem{'s' * (count != 1)} in {report.source}", err=True)
        sys.exit(MISUSED)
    aliases = ", ".join(report.config.aliases) or "none"
    click.echo(f"{report.source} is fine; aliases: {aliases}")


@click.command()
@click.argument("file", default="llm_router.yaml", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(file: str, force: bool) -> None:
    """Write a commented configuration to start from."""
    place = Path(file)
    if place.exists() and not force:
        raise click.UsageError(f"{file} is there already; --force replaces it")
    place.write_text(loading.builtin_file().read_text(encoding="utf-8"), encoding="utf-8")
    click.echo(f"wrote {file}; `llm-router check {file}` reads it")
