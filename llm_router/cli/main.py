"""The entry point: the group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from llm_router.cli.ask import complete, parse
from llm_router.cli.budgets import budgets
from llm_router.cli.configuration import MISUSED, check, explain, init
from llm_router.cli.demo import demo, sandbox
from llm_router.cli.ledger import db, logs, purge, reconcile, report, show
from llm_router.cli.tasks import embed, image, rerank, search, speak, transcribe
from llm_router.cli.terminal import say
from llm_router.errors import ConfigurationError, LLMRouterError

FAILED, INTERRUPTED = 1, 130

_EPILOG = """\b
Exit codes:
  0    it worked
  1    a call or a command failed (the provider's error is shown)
  2    the command line or the configuration is wrong; nothing was sent
  130  interrupted
"""


class _Group(click.Group):
    """Shows our errors as one paragraph, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            _fail(error, MISUSED)
        except LLMRouterError as error:
            _fail(error, FAILED)
        except KeyboardInterrupt:
            say("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever reads us has gone: click knows what to do
            say(f"Error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), err=True)
            sys.exit(FAILED)


def _fail(error: LLMRouterError, code: int) -> None:
    say(f"{type(error).__name__}: {error}", err=True)
    sys.exit(code)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llm-router-litellm", prog_name="llm-router")
def main() -> None:
    """Ask for an alias, get a typed answer with its true cost."""


for command in (
    demo, complete, parse, embed, rerank, image, speak, transcribe, search, explain, check, init,
    sandbox, logs, show, report, budgets, reconcile, purge, db,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()
