"""The environment variables this library reads, typed; a blank one counts as unset.

Read once, when a configuration is loaded, and never from a `.env` file: what a process runs on is
what its environment says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_router.config.model import OPENROUTER_BASE_URL

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    openrouter_api_key: SecretStr | None = None
    openrouter_base_url: str = OPENROUTER_BASE_URL
    llm_router_config: str | None = None
    """The configuration file, where none is named in the call."""
    llm_router_provider: str | None = None
    """The provider row for models whose prefix names none."""

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: Any, info: Any) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            return cls.model_fields[info.field_name].default
        return value

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read *environ*, by default the process's own, once."""
        if environ is None:
            return cls()
        given: dict[str, Any] = {name: environ.get(name.upper()) for name in cls.model_fields}
        return cls(**given)
