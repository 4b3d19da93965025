"""OpenRouter's `/models`: what a model can do and costs, fetched beside the calls.

A call never waits for it and never fails by it: what is not in memory is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_router import events
from llm_router.answers.models import ModelInfo
from llm_router.config.model import OPENROUTER_BASE_URL
from llm_router.usage import Prices
from llm_router.wires.json_values import money

if TYPE_CHECKING:
    from llm_router.usage import Usage

FETCH_SECONDS = 2.0
FRESH_SECONDS = 24 * 3600.0
RETRY_SECONDS = 600.0
_CONDITIONS = frozenset({"min_prompt_tokens", "utc_start", "utc_end"})


class Catalog:
    """The models of one base URL, kept in memory and on disk with the date they came.

    *fetch* returns the body of `/models`; *clock* is seconds since the epoch.
    """

    def __init__(
        self,
        base_url: str,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = base_url
        self._fetch = fetch
        self._folder = folder
        self._clock = clock
        self._models: dict[str, Mapping[str, Any]] = {}
        self._infos: dict[str, ModelInfo | None] = {}
        self._fetched_at: float | None = None
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def known(self, model: str) -> ModelInfo | None:
        """Return what is in memory of *model*: by id, canonical name, or without its suffixes.

        An entry of another shape than the catalogue's says nothing, and is told of once.
        """
        raw = next((self._models[n] for n in _names(model) if n in self._models), None)
        if raw is None:
            return None
        name = raw["id"]
        if name not in self._infos:
            self._infos[name] = _readable(raw)
        return self._infos[name]

    @property
    def ids(self) -> Collection[str]:
        """The names of all models in memory."""
        return self._models.keys()

    async def get(self, model: str) -> ModelInfo | None:
        """Return `known(model)`, after the look-up that is under way or due: 2 seconds at most."""
        self.touch()
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._task], timeout=FETCH_SECONDS)
        return self.known(model)

    def touch(self) -> None:
        """Begin to load in the background when it is time; costs nothing when it is not."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + RETRY_SECONDS
        self._task = asyncio.get_running_loop().create_task(self._load())

    def recall(self) -> None:
        """Read what is kept on disk, where nothing is in memory. Blocks; raises nothing."""
        if self._fetched_at is None:
            with contextlib.suppress(Exception):  # no file, or one of another shape: unknown
                self._read_disk()

    def cost_of(self, asked: str, served: str | None, usage: Usage) -> Decimal | None:
        """Return tokens times the prices of the model that served; None when unknown.

        The answer may name the model otherwise than it was asked for (a dated name, or `:free`
        lost): the prices are those of what was asked, unless another model answered.
        """
        info = self.known(asked)
        other = self.known(served) if served else None
        if other is not None and (info is None or _canonical(other) != _canonical(info)):
            info = other
        return prices_for(info, usage, self._clock()).cost_of(usage) if info else None

    async def aclose(self) -> None:
        """Stop loading."""
        task, self._task = self._task, None
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            return
        task.cancel()
        await asyncio.wait([task])

    async def _load(self) -> None:
        # Whatever goes wrong here (network, disk, a body of another shape) leaves the catalogue
        # as it is, to be tried again: it must not reach a call.
        await asyncio.to_thread(self.recall)
        if self._fetched_at is None or self._clock() - self._fetched_at >= FRESH_SECONDS:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(FETCH_SECONDS):
                    body = await self._fetch()
                await asyncio.to_thread(self._take, body)

    def _read_disk(self) -> None:
        kept = json.loads(self._path.read_bytes(), parse_float=str)
        fetched_at = float(kept["fetched_at"])
        if kept["base_url"] == self._base_url and fetched_at <= self._clock():
            self._use(kept["models"], fetched_at)

    def _take(self, body: bytes) -> None:
        # Numbers with a point stay text: what is a price is never a float.
        models = json.loads(body, parse_float=str)["data"]
        now = self._clock()
        self._use(models, now)
        _write(self._path, {"base_url": self._base_url, "fetched_at": str(now), "models": models})

    def _use(self, models: Iterable[Any], fetched_at: float) -> None:
        found = [m for m in models if isinstance(m, dict) and isinstance(m.get("id"), str)]
        # `x:free` and `x` share a canonical name: the plain model has it.
        found.sort(key=lambda model: ":" in model["id"])
        index: dict[str, Mapping[str, Any]] = {}
        for model in found:
            index.setdefault(str(model.get("canonical_slug") or model["id"]), model)
        index.update((model["id"], model) for model in found)
        self._models, self._infos = index, {}
        self._fetched_at = fetched_at
        self._due = max(self._due, fetched_at + FRESH_SECONDS)

    @property
    def _path(self) -> Path:
        name = hashlib.sha256(self._base_url.encode()).hexdigest()[:16]
        return (self._folder or cache_folder()) / f"openrouter-models-{name}.json"


