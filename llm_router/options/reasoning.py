"""`reasoning=`: how much a model may think, in one shape, refused early where it contradicts.

A mistake in the value is a ValueError (a wrong type a TypeError); nothing has been sent then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_router.errors import UnsupportedFeatureError
from llm_router.options.openrouter import Reasoning
from llm_router.options.request import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_FIELDS = frozenset(Reasoning.__annotations__)
# Probed: elsewhere LiteLLM drops the budget, or turns it into a level, without a word.
_LITELLM_BUDGETS = frozenset(
    ("anthropic", "azure_ai", "bedrock", "databricks", "gemini", "vertex_ai"),
)
# Probed: here LiteLLM makes every level the same "on".
_LITELLM_WITHOUT_LEVELS = frozenset(("deepseek", "mistral"))


def normalise_reasoning(
    value: str | int | Mapping[str, Any] | None,
    max_tokens: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Return OpenRouter's `reasoning` object, or None when nothing is asked.

    *value* is an effort ("low"), a budget in tokens (2000), True or False, or the object itself.
    *max_tokens* is the limit of the whole answer, which the budget must stay below; *extra* what
    else goes into the body, where the older `reasoning_effort` may contradict.
    Raises ValueError for a value that cannot be meant, TypeError for a wrong type.
    """
    if value is None:
        return None
    reasoning = _as_object(value)
    _check_fields(reasoning)
    _check_budget(reasoning.get("max_tokens"), max_tokens)
    _check_extra(reasoning, extra or {})
    return reasoning


def _as_object(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"enabled": True} if value else {"effort": "none"}
    if isinstance(value, int):
        return {"max_tokens": value}
    if isinstance(value, str):
        return {"effort": value}
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if item is not None}
    kind = type(value).__name__
    raise TypeError(f"reasoning is an effort, a budget in tokens, a bool or a mapping, not {kind}")


def _check_fields(reasoning: Mapping[str, Any]) -> None:
    for name in reasoning:
        if name not in _FIELDS:
            raise ValueError(f"reasoning has no field {name!r}{did_you_mean(name, _FIELDS)}")
    effort = reasoning.get("effort")
    if effort is not None and effort not in EFFORTS:
        known = ", ".join(EFFORTS)
        hint = did_you_mean(str(effort), EFFORTS)
        raise ValueError(f"unknown reasoning effort {effort!r}{hint} (one of {known})")
    if effort is not None and "max_tokens" in reasoning:
        raise ValueError("reasoning takes an effort or max_tokens, not both")
    off = reasoning.get("enabled") is False
    if off and (reasoning.get("max_tokens") or effort not in (None, "none")):
        raise ValueError("reasoning is switched off (enabled: false) and asked for at once")
    if reasoning.get("enabled") is True and effort == "none":
        raise ValueError("reasoning is switched on (enabled: true) with the effort 'none'")


def _check_budget(budget: Any, max_tokens: int | None) -> None:
    if budget is None:
        return
    if not isinstance(budget, int) or isinstance(budget, bool):
        raise TypeError(f"a reasoning budget is a whole number of tokens, not {budget!r}")
    if budget < 1:
        raise ValueError(f"a reasoning budget is at least 1 token, not {budget}; False is off")
    if max_tokens is not None and budget >= max_tokens:
        raise ValueError(
            f"the reasoning budget ({budget}) leaves nothing of max_tokens ({max_tokens}) "
            "for the answer: it must be smaller"
        )


def _check_extra(reasoning: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    if "reasoning" in extra:
        raise ValueError("reasoning is given twice: as an option and in extra_body")
    legacy = extra.get("reasoning_effort")
    if legacy is not None and legacy != reasoning.get("effort"):
        raise ValueError(f"reasoning contradicts reasoning_effort={legacy!r} in extra_body")


def litellm_reasoning(
    reasoning: Mapping[str, Any], provider: str, supported: Collection[str]
) -> dict[str, Any]:
    """Return *reasoning* (normalised) as parameters of `litellm.acompletion`.

    *provider* is LiteLLM's name for it, *supported* the parameters that LiteLLM lists for the
    model. Raises UnsupportedFeatureError for what LiteLLM would drop.
    """
    for name in reasoning:
        if name not in ("effort", "max_tokens", "enabled"):
            raise _unserved(f"reasoning.{name}", provider, "it is OpenRouter's alone")
    if "max_tokens" in reasoning:
        if provider not in _LITELLM_BUDGETS or "thinking" not in supported:
            raise _unserved("a reasoning budget", provider, "ask for an effort")
        budget = reasoning["max_tokens"]
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    effort = reasoning.get("effort")
    if effort is None:
        effort = "medium" if reasoning.get("enabled", True) else "none"
    elif effort != "none" and provider in _LITELLM_WITHOUT_LEVELS:
        raise _unserved("a reasoning effort", provider, "it can only be True there")
    if "reasoning_effort" not in supported:
        raise _unserved("reasoning", provider, "leave it out for this model")
    return {"reasoning_effort": effort}


def _unserved(what: str, provider: str, hint: str) -> UnsupportedFeatureError:
    return UnsupportedFeatureError(f"LiteLLM does not serve {what} for {provider}: {hint}")
