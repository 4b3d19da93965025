"""What must never be shown: keys, tokens and account ids, taken out of any text.

Errors and events both pass through here, so that a secret quoted by a provider (they do quote
them) reaches neither a log line, nor a traceback, nor a ledger row. It is done on the event loop:
every pattern is linear, and begins with letters of its own, which are looked for first (a MiB
takes some 30 ms).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

MASK = "[redacted]"
# A shorter value (`ollama`, `x`) is a word of the language, not a key. No pattern fits less.
_SHORTEST_SECRET = 8


class Secret(str):
    """Text that is used and never shown: its repr is a mask, that of a slice too, and so is what
    a pickle keeps of it.

    Tracebacks with local variables (structlog, rich), `vars` and dicts show reprs. Formatted, it
    is in clear.
    """

    __slots__ = ()

    def shown(self) -> str:
        """Return what may be seen in its place."""
        return MASK

    def __repr__(self) -> str:
        return repr(self.shown())

    def __getitem__(self, key: Any) -> Secret:
        return Secret(super().__getitem__(key))

    def __reduce__(self) -> Any:
        return type(self), (self.shown(),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: Any) -> Self:
        return self


# Each pattern with the letters it begins with: where they are not, it need not be tried.
# Keys give themselves away by their shape. Group 1, where there is one, stays. What may hold a
# key of another shape comes first.
_KEYS = {
    "earer ": re.compile(r"(earer )(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{8,}"),
    "://": re.compile(r"(://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password in a URL
    "sk-": re.compile(r"sk-(?<!\wsk-)[A-Za-z0-9_\-]{8,}"),  # OpenAI, OpenRouter, Anthropic
    **{
        name: re.compile(rf"{name}[-_](?<!\w{name}[-_])[A-Za-z0-9_\-]{{16,}}")
        for name in ("pk", "rk", "gsk", "xai", "pplx", "hf", "r8", "nvapi", "key")
    },
    **{name: re.compile(rf"{name}(?<!\w{name})[0-9A-Z]{{12,}}") for name in ("AKIA", "ASIA")},
    "AIza": re.compile(r"AIza(?<!\wAIza)[0-9A-Za-z_\-]{20,}"),  # Google
    "gh": re.compile(r"gh[pousr]_(?<!\w....)[A-Za-z0-9]{20,}"),
    "eyJ": re.compile(  # JWT
        r"eyJ(?<![A-Za-z0-9_\-]eyJ)[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?"
    ),
}
# A digit, a capital or its length tells an id from a word such as `user-friendly`.
# Also as AWS and Google write them in what they say of a failure.
_ACCOUNTS = {
    **{
        name: re.compile(
            rf"{name}[-_](?<!\w{name}[-_])(?=[a-z]*[0-9A-Z]|[a-z]{{16}})[A-Za-z0-9]{{6,}}"
        )
        for name in ("user", "org", "proj", "acct")
    },
    "arn:aws": re.compile(r"arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:\d{12}"),
    "projects/": re.compile(r"projects/[a-z0-9-]+(?=/locations/)"),
}
# A name such as `Authorization`, `api_key=` or `"user_id":`, in lower case; the value that it
# gives away begins where this ends.
_NAMES = {
    word: re.compile(rf"""{word}{rest}(?:\\?["']?\s{{0,9}}[:=]|\s{{1,9}}(?=[0-9a-f]{{8}}-))""")
    for word, rest in {
        "authorization": "",
        "api": "[-_ ]?key(?: id)?",
        "access": "[-_ ]?token",
        "client": "[-_ ]?secret",
        "password": "",
        "user": "[-_]id",
        "account": "[-_ ]id",
        "organi": "[sz]ation(?:[-_ ]id)?",
        "org": "[-_]id",
        "team": "(?:[-_ ]id)?",
        "project": "[-_ ]id",
        "workspace": "[-_ ]id",
    }.items()
}
_VALUE = re.compile(
    r"""(?ix) \s{0,9} \\?["']? (?:(?:bearer|basic)\s{1,9})?
    (?P<value> (?!\[redacted\] | (?:bearer|basic)\s) [^\s"'\\,;&)}\]]{3,} )"""
)
_SECRET_KEYS = re.compile(
    r"(?i)^(?:(?:proxy-)?authorization|x-api-key|api[-_]?key|user_id|creator_user_id|cookie"
    r"|set-cookie|password|(?:access|refresh)_token|client_secret)$"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return *text* without keys, tokens and account ids.

    *secrets* are values known to be secret (the configured keys): those of eight characters and
    more go wherever they stand, whatever their shape.
    """
    if len(text) < _SHORTEST_SECRET:
        return text
    return _masked(redact_keys(text, secrets), _ACCOUNTS)


def redact_keys(text: str, secrets: Iterable[str] = ()) -> str:
    """Return *text* without keys and tokens: for labels of the application (`user`, tags, models).

    A label such as `user-4711ab` has the shape of an account id and is meant to be kept.
    """
    return _without_named(_masked(_without(text, secrets), _KEYS))


def redact_shapes(text: str, secrets: Iterable[str] = ()) -> str:
    """Return *text* without what has the shape of a key or an account id, whatever it is called.

    For words about the application's own data: what stands behind its field `password` is no
    secret of ours.
    """
    return _masked(_masked(_without(text, secrets), _KEYS), _ACCOUNTS)


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text


def _masked(text: str, patterns: Mapping[str, re.Pattern[str]]) -> str:
    for beginning, pattern in patterns.items():
        if beginning in text:
            text = pattern.sub(rf"\1{MASK}" if pattern.groups else MASK, text)
    return text


def _without_named(text: str) -> str:
    """Return *text* without the values that stand behind a telling name."""
    low = text.replace("İ", "i").lower()  # It alone would become two characters.
    names = [name for word, name in _NAMES.items() if word in low]
    starts = sorted(found.end() for name in names for found in name.finditer(low))
    pieces: list[str] = []
    done = 0
    for start in starts:
        if start >= done and (found := _VALUE.match(text, start)):
            pieces += (text[done : found.start("value")], MASK)
            done = found.end()
    return "".join((*pieces, text[done:])) if pieces else text


def names_secret(name: str) -> bool:
    """Return whether a key of this name holds a secret."""
    return _SECRET_KEYS.match(name) is not None


def redact_data(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return *value* (JSON-like) with every string redacted, names too, and secret keys masked."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, Mapping):
        return {
            redact_keys(key, known) if isinstance(key, str) else key: MASK
            if names_secret(str(key)) and item is not None
            else redact_data(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_data(item, known) for item in value]
    return value
