"""A process that records calls until it is killed: `python -m tests.ledger.crash URL SPOOL MODE`.

It prints the id of each call when the application would have its answer.
"""

from __future__ import annotations

import asyncio
import sys

from llm_router.config.model import LedgerConfig
from llm_router.ledger.ledger import Ledger
from tests.ledger.calls import call


async def main(url: str, spool: str, durability: str) -> None:
    values = {"url": url, "spool": spool, "durability": durability, "flush_interval": 0.1}
    ledger = Ledger(LedgerConfig.model_validate(values))
    await ledger.open()
    while True:
        told = call()
        told.tell(ledger)
        await ledger.settle(told.id)
        sys.stdout.write(f"{told.id}\n")
        sys.stdout.flush()
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
