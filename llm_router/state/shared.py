"""The state that processes share, in Valkey or Redis: one script takes, one gives back.

What is asked for in one tick of an event loop goes out in one pipeline, and while that is under
way the next one fills. When the server does not answer, the process goes on by itself (`serve`)
or refuses (`refuse`), knows that after one timeout, and tells the server later what was spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections import deque
from dataclasses import dataclass, field, replace
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llm_router import events
from llm_router.errors import ConfigurationError, StateUnavailableError
from llm_router.state.base import GRANTED, Standing, Verdict
from llm_router.state.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llm_router.config.model import StateConfig
    from llm_router.state.base import Ask, Claim

LEASE_S = 60.0
"""A slot that its process has not renewed for so long is free again."""
BATCH = 256
MOST_OWED = 100_000
"""Bills that wait for a server that is away; of more the oldest are forgotten."""
_PROBE_S, _LONGEST_PROBE_S = 0.5, 5.0
_MOST_KNOWN = 4096
_FOLDER = Path(__file__).parent
_SCRIPTS = {name: (_FOLDER / f"{name}.lua").read_bytes() for name in ("enter", "leave", "renew")}
_SHA = {name: sha1(text, usedforsecurity=False).hexdigest() for name, text in _SCRIPTS.items()}


class _AwayError(Exception):
    """The server did not answer, or not as it should."""


@dataclass(slots=True)
class _Job:
    """One run of a script."""

    script: str
    keys: list[str]
    arguments: list[Any]
    ask: Ask | None = None
    answer: asyncio.Future[bytes] | None = None
    """Of what is asked for; cancelled when who asked has gone."""
    ended: float | None = None
    """For what is handed in: when, on the clock of this process."""

    def command(self, now: float) -> list[Any]:
        words = " ".join(map(str, self.arguments))
        if self.ended is not None:
            words = f"{_micros(now - self.ended)} {words}"
        return ["EVALSHA", _SHA[self.script], len(self.keys), *self.keys, words]


@dataclass(slots=True)
class _Link:
    """The connection of one event loop."""

    client: Any
    queue: list[_Job] = field(default_factory=list)
    sender: asyncio.Task[None] | None = None
    keeper: asyncio.Task[None] | None = None
    prober: asyncio.Task[None] | None = None
    slots: dict[tuple[str, str], None] = field(default_factory=dict)
    """Those that are held, to be renewed."""


class Shared:
    """Slots, rates and purses that every process with the same server and namespace shares."""

    def __init__(
        self,
        config: StateConfig,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        *,
        lease: float = LEASE_S,
    ) -> None:
        self._config = config
        self._lease = lease
        self._monotonic = monotonic
        self._wall = wall
        self._local = Memory(monotonic, wall)
        """What this process goes by while the server is away."""
        self._prefix = f"{{{config.namespace}}}:"
        self._index = f"{self._prefix}purses"
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, _Link] = WeakKeyDictionary()
        self._owed: deque[_Job] = deque(maxlen=MOST_OWED)
        self._taken: dict[str, int] = {}
        """What each purse had given out when it was last heard of."""
        self.lost = False

    async def open(self) -> None:
        """Connect and load the scripts. A server that is away is an event, and asked again."""
        link = await self._link()
        if not self.lost:
            with contextlib.suppress(_AwayError):
                await self._run(link, [_Job("renew", [], [0])])

    async def aclose(self) -> None:
        """Hand in what is owed, and close the connection of this loop."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is None:
            return
        if link.sender is not None:
            await asyncio.wait([link.sender], timeout=self._config.timeout)
        with contextlib.suppress(_AwayError):
            await self._pay(link)
        tasks = [t for t in (link.sender, link.keeper, link.prober) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.client.aclose()

    async def enter(self, ask: Ask) -> Verdict:
        uncertain = False
        if not self.lost:
            try:
                return await self._enter(ask)
            except _AwayError:
                uncertain = True
        verdict = await self._alone(ask)
        if uncertain and (verdict is None or verdict.short):
            # It may have been applied, or will be when the server wakes up.
            self._owe(self._leaving(ask, Verdict(), 0, None))
        if verdict is None:
            raise self._unavailable()
        return verdict

    def _unavailable(self) -> StateUnavailableError:
        return StateUnavailableError(
            f"the shared state at {self._config.place} does not answer",
            hint="Calls go on without it where the configuration says `on_loss: serve`.",
        )

    async def _alone(self, ask: Ask) -> Verdict | None:
        """Return what this process decides by itself; None where it may not."""
        link = await self._link()
        if self.lost and (link.prober is None or link.prober.done()):
            link.prober = asyncio.create_task(self._probe(link))
        if self._config.on_loss == "refuse":
            return None
        claims = tuple(replace(c, seed=self._taken.get(c.key, c.seed)) for c in ask.claims)
        return await self._local.enter(replace(ask, claims=claims))

    async def _enter(self, ask: Ask) -> Verdict:
        link = await self._link()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._put(link, self._entering(ask, answer))
        try:
            verdict = self._read(ask, await answer)
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled():  # it came in the same tick
                self._gone(ask, None if answer.exception() else answer.result())
            raise
        if not verdict.short:
            link.slots.update(dict.fromkeys((slot.key, slot.who) for slot in ask.slots))
            if link.slots and link.keeper is None:
                link.keeper = asyncio.create_task(self._keep(link))
        return verdict

    def _entering(self, ask: Ask, answer: asyncio.Future[bytes]) -> _Job:
        arguments: list[Any] = [ask.id, _micros(ask.patience), _micros(self._lease)]
        arguments += len(ask.slots), len(ask.rates)
        for slot in ask.slots:
            arguments += slot.who, slot.count
        for rate in ask.rates:
            arguments += 6e7 / rate.per_minute, rate.cost, _micros(rate.burst)
        for claim in ask.claims:
            amount = min(claim.amount, claim.limit + 1)
            seed = "-" if claim.seed is None else claim.seed
            arguments += claim.limit, amount, _millis(claim.ends_at), seed
        return _Job("enter", self._keys(ask), arguments, ask, answer)

    def _leaving(
        self, ask: Ask, verdict: Verdict, spent: int | None, unused: Sequence[int] | None
    ) -> _Job:
        arguments: list[Any] = [ask.id, len(ask.slots), len(ask.rates)]
        for place, claim in enumerate(ask.claims):
            life = verdict.lives[place] if verdict.lives else "-"
            actual = "-" if spent is None else spent
            reserved = min(claim.amount, claim.limit + 1)
            arguments += life, actual, reserved, _millis(claim.ends_at), int(claim.kept)
        arguments += [slot.who for slot in ask.slots]
        costs = [rate.cost for rate in ask.rates] if unused is None else unused
        for rate, cost in zip(ask.rates, costs, strict=True):
            arguments += 6e7 / rate.per_minute, cost
        return _Job("leave", self._keys(ask), arguments, ended=self._monotonic())

    def _keys(self, ask: Ask) -> list[str]:
        prefix = self._prefix
        keys = [f"{prefix}slot:{slot.key}" for slot in ask.slots]
        keys += [f"{prefix}rate:{rate.key}" for rate in ask.rates]
        keys += [f"{prefix}purse:{claim.key}" for claim in ask.claims]
        keys.append(self._index)
        return keys

    def _read(self, ask: Ask, reply: bytes) -> Verdict:
        word, number, *rest = reply.decode().split()
        place = int(number) - 1
        if word == "rate":
            return Verdict("rate", place, int(rest[0]) / 1e6)
        if word == "slot":
            return Verdict("slot", place)
        if word == "seed":
            return Verdict("seed", place)
        taken = [int(amount) for amount in rest[1::2]]
        lives = tuple(rest[2::2])
        self._hear(zip(ask.claims, taken, strict=True))
        left = tuple(claim.limit - t for claim, t in zip(ask.claims, taken, strict=True))
        if word == "claim":
            return Verdict("claim", place, left=left)
        return Verdict(wait=int(rest[0]) / 1e6, left=left, lives=lives or GRANTED.lives)

    def _hear(self, heard: Iterable[tuple[Claim, int]]) -> None:
        if len(self._taken) > _MOST_KNOWN:
            self._taken = dict(list(self._taken.items())[_MOST_KNOWN // 2 :])
        self._taken.update((claim.key, taken) for claim, taken in heard)

    def leave(
        self, ask: Ask, verdict: Verdict, spent: int | None = 0, unused: Sequence[int] | None = None
    ) -> None:
        if not verdict.lives:
            self._local.leave(ask, verdict, spent, unused)
            ask, unused = replace(ask, rates=()), ()
        elif self.lost and ask.slots:
            self._local.leave(replace(ask, rates=(), claims=()), verdict)
        if not (ask.slots or ask.claims or (ask.rates and (unused is None or any(unused)))):
            return
        job = self._leaving(ask, verdict, spent, unused)
        try:
            link = self._links.get(asyncio.get_running_loop())
        except RuntimeError:
            link = None
        if link is not None:
            for slot in ask.slots:
                link.slots.pop((slot.key, slot.who), None)
        if link is None or self.lost:
            self._owe(job)
        else:
            self._put(link, job)

    def _owe(self, job: _Job) -> None:
        self._owed.append(job)

    def known(self, keys: Sequence[str]) -> list[Standing]:
        if self.lost:
            return self._local.known(keys)
        return [Standing(spent=self._taken.get(key, 0)) for key in keys]

    async def standings(self) -> dict[str, Standing]:
        link = await self._link()
        try:
            async with asyncio.timeout(self._config.timeout):
                now = _millis(self._wall_of_server(await link.client.time()))
                names = await link.client.zrangebyscore(self._index, now, "+inf")
                pipeline = link.client.pipeline(transaction=False)
                for name in names:
                    pipeline.hgetall(name)
                found = await pipeline.execute()
        except self._failures() as error:
            self._lose(link, error)
            raise self._unavailable() from None
        start = len(f"{self._prefix}purse:")
        return {
            name.decode()[start:]: _standing(fields)
            for name, fields in zip(names, found, strict=True)
            if fields
        }

    @staticmethod
    def _wall_of_server(time: tuple[int, int]) -> float:
        return time[0] + time[1] / 1e6

    async def _link(self) -> _Link:
        """Return the connection of the running loop; its library is imported in a thread."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            library = await asyncio.to_thread(_library)
            link = self._links.get(loop)
            if link is None:
                link = self._links[loop] = _Link(self._connect(library))
        return link

    def _connect(self, library: Any) -> Any:
        timeout = self._config.timeout
        return library.Valkey.from_url(
            self._config.url, socket_connect_timeout=timeout, retry_on_timeout=False
        )

    def _put(self, link: _Link, job: _Job) -> None:
        link.queue.append(job)
        if link.sender is None:
            link.sender = asyncio.get_running_loop().create_task(self._send(link))

    async def _send(self, link: _Link) -> None:
        """Send what is queued, a batch after the other. It begins when this tick has ended."""
        try:
            while link.queue:
                queue = [job for job in link.queue if not job.answer or not job.answer.done()]
                batch, link.queue = queue[:BATCH], queue[BATCH:]
                with contextlib.suppress(_AwayError):
                    await self._run(link, batch)
        finally:
            link.sender = None

    async def _run(self, link: _Link, batch: list[_Job]) -> None:
        """Run a batch in one round trip; what cannot be run is owed or fails by _AwayError."""
        try:
            async with asyncio.timeout(self._config.timeout):
                replies = await self._evaluate(link.client, batch)
        except self._failures() as error:
            self._lose(link, error)
            self._give_up(batch, error)
            raise _AwayError(str(error)) from error
        for job, reply in zip(batch, replies, strict=True):
            if not _is_error(reply):
                self._deliver(job, reply)
        refusal = next((reply for reply in replies if _is_error(reply)), None)
        if refusal is not None:
            failed = [job for job, reply in zip(batch, replies, strict=True) if _is_error(reply)]
            self._lose(link, refusal)
            self._give_up(failed, refusal)
            raise _AwayError(str(refusal))

    def _deliver(self, job: _Job, reply: bytes) -> None:
        if job.answer is None or job.ask is None:
            return
        if not job.answer.done():
            job.answer.set_result(reply)
        else:
            self._gone(job.ask, reply)

    def _gone(self, ask: Ask, reply: bytes | None) -> None:
        """Undo what was granted to somebody who has gone; None: it may be, or will be."""
        if reply is None:
            self._owe(self._leaving(ask, Verdict(), 0, None))
        elif reply.startswith(b"granted"):
            self.leave(ask, self._read(ask, reply))

    async def _evaluate(self, client: Any, batch: list[_Job]) -> list[Any]:
        replies = await self._pipeline(client, batch)
        unknown = [place for place, reply in enumerate(replies) if _is_unknown_script(reply)]
        if unknown:  # a new server, or one that forgot
            for text in _SCRIPTS.values():
                await client.script_load(text)
            again = await self._pipeline(client, [batch[place] for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies

    async def _pipeline(self, client: Any, batch: list[_Job]) -> list[Any]:
        now = self._monotonic()
        pipeline = client.pipeline(transaction=False)
        for job in batch:
            pipeline.execute_command(*job.command(now))
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    def _give_up(self, jobs: Iterable[_Job], error: Exception) -> None:
        for job in jobs:
            if job.ended is not None:
                self._owe(job)
            elif job.answer is not None and not job.answer.done():
                job.answer.set_exception(_AwayError(str(error)))
            elif job.ask is not None:
                self._gone(job.ask, None)

    def _lose(self, link: _Link, error: Exception) -> None:
        if link.prober is None or link.prober.done():
            link.prober = asyncio.create_task(self._probe(link))
        if not self.lost:
            self.lost = True
            events.emit(
                events.STATE_LOST,
                "error",
                server=self._config.place,
                on_loss=self._config.on_loss,
                reason=f"{type(error).__name__}: {error}"[:200],
            )

    async def _probe(self, link: _Link) -> None:
        """Ask now and then whether the server is back; tell it what it missed."""
        pause = _PROBE_S
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PROBE_S)
            with contextlib.suppress(_AwayError, *self._failures()):
                async with asyncio.timeout(self._config.timeout):
                    # Written, not only greeted: a full server answers a greeting.
                    await link.client.set(f"{self._prefix}probe", 1, px=1000)
                owed = len(self._owed)
                await self._pay(link)
                break
        self.lost = False
        self._local = Memory(self._monotonic, self._wall)
        events.emit(events.STATE_BACK, "warning", server=self._config.place, bills=owed)

    async def _pay(self, link: _Link) -> None:
        """Hand in what is owed."""
        while self._owed:
            batch = [self._owed.popleft() for _ in range(min(len(self._owed), BATCH))]
            await self._run(link, batch)

    async def _keep(self, link: _Link) -> None:
        """Renew the slots of long calls and streams."""
        while True:
            await asyncio.sleep(self._lease / 3)
            held = list(link.slots)
            if held and not self.lost:
                keys = [f"{self._prefix}slot:{key}" for key, _ in held]
                names = [who for _, who in held]
                self._put(link, _Job("renew", keys, [_micros(self._lease), *names]))

    @staticmethod
    def _failures() -> tuple[type[Exception], ...]:
        return (_library_errors(), OSError, TimeoutError)


def _library() -> Any:
    try:
        return importlib.import_module("valkey.asyncio")
    except ModuleNotFoundError:
        raise ConfigurationError(
            "`state:` needs the package valkey",
            hint="Install llm-router-litellm[shared].",
        ) from None


def _library_errors() -> Any:
    return importlib.import_module("valkey.exceptions").ValkeyError


def _is_error(reply: Any) -> bool:
    return isinstance(reply, Exception)


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, Exception) and type(reply).__name__ == "NoScriptError"


def _standing(fields: dict[bytes, bytes]) -> Standing:
    reserved = sum(int(amount) for name, amount in fields.items() if name.startswith(b"r:"))
    return Standing(int(fields[b"taken"]) - reserved, reserved)


def _micros(seconds: float) -> int:
    return max(int(seconds * 1e6), 0)


def _millis(moment: float) -> int:
    return 0 if moment == float("inf") else int(moment * 1e3)
