"""What must never be shown: keys, tokens and account ids, taken out of any text.

Errors and events both pass through here, so that a secret quoted by a provider (they do quote
them) reaches neither a log line, nor a traceback, nor a ledger row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "[redacted]"

# A word such as `Authorization`, `api_key=` or `"user_id":`, then the value it gives away. The
# word stays, the value goes.
_NAMED = re.compile(
    r"""(?ix)
    (?P<name>
        (?:proxy-)?authorization | x-api-key | api[-_ ]?key(?:[ ]id)? | access[-_ ]?token
      | client[-_ ]?secret | password | user[-_]id | creator_user_id | account[-_ ]id
      | organi[sz]ation(?:[-_ ]id)? | org[-_]id | team(?:[-_ ]id)? | project[-_ ]id
      | workspace[-_ ]id
    )
    (?P<gap> \\?["']? \s* [:=] \s* \\?["']? (?:(?:bearer|basic)\s+)? | \s+ (?=[0-9a-f]{8}-) )
    (?P<value> (?!\[redacted\] | (?:bearer|basic)\s) [^\s"'\\,;&)}\]]{3,} )
    """
)
# Keys give themselves away by their shape.
_KEYS = re.compile(
    r"""(?x)
    \b(?:
        sk-[A-Za-z0-9_\-]{8,}             # OpenAI, OpenRouter, Anthropic
      | (?:pk|rk|gsk|xai|pplx|hf|r8|nvapi|key)[-_][A-Za-z0-9_\-]{16,}
      | AIza[0-9A-Za-z_\-]{20,}           # Google
      | A(?:KIA|SIA)[0-9A-Z]{12,}         # AWS
      | gh[pousr]_[A-Za-z0-9]{20,}
      | eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?  # JWT
    )
    | (?<=[Bb]earer\ )[A-Za-z0-9._~+/=\-]{8,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)     # user:password in a URL
    """
)
# Also as AWS and Google write them in what they say of a failure.
# A digit, a capital or its length tells an id from a word such as `user-friendly`.
_ACCOUNTS = re.compile(
    r"\b(?:(?:user|org|proj|acct)[-_](?=[a-z]*[0-9A-Z]|[a-z]{16})[A-Za-z0-9]{6,}"
    r"|arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:\d{12}|projects/[a-z0-9-]+(?=/locations/))"
)
_SECRET_KEYS = re.compile(
    r"(?i)^(?:(?:proxy-)?authorization|x-api-key|api[-_]?key|user_id|creator_user_id|cookie"
    r"|set-cookie|password|(?:access|refresh)_token|client_secret)$"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return *text* without keys, tokens and account ids.

    *secrets* are values known to be secret (the configured keys): they go wherever they stand,
    whatever their shape.
    """
    return _ACCOUNTS.sub(MASK, redact_keys(text, secrets))


def redact_keys(text: str, secrets: Iterable[str] = ()) -> str:
    """Return *text* without keys and tokens: for labels of the application (`user`, tags, models).

    A label such as `user-4711ab` has the shape of an account id and is meant to be kept.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _KEYS.sub(MASK, text)
    return _NAMED.sub(lambda found: f"{found['name']}{found['gap']}{MASK}", text)


def redact_data(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return *value* (JSON-like) with every string redacted and secret keys masked."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, Mapping):
        return {
            key: MASK
            if _SECRET_KEYS.match(str(key)) and item is not None
            else redact_data(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_data(item, known) for item in value]
    return value
