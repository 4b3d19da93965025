"""The environment variables, typed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llm_router.config.environment import Settings
from llm_router.config.model import OPENROUTER_BASE_URL


def test_everything_has_its_default_when_the_environment_is_empty() -> None:
    settings = Settings()

    assert settings.openrouter_api_key is None
    assert settings.openrouter_base_url == OPENROUTER_BASE_URL
    assert settings.llm_router_config is None
    assert settings.llm_router_provider is None


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_a_blank_variable_counts_as_unset_when_it_is_read(
    blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", blank)
    monkeypatch.setenv("OPENROUTER_BASE_URL", blank)
    settings = Settings()

    assert settings.openrouter_api_key is None
    assert settings.openrouter_base_url == OPENROUTER_BASE_URL


def test_the_environment_is_read_once_when_settings_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLM_ROUTER_PROVIDER", "local")
    settings = Settings()
    monkeypatch.setenv("LLM_ROUTER_PROVIDER", "later")

    assert settings.llm_router_provider == "local"


def test_the_key_does_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "hunter2hunter2")
    settings = Settings()

    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump_json()}"
    assert settings.openrouter_api_key is not None
    assert settings.openrouter_api_key.get_secret_value() == "hunter2hunter2"


def test_settings_are_frozen_when_they_are_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().llm_router_config = "x"
