"""Whether what an answer counts, costs and names stands in the bytes it was read from."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from random import Random

from llm_router.answers.completion import Completion
from llm_router.answers.stream_events import UsageReport
from llm_router.errors import ProviderError
from llm_router.usage import Cost, Usage
from llm_router.wires.reading import Wire

# A figure behind a key that counts or charges. Bytes of a stream may have its marks in between.
_FIGURE = re.compile(
    rb'("[A-Za-z_]*(?:[Tt]oken|eval_count|cost)[A-Za-z_]*"\s*:(?:\s|data:)*)(-?\d[\d.eE+-]*)'
)
_TICK = Decimal("1e-10")
_MOST_DIGITS = 20


def renumbered(body: bytes, dice: Random) -> bytes:
    """Return *body* with other figures, so large that no sum of some is another by accident."""

    def other(found: re.Match[bytes]) -> bytes:
        number = dice.randrange(10**7, 10**11)
        money = b"." in found[2] or b"e" in found[2]
        return found[1] + (b"0.%012d" if money else b"%d") % number

    return _FIGURE.sub(other, body)


def figures_in(body: bytes) -> set[Decimal]:
    """Return the counts and charges that stand in *body*, as far as they can be any."""
    found = set()
    for match in _FIGURE.finditer(body):
        with suppress(InvalidOperation):
            found.add(Decimal(match[2].decode()))
    return {figure for figure in found if figure.is_finite() and figure.adjusted() < _MOST_DIGITS}


def read_by(wire: Wire, status: int, headers: dict[str, str], body: bytes) -> list[object]:
    """Return what *body* is as a text and, piece by piece, as a stream: all that has figures."""
    said: list[object] = []
    try:
        said.append(wire.read_answer(status, headers, body))
    except ProviderError as error:
        said.append(error)
    reader = wire.reader(headers)
    for start in range(0, len(body), 97):
        said += reader.feed(body[start : start + 97])
    try:
        said += reader.close()
    except ProviderError as error:
        said.append(error)
    return [*said, reader.snapshot()]


def assert_nothing_invented(said: object, body: bytes, headers: dict[str, str]) -> None:
    """Check an answer, an error or a report of usage against the bytes that it was read from."""
    if not isinstance(said, Completion | ProviderError | UsageReport):
        return
    figures = figures_in(body)
    _check_usage(said.usage or Usage(), figures)
    _check_cost(said.cost or Cost(), figures)
    if not isinstance(said, UsageReport):
        shown = body.replace(b"\\/", b"/") + json.dumps(headers).encode()
        for name in (said.response_id, said.model):
            assert name is None or _stands(name, shown), name


def _stands(name: str, shown: bytes) -> bool:
    """Whether *name* is a string of JSON in *shown*; half a character of it stands otherwise.

    Errors cut a name that is longer than names are.
    """
    if name.endswith("…"):
        return f'"{name[:-1]}'.encode() in shown or json.dumps(name[:-1])[:-1].encode() in shown
    texts = (f'"{name}"', json.dumps(name)) if "\ufffd" not in name else name.split("\ufffd")
    return any(text.encode() in shown for text in texts)


def _check_usage(usage: Usage, figures: set[Decimal]) -> None:
    for name, figure in usage.to_dict().items():
        summed = name in ("input_tokens", "output_tokens")
        assert figure is None or _adds_up(Decimal(figure), figures, 3 if summed else 1), name


def _adds_up(figure: Decimal, figures: set[Decimal], most: int) -> bool:
    """Whether *figure* is one of *figures*, or a sum of up to *most* of them."""
    return figure in figures or (
        most > 1 and any(_adds_up(figure - part, figures, most - 1) for part in figures)
    )


def _check_cost(cost: Cost, figures: set[Decimal]) -> None:
    assert cost.computed is None
    for amount in (cost.reported, cost.upstream):
        assert amount is None or {amount, amount / _TICK} & figures
    both = None if cost.reported is None else cost.reported + (cost.upstream or 0)
    assert cost.total in (None, both)
    assert cost.source == ("unknown" if cost.total is None else "provider")
