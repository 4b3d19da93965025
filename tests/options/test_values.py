"""What an option's value may be, told where it enters."""

from __future__ import annotations

from typing import Any

import pytest

from llm_router import Router, SyncRouter
from llm_router.errors import ConfigurationError
from llm_router.options.request import OPTION_NAMES, check_options
from llm_router.options.values import MOST_ATTEMPTS, check_values

WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("store", False, TypeError, "'none', 'metadata' or 'full', not False"),
    ("store", "metdata", ValueError, "'none', 'metadata' or 'full', not 'metdata'"),
    ("tags", ["a"], TypeError, "a mapping of texts"),
    ("tags", {"a": 1}, ValueError, "a mapping of texts"),
    ("mode", "json", ValueError, "'json_schema', 'tool', 'json_object' or 'prompt'"),
    ("cache", True, TypeError, '"auto", "off"'),
    ("cache", "always", ValueError, '"auto", "off"'),
    ("timeout", "3", TypeError, "in seconds, not '3'"),
    ("deadline", -1, ValueError, "greater than 0"),
    ("idle_timeout", True, TypeError, "in seconds"),
    ("max_reasks", -1, ValueError, "at least 0"),
    ("max_attempts", MOST_ATTEMPTS + 1, ValueError, f"at most {MOST_ATTEMPTS}"),
    ("max_attempts", 1.5, TypeError, "greater than 0"),
    ("temperature", "hot", TypeError, "a number, not 'hot'"),
    ("max_tokens", "512", TypeError, "a whole number of tokens"),
    ("max_tokens", 0, ValueError, "at least 1"),
    ("seed", 1.5, TypeError, "a whole number"),
    ("response_format", int, TypeError, r"router\.parse\(schema=…\)"),
    ("stop", 3, TypeError, "a text or a list of texts"),
    ("user", 7, TypeError, "a text"),
    ("extra_body", "x", TypeError, "a mapping"),
    ("logprobs", 1, TypeError, "True or False"),
]


@pytest.mark.parametrize(("name", "value", "wrong", "said"), WRONG)
def test_the_right_form_is_said_when_a_value_is_wrong(
    name: str, value: Any, wrong: type[Exception], said: str
) -> None:
    with pytest.raises(wrong, match=f"^{name} must be .*{said}"):
        check_values({name: value})


def test_every_right_value_passes_and_none_means_not_given() -> None:
    check_values(
        {
            "store": "full", "tags": {"a": "b"}, "mode": "tool", "cache": {"ttl": "1h"},
            "timeout": 3, "deadline": 0.5, "max_reasks": 0, "max_attempts": MOST_ATTEMPTS,
            "temperature": 0, "max_tokens": 1, "stop": ["a"], "logprobs": False,
        }
    )  # fmt: skip
    check_values(dict.fromkeys(name for name, *_ in WRONG))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stream", r"use router\.stream\(…\)"),
        ("n", "one call is one answer"),
        ("schema", r"use router\.parse\(…, schema=…\)"),
        ("temperatur", "did you mean 'temperature'"),
    ],
)
def test_a_name_of_another_library_is_answered_with_ours(name: str, said: str) -> None:
    with pytest.raises(TypeError, match=f"complete.. got an unexpected .*'{name}'.*{said}"):
        check_options("complete()", {name: 2}, OPTION_NAMES)


@pytest.mark.parametrize("cls", [Router, SyncRouter])
def test_a_router_says_how_it_is_made_and_what_it_calls_things(cls: type[Any]) -> None:
    wrong: tuple[Any, ...] = ({}, "llm_router.yaml")
    for config in wrong:
        with pytest.raises(TypeError, match=r"Router\.from_dict\(\{…\}\)"):
            cls(config)
    with pytest.raises(TypeError, match="a list of observers"):
        cls.from_dict({}, observers=print)
    aliases = {"fast": {"model": "openrouter/openai/gpt-4o-mini"}}
    router = cls.from_dict({"aliases": aliases})
    assert repr(router) == f"<{cls.__name__} of 1 alias: fast>"
    for name, ours in {"embedding": "embed", "chat": "complete", "completion": "complete"}.items():
        with pytest.raises(AttributeError, match=rf"'{name}': use router\.{ours}\("):
            getattr(router, name)
    assert not hasattr(router, "frobnicate")


def test_a_parameter_of_a_wrong_type_is_found_in_the_file() -> None:
    row = {"model": "openrouter/openai/gpt-4o-mini", "params": {"temperature": "hot"}}
    with pytest.raises(ConfigurationError, match=r"a\.params: temperature must be a number"):
        Router.from_dict({"aliases": {"a": row}})
