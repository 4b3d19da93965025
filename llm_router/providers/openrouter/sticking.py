"""Sticking: a conversation goes on at the upstream that served it from its cache.

OpenRouter keeps a session at one upstream for ten minutes. `stick: 1h` of an alias prefers it for
longer, by `provider.order`, which switches OpenRouter's own way off: so only after a hit, and no
longer once the cache is lost. Others may still serve when it cannot.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.answers.answer import Answer

MOST_SESSIONS = 4096
"""Those that hit longest ago are forgotten."""
_Key = tuple[str, str]


class Sticking:
    """Which upstream served which session of a model from its cache. *clock* is seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._served: OrderedDict[_Key, tuple[str, float]] = OrderedDict()

    def learn(self, request: Any, answer: Answer) -> None:
        """Remember who answered from a cache; forget it where nothing was cached any more."""
        key, read = _key_of(request), answer.usage.cache_read_tokens
        if key is None or read is None:
            return
        self._served.pop(key, None)
        if read and answer.upstream_provider is not None:
            self._served[key] = answer.upstream_provider, self._clock() + request.stick
            if len(self._served) > MOST_SESSIONS:
                self._served.popitem(last=False)

    def preferring(self, request: Any, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return *body* asking for the upstream of its session first, where nobody else says who.

        It is named as the answer named it: OpenRouter takes display names as well as slugs
        (`ProviderName` of its specification).
        """
        key = _key_of(request)
        if key is None or key not in self._served:
            return body
        upstream, until = self._served[key]
        wanted = body.get("provider") or {}
        if self._clock() >= until or wanted.get("allow_fallbacks") is False:
            return body
        if wanted.get("order") or wanted.get("sort"):
            return body
        return {**body, "provider": {**wanted, "order": [upstream]}}


def _key_of(request: Any) -> _Key | None:
    """Return under what a request is remembered; None where it does not stick.

    Calls on keys of their own do not: what one tenant's account has cached serves no other.
    """
    if getattr(request, "stick", None) is None or request.deployment.api_key is not None:
        return None
    session = request.extra_body.get("session_id") or request.openrouter.get("session_id")
    return (request.model, session) if isinstance(session, str) else None