def kept_catalog(base_url: str | None) -> Catalog:
    """Return the catalogue as it was last kept on disk; empty where it never was. No network."""
    catalog = Catalog(base_url or OPENROUTER_BASE_URL, _never)
    catalog.recall()
    return catalog


async def _never() -> bytes:
    raise ConnectionError("only what is on disk is asked for")


def cache_folder() -> Path:
    """Return where caches go: XDG_CACHE_HOME, by default `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "llm_router"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write whole or not at all, for this user only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _names(model: str) -> Iterable[str]:
    """Yield *model*, then without its last suffix, and so on: `a/b:free:online`, `a/b:free`, …"""
    name = model.partition("@preset/")[0]
    yield name
    while ":" in name:
        name = name.rpartition(":")[0]
        yield name


def _canonical(info: ModelInfo) -> str:
    return str(info.raw.get("canonical_slug") or info.id)


class _ShapeError(ValueError):
    """A field of an entry holds something else than the catalogue's fields do."""


def _readable(raw: Mapping[str, Any]) -> ModelInfo | None:
    try:
        return _read_model(raw)
    except _ShapeError as error:
        events.emit(events.CATALOG_ENTRY_UNREADABLE, "warning", model=raw["id"], reason=str(error))
        return None


def _read_model(raw: Mapping[str, Any]) -> ModelInfo:
    """Read one entry; a field that is missing or null is unknown."""
    architecture = _mapping(raw, "architecture")
    pricing = _mapping(raw, "pricing")
    overrides = pricing.get("overrides")
    if not (overrides is None or _is_list_of(overrides, Mapping)):
        raise _ShapeError("pricing.overrides is no list of objects")
    name = raw.get("name")
    return ModelInfo(
        id=raw["id"],
        name=name if isinstance(name, str) else None,
        context_length=_count(raw, "context_length"),
        max_output_tokens=_count(_mapping(raw, "top_provider"), "max_completion_tokens"),
        supported_parameters=_words(raw, "supported_parameters"),
        input_modalities=_words(architecture, "input_modalities") or frozenset(),
        output_modalities=_words(architecture, "output_modalities") or frozenset(),
        prices=_read_prices(pricing),
        expires=_day(raw.get("expiration_date")),
        raw=raw,
    )


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    if not (value is None or isinstance(value, Mapping)):
        raise _ShapeError(f"{name} is no object")
    return value or {}


def _words(holder: Mapping[str, Any], name: str) -> frozenset[str] | None:
    value = holder.get(name)
    if not (value is None or _is_list_of(value, str)):
        raise _ShapeError(f"{name} is no list of words")
    return None if value is None else frozenset(value)


def _count(holder: Mapping[str, Any], name: str) -> int | None:
    value = holder.get(name)
    if not (value is None or (type(value) is int and value >= 0)):
        raise _ShapeError(f"{name} is no count")
    return value


def _day(value: Any) -> date | None:
    """Return the date that an ISO text begins with; None for what is none."""
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def prices_for(info: ModelInfo, usage: Usage, at: float) -> Prices:
    """Return the prices of *info* for a request of that *usage* at that time (epoch seconds).

    Long prompts and hours of the day may have their own: the entries of `overrides` whose
    conditions all hold, later ones over earlier ones. Unknown when a condition cannot be judged.
    """
    pricing = dict(_mapping(info.raw, "pricing"))
    overrides = pricing.pop("overrides", None)
    if not overrides:
        return info.prices
    for override in overrides:
        applies = _applies(override, usage, at)
        if applies is None:
            return Prices()
        if applies:
            pricing.update((n, v) for n, v in override.items() if n not in _CONDITIONS)
    return _read_prices(pricing)


def _applies(override: Mapping[str, Any], usage: Usage, at: float) -> bool | None:
    moment = datetime.fromtimestamp(at, UTC)
    now = moment.hour * 100 + moment.minute
    start, end = _number(override.get("utc_start", 0)), _number(override.get("utc_end", 2400))
    if start is None or end is None:
        return None
    # A window may pass midnight.
    if not (start <= now < end if start <= end else now >= start or now < end):
        return False
    if "min_prompt_tokens" not in override:
        return True
    least = _number(override["min_prompt_tokens"])
    if least is None or usage.input_tokens is None:
        return None
    return usage.input_tokens > least


def _read_prices(pricing: Mapping[str, Any]) -> Prices:
    return Prices(
        input=_number(pricing.get("prompt")),
        output=_number(pricing.get("completion")),
        cache_read=_number(pricing.get("input_cache_read")),
        cache_write=_number(pricing.get("input_cache_write")),
        request=_number(pricing.get("request")),
    )


def _number(value: Any) -> Decimal | None:
    """Return a price or limit; None for what cannot be one. Router models say -1: it depends."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        return money(Decimal(value))
    except InvalidOperation:
        return None
