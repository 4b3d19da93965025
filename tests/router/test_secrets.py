"""Whatever fails, and whoever shows it: no key, no header value, no account id, no password."""

from __future__ import annotations

import asyncio
import copy
import faulthandler
import io
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from rich.traceback import Traceback
from structlog.tracebacks import ExceptionDictTransformer

import llm_router
from llm_router.config.model import AliasConfig, LedgerConfig, ProviderConfig, RouterConfig
from llm_router.errors import LLMRouterError
from llm_router.ledger.ledger import Ledger
from llm_router.router import Router
from llm_router.sync import SyncRouter
from tests.providers.scripted import Wire, wire

KEY = "sk-or-v1-" + "5ec2e7" * 10
HEADER = "open-sesame-4711"
ACCOUNT = "user_2N0bodyMayKnow"
PASSWORD = "correct-horse-battery"
SECRETS = {"key": KEY, "header": HEADER, "account": ACCOUNT, "password": PASSWORD}
URL = f"postgresql://me:{PASSWORD}@127.0.0.1:9/calls"
PACKAGE = str(Path(llm_router.__file__).parent)


# --- who shows it ---------------------------------------------------------------------------


def own_frames(error: BaseException) -> BaseException:
    """Leave out the frames before the package's own: the tests' hold what they configured."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next
    return error.with_traceback(trace)


def chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        yield from getattr(link, "exceptions", ())
        link = link.__cause__ or link.__context__


def insides(value: Any, seen: set[int], deepest: int, depth: int = 0) -> Iterator[str]:
    """Give the repr of *value*, and of all that a debugger finds in it by `vars()`."""
    if id(value) in seen or depth > deepest:
        return
    seen.add(id(value))
    try:
        yield repr(value)
    except Exception:  # half-built
        return
    if type(value).__module__.startswith("llm_router"):
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        parts = [getattr(value, name, None) for name in slots] + list(vars_of(value).values())
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    else:
        parts = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    for part in parts:
        yield from insides(part, seen, deepest, depth + 1)


def vars_of(value: Any) -> dict[str, Any]:
    return vars(value) if hasattr(value, "__dict__") else {}


def local_variables(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield from insides(dict(frame.f_locals), seen, 2)


def by_structlog(error: BaseException) -> str:
    show = ExceptionDictTransformer(
        show_locals=True, locals_max_string=10_000, locals_max_length=1_000
    )
    return repr(show((type(error), error, error.__traceback__)))


def by_rich(error: BaseException) -> str:
    """Give what rich writes, without its colours, which take a second."""
    trace = Traceback.extract(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_string=10_000,
        locals_max_length=1_000,
    )
    said = [(stack.exc_type, stack.exc_value, stack.notes) for stack in trace.stacks]
    frames = [frame for stack in trace.stacks for frame in stack.frames]
    return repr(said) + "".join(str(v) for f in frames for v in (f.locals or {}).values())


def by_the_standard_library(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def by_repr(error: BaseException) -> str:
    links = list(chain(error))
    return repr([(link, str(link), link.args, vars(link)) for link in links])


def by_pickle(error: BaseException) -> str:
    ours = [link for link in chain(error) if isinstance(link, LLMRouterError)]
    return pickle.dumps(ours, protocol=0).decode("latin-1")


def by_a_debugger(error: BaseException) -> str:
    return "\n".join(line for link in chain(error) for line in local_variables(link))


RENDERERS = [by_structlog, by_rich, by_the_standard_library, by_repr, by_pickle, by_a_debugger]


def told_in(shown: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(how, what) for how, text in shown.items() for what in SECRETS if SECRETS[what] in text]


def leaks(error: BaseException) -> list[tuple[str, str]]:
    error = own_frames(error)
    return told_in({show.__name__: show(error) for show in RENDERERS})


@pytest.fixture(autouse=True)
def debug_log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What every library says at DEBUG; nothing of it may be a secret, whatever the test does."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    if "acompletion" in request.node.name:  # what LiteLLM sends, it logs as it likes
        theirs = ("LiteLLM", "openai", "httpx", "httpcore")
        handler.addFilter(lambda record: not record.name.startswith(theirs))
    loggers = [logging.root, *(logging.getLogger(n) for n in ("aiohttp", "asyncio", "sqlalchemy"))]
    loggers += [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(1)
    logging.root.addHandler(handler)
    yield out
    logging.root.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    assert told_in({"log": out.getvalue()}) == []


# --- calls that fail ------------------------------------------------------------------------

QUOTE = f"no {KEY} for {ACCOUNT} through {HEADER}"
ERROR = {
    "message": QUOTE,
    "code": 401,
    "metadata": {"raw": json.dumps({"message": QUOTE}), "headers": {"X-Gate": HEADER}},
}


def answering(
    status: int, body: Any = None, **headers: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def reply(_: web.Request) -> web.Response:
        content = {"error": ERROR, "user_id": ACCOUNT} if body is None else body
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(
            text=text, status=status, headers=headers, content_type="application/json"
        )

    return reply


async def cut_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def no_http(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(f"SSH-2.0 {QUOTE}\r\n".encode())
    return web.Response()


async def late(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(20)
    return web.Response()


async def broken_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    delta = {"id": "1", "choices": [{"index": 0, "delta": {"content": "So"}}]}
    for event in (delta, {"error": ERROR, "user_id": ACCOUNT}):
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    return response


FAULTS = {
    **{str(status): answering(status) for status in (400, 401, 403, 404, 429, 500, 200)},
    "no json": answering(200, QUOTE),
    "half": answering(200, json.dumps({"choices": [QUOTE]})[:-3]),
    "blank": answering(200, {"choices": [], "id": KEY, "user_id": ACCOUNT}),
    "moved": answering(307, QUOTE, Location=f"https://x.example/?api_key={KEY}"),
    "an encoding": answering(200, **{"Content-Encoding": HEADER}),
    "cut off": cut_off,
    "no http": no_http,
    "late": late,
    "a broken stream": broken_stream,
}
ROWS: dict[str, dict[str, Any]] = {
    "openrouter": {},
    "openai": {"litellm": "openai"},
    "anthropic": {"litellm": "anthropic"},
    "gemini": {"litellm": "gemini"},
    "acompletion": {"litellm": "openai", "path": "acompletion"},
}


@asynccontextmanager
async def routed(kind: str, url: str, **sections: Any) -> AsyncIterator[Router]:
    row = {"api_key": KEY, "base_url": url, "headers": {"X-Gate": HEADER}, **ROWS[kind]}
    router = Router.from_dict(
        {
            "providers": {kind: row},
            "defaults": {"max_attempts": 1, "deadline": 0.5},
            "aliases": {"fast": {"model": f"{kind}/some/model"}},
            **sections,
        }
    )
    async with router:
        yield router


@pytest.fixture
async def server() -> AsyncIterator[Wire]:
    async with wire() as served:
        yield served


async def complete(router: Router) -> None:
    await router.complete("fast", "Hello")


async def stream(router: Router) -> None:
    async with router.stream("fast", "Hello") as opened:
        await opened.collect()


async def parse(router: Router) -> None:
    await router.parse("fast", "Hello", schema=dict[str, int])


async def embed(router: Router) -> None:
    await router.embed("fast", ["Hello"])


async def caught(act: Callable[[Router], Awaitable[None]], router: Router) -> BaseException:
    try:
        await act(router)
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ROWS)
async def test_nothing_shows_a_secret_when_a_call_fails(
    server: Wire, kind: str, fault: str
) -> None:
    asyncio.get_running_loop().set_debug(True)
    server.replies.append(FAULTS[fault])
    async with routed(kind, server.url) as router:
        acts = (complete, stream) if kind != "openrouter" else (complete, stream, parse, embed)
        for act in acts:
            if act is not complete or fault != "a broken stream":
                assert leaks(await caught(act, router)) == [], act.__name__


@pytest.mark.parametrize("kind", ROWS)
async def test_nothing_shows_a_secret_when_nobody_listens(kind: str) -> None:
    async with routed(kind, "http://127.0.0.1:9/v1") as router:
        assert leaks(await caught(complete, router)) == []


@pytest.mark.parametrize("kind", ROWS)
async def test_nothing_shows_a_secret_when_the_caller_does_not_wait(
    server: Wire, kind: str
) -> None:
    async def impatient(router: Router) -> None:
        async with asyncio.timeout(0.1):
            await router.complete("fast", "Hello", deadline=9)

    server.replies.append(late)
    async with routed(kind, server.url) as router:
        error = await caught(impatient, router)
    assert isinstance(error, TimeoutError)
    assert leaks(error) == []


async def test_nothing_shows_a_secret_when_two_deployments_fail(server: Wire) -> None:
    server.replies.append(FAULTS["500"])
    aliases = {"fast": {"model": "openrouter/a/b", "fallbacks": ["openrouter/c/d"]}}
    defaults = {"max_attempts": 2}
    async with routed("openrouter", server.url, aliases=aliases, defaults=defaults) as router:
        assert leaks(await caught(complete, router)) == []


async def test_a_dump_of_all_threads_shows_no_secret_while_a_call_is_under_way(
    server: Wire, tmp_path: Path
) -> None:
    dump = tmp_path / "threads"

    async def dumping(_: web.Request) -> web.StreamResponse:
        with dump.open("w") as file:
            faulthandler.dump_traceback(file)
        return web.Response(status=500)

    server.replies.append(dumping)
    async with routed("openrouter", server.url) as router:
        await caught(complete, router)
    assert "dumping" in dump.read_text()
    assert told_in({"faulthandler": dump.read_text()}) == []


# --- set-ups that fail ----------------------------------------------------------------------

ROW = {"api_key": KEY, "base_url": "http://127.0.0.1:9/v1", "headers": {"X-Gate": HEADER}}
DATA: dict[str, Any] = {
    "providers": {"openrouter": ROW},
    "aliases": {"fast": {"model": "openrouter/a/b"}},
    "ledger": {"url": URL},
}


def from_dict() -> None:
    Router.from_dict({**DATA, "alias": {}})


def from_dict_without_a_loop() -> None:
    SyncRouter.from_dict({**DATA, "aliases": {"fast": "slow"}})


def from_code() -> None:
    RouterConfig(**{**DATA, "aliases": {"fast": AliasConfig(model="slow")}})


def from_code_of_a_wrong_type() -> None:
    RouterConfig(**{**DATA, "defaults": 5})


def from_a_file_with_a_key_in_clear(folder: Path) -> None:
    file = folder / "llm_router.yaml"
    file.write_text(json.dumps({**DATA, "alias": {}}))
    Router.from_yaml(file)


def from_a_file_that_is_no_yaml(folder: Path) -> None:
    file = folder / "llm_router.yaml"
    file.write_text(f"providers:\n  openrouter: {{api_key: {KEY}\nledger: {URL}\n")
    Router.from_yaml(file)


def over_plain_http() -> None:
    row = {**ROW, "base_url": "http://gateway.example/v1"}
    Router.from_dict({**DATA, "providers": {"openrouter": row}})


def a_header_with_a_line_break() -> None:
    row = {**ROW, "headers": {"X-Gate": f"{HEADER}\n"}}
    with SyncRouter.from_dict({**DATA, "ledger": "none", "providers": {"openrouter": row}}):
        pass


def a_url_that_cannot_be_read() -> None:
    Ledger(LedgerConfig(url=f"postgresql://me:{PASSWORD}@host:{PASSWORD}/calls")).status()


def a_password_in_place_of_the_port() -> None:
    asyncio.run(Ledger(LedgerConfig(url=f"postgresql://me:{PASSWORD}")).open())


def a_database_that_is_away(command: str) -> Callable[[], None]:
    def act() -> None:
        arguments = {"rows_days": 1} if command == "purge" else {}
        getattr(Ledger(LedgerConfig(url=URL)), command)(**arguments)

    act.__name__ = f"{command} of a database that is away"
    return act


SETUPS = [
    from_dict,
    from_dict_without_a_loop,
    from_code,
    from_code_of_a_wrong_type,
    from_a_file_with_a_key_in_clear,
    from_a_file_that_is_no_yaml,
    over_plain_http,
    a_header_with_a_line_break,
    a_url_that_cannot_be_read,
    a_password_in_place_of_the_port,
    *map(a_database_that_is_away, ("status", "upgrade", "logs", "report", "purge")),
]


@pytest.mark.parametrize("act", SETUPS, ids=lambda act: act.__name__)
def test_nothing_shows_a_secret_when_a_set_up_fails(
    act: Callable[..., None], tmp_path: Path
) -> None:
    takes_a_folder = "folder" in act.__code__.co_varnames[: act.__code__.co_argcount]
    with pytest.raises(LLMRouterError) as caught:
        act(*[tmp_path] * takes_a_folder)
    assert leaks(caught.value) == []


# --- objects --------------------------------------------------------------------------------


async def test_no_object_shows_a_secret_however_deep_one_looks(server: Wire) -> None:
    server.replies.append(answering(200, {"choices": [{"message": {"content": "Hi"}}], "id": "1"}))
    for kind in ROWS:
        async with routed(kind, server.url, ledger={"url": URL}) as router:
            if kind in ("openrouter", "openai"):
                await complete(router)
            shown = "\n".join(insides(router, set(), 20))
            assert told_in({kind: shown}) == []
            assert "[redacted]" in shown


def test_a_configuration_shows_no_secret_in_dumps_dicts_copies_and_pickles() -> None:
    config = RouterConfig(**DATA)
    given = ProviderConfig(api_key=SecretStr(KEY))
    shown = {
        "repr": repr((config, given)),
        "vars": repr([vars(config), vars(config.ledger), vars(config.providers["openrouter"])]),
        "the key": repr(vars(given.api_key)),
        "dump": repr(config.model_dump()),
        "json": config.model_dump_json() + config.text,
        "pickle": pickle.dumps((config, given), protocol=0).decode("latin-1"),
    }
    assert told_in(shown) == []
    assert "postgresql://[redacted]@127.0.0.1:9/calls" in shown["vars"]
    kept = copy.deepcopy(config)
    assert kept.providers["openrouter"].key == KEY
    assert kept.ledger is not None and str(kept.ledger.url) == URL


def test_a_key_is_looked_up_again_when_a_configuration_comes_out_of_a_pickle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    pickled = pickle.dumps(Router.from_dict({"ledger": {"url": "sqlite:///calls.db"}}).config)
    monkeypatch.setenv("OPENROUTER_API_KEY", "the-key-of-tomorrow")
    config: RouterConfig = pickle.loads(pickled)
    assert config.providers["openrouter"].key == "the-key-of-tomorrow"
    assert config.ledger is not None and config.ledger.url == "sqlite:///calls.db"
