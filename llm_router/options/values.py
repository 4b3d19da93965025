"""The values of options, checked where they enter: one error that names the right form.

A value that is wrong and let through does its harm far away: `store=False` kept the prompt, and
`tags=["a"]` lost the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

StorePolicy = Literal["none", "metadata", "full"]
StructuredMode = Literal["json_schema", "tool", "json_object", "prompt"]
MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a value is: its types, the sentence that says so, and what holds beyond them."""

    kinds: tuple[type, ...]
    form: str
    holds: Callable[[Any], bool] = lambda _: True

    def check(self, name: str, value: Any) -> None:
        # True is an int to Python, and never the number that was meant.
        fits = isinstance(value, self.kinds) and (type(value) is not bool or bool in self.kinds)
        if not (fits and self.holds(value)):
            wrong = ValueError if fits else TypeError
            raise wrong(f"{name} must be {self.form}, not {value!r:.100}")


def _texts(values: Mapping[Any, Any]) -> bool:
    return all(isinstance(text, str) for pair in values.items() for text in pair)


def _one_of(*words: str) -> _Rule:
    shown = ", ".join(map(repr, words[:-1]))
    return _Rule((str,), f"{shown} or {words[-1]!r}", words.__contains__)


_NUMBER = _Rule((int, float), "a number")
_WHOLE = _Rule((int,), "a whole number")
_TOKENS = _Rule((int,), "a whole number of tokens, at least 1", lambda n: n > 0)
_SECONDS = _Rule((int, float), "greater than 0, in seconds", lambda n: n > 0)
_TEXT = _Rule((str,), "a text")
_MAPPING = _Rule((Mapping,), "a mapping")
_FLAG = _Rule((bool,), "True or False")

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(
        (
            "temperature", "top_p", "min_p", "top_a", "frequency_penalty", "presence_penalty",
            "repetition_penalty",
        ),
        _NUMBER,
    ),
    **dict.fromkeys(("top_k", "seed", "top_logprobs"), _WHOLE),
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), _TOKENS),
    **dict.fromkeys(("timeout", "deadline", "idle_timeout"), _SECONDS),
    **dict.fromkeys(("user", "provider", "system", "verbosity", "service_tier"), _TEXT),
    **dict.fromkeys(("openrouter", "extra_body", "params", "logit_bias", "audio"), _MAPPING),
    **dict.fromkeys(("logprobs", "parallel_tool_calls"), _FLAG),
    "tags": _Rule((Mapping,), 'a mapping of texts, like {"team": "search"}', _texts),
    "metadata": _Rule((Mapping,), "a mapping of texts", _texts),
    "response_format": _Rule((Mapping,), "a mapping; a type goes to router.parse(schema=…)"),
    "stop": _Rule((str, Sequence), "a text or a list of texts"),
    "store": _one_of(*get_args(StorePolicy)),
    "mode": _one_of(*get_args(StructuredMode)),
    "cache": _Rule(
        (str, Mapping), '"auto", "off" or {"ttl": "5m"} or {"ttl": "1h"}',
        lambda value: isinstance(value, Mapping) or value in ("auto", "off", "5m", "1h"),
    ),
    "max_attempts": _Rule(
        (int,), f"greater than 0 and at most {MOST_ATTEMPTS}", lambda n: 0 < n <= MOST_ATTEMPTS
    ),
    "max_reasks": _Rule((int,), "a whole number, at least 0", lambda n: n >= 0),
}  # fmt: skip

_ELSEWHERE = {
    "stream": "use router.stream(…)",
    "n": "one call is one answer: call it n times",
    "messages": "the prompt is the second argument",
    "prompt": "the prompt is the second argument",
    "schema": "use router.parse(…, schema=…)",
    "embedding": "use router.embed(…)",
    "embeddings": "use router.embed(…)",
    "completion": "use router.complete(…)",
    "acompletion": "use router.complete(…)",
    "chat": "use router.complete(…)",
    "completions": "use router.complete(…)",
    "responses": "use router.complete(…)",
    "with_structured_output": "use router.parse(…, schema=…)",
}


def check_values(given: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError for the first value in *given* that its name cannot have."""
    for name, value in given.items():
        if value is not None and (rule := _RULES.get(name)) is not None:
            rule.check(name, value)


def elsewhere(name: str) -> str:
    """Return `: use router.stream(…)` for what other libraries call so, else nothing."""
    return f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""


def no_attribute(owner: object, name: str) -> AttributeError:
    """Return the error of an attribute that is not there, with our name for what it may mean."""
    return AttributeError(
        f"{type(owner).__name__!r} object has no attribute {name!r}{elsewhere(name)}"
    )
