"""What must never be shown goes; what an application needs to read stays."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.redaction import MASK, redact, redact_data, redact_keys
from tests.pace import cpu_seconds

OPENROUTER = "sk-or-v1-" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "secret",
    [
        OPENROUTER,
        "sk-proj-abcdefgh12345678",
        "sk-ant-api03-abcdefgh_1234",
        "AIzaSyA1234567890abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz",
        "gsk_abcdefghijklmnopqrstuvwx",
        "hf_abcdefghijklmnopqrstuvwx",
        "xai-abcdefghijklmnopqrstuvwx",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
        "user_2abcDEF3ghi",
        "org-abcdef123456",
    ],
)
def test_a_secret_goes_wherever_it_stands(secret: str) -> None:
    for text in (f"Bad key {secret}.", f'{{"key":"{secret}"}}', f"({secret})", f"'{secret}'"):
        assert secret not in redact(text)
        assert MASK in redact(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-ghi", f"Authorization: Bearer {MASK}"),
        ("api_key=hunter22", f"api_key={MASK}"),
        ('"x-api-key": "hunter22"', f'"x-api-key": "{MASK}"'),
        ('{\\"user_id\\": \\"abc12345\\"}', f'{{\\"user_id\\": \\"{MASK}\\"}}'),
        ("password: hunter22, then", f"password: {MASK}, then"),
        ("in organization org-abcdef99 on", f"in organization {MASK} on"),
        ("postgresql://bob:hunter22@db/calls", f"postgresql://{MASK}@db/calls"),
    ],
)
def test_the_value_goes_and_its_name_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit exceeded: free-models-per-min. ",
        "openrouter/openai/gpt-4o-mini",
        "This endpoint's maximum context length is 128000 tokens.",
        "No endpoints found that support tool use.",
        "gen-1750000000-abcdefghijklmnop",
        "0196f7a2-7c3e-7b1a-9c55-0a1b2c3d4e5f",
        "https://openrouter.ai/settings/keys",
        "task-force user-friendly project-based",
        "",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redact(text) == text


@given(st.text(), st.text(string.ascii_letters + string.digits + "-_", min_size=12), st.text())
def test_a_known_secret_goes_whatever_its_shape(before: str, secret: str, after: str) -> None:
    assert secret not in redact(before + secret + after, [secret]).replace(MASK, "")


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_labels_of_the_application_keep_their_shape() -> None:
    assert redact_keys("user-4711ab") == "user-4711ab"
    assert redact_keys(f"user-4711ab {OPENROUTER}") == f"user-4711ab {MASK}"
    assert redact("user-4711ab") == MASK


@pytest.mark.parametrize("word", ["", "b", "ollama", "local", "sk-1234"])
def test_a_value_of_less_than_eight_characters_is_a_word_and_stays(word: str) -> None:
    text = f"no abc is nonexistent at ollama, local or {word}"
    assert redact(text, [word]) == text
    assert redact_data({"label": word}, [word]) == {"label": word}


def test_the_longer_of_two_secrets_goes_whole_when_it_holds_the_shorter() -> None:
    assert redact("a hunter22hunter23 b", ["hunter22", "hunter22hunter23"]) == f"a {MASK} b"


@pytest.mark.parametrize(
    "text",
    [
        "a clearer understanding of nearer destinations",
        "risk-free-and-unquestionably task-force",
        "İstanbul İzmir organization of teams: a",
    ],
)
def test_what_only_resembles_a_key_stays(text: str) -> None:
    assert redact(text) == text


def test_a_value_is_found_behind_letters_that_grow_in_lower_case() -> None:
    assert redact("İİİ API_KEY=hunter22 İ") == f"İİİ API_KEY={MASK} İ"


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox, the lazy dog: a team of users. " * 20_000,
        "x" * 2**20,
        "user_id=" * 2**17,
        "team:team " * 100_000,
        "eyJ-" * 2**18,
        "://a:" * 200_000,
    ],
    ids=lambda text: text[:10],
)
def test_a_mebibyte_takes_no_time_to_speak_of(text: str) -> None:
    # A tenth of this on an idle machine for plain text; minutes when a pattern is quadratic.
    assert cpu_seconds(lambda: redact(text)) < 0.5


def test_data_is_redacted_inside_and_keeps_its_form() -> None:
    data: dict[str, Any] = {
        "Authorization": "anything at all",
        "api_key": None,
        "user_id": 17,
        "nested": [{"message": f"bad {OPENROUTER}"}, 1, None, True, ("x", "hunter22")],
    }
    assert redact_data(data, ["hunter22"]) == {
        "Authorization": MASK,
        "api_key": None,
        "user_id": MASK,
        "nested": [{"message": f"bad {MASK}"}, 1, None, True, ["x", MASK]],
    }
