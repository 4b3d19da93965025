"""`sandbox`: OpenRouter's wire on this machine."""

from __future__ import annotations

import time

import click


@click.command()
@click.option("--port", type=int, default=0, help="0 takes a free one.")
def sandbox(port: int) -> None:
    """Serve OpenRouter's wire on 127.0.0.1 until interrupted; no key, no cost."""
    from llm_router.testing import Sandbox

    with Sandbox(port=port) as server:
        click.echo(f"The sandbox listens on {server.base_url}. Use it in another terminal with:\n")
        for name, value in server.env.items():
            click.echo(f"  export {name}={value}")
        click.echo("\nCtrl-C stops it.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            click.echo(f"\nServed {len(server.requests)} requests.")
