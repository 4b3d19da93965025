"""What the environment says: the variables this library reads, and `${VAR}` in a configuration.

Read when a configuration is loaded, and never from a `.env` file: what a process runs on is what
its environment says. A blank variable counts as unset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_router.config.findings import Finding, Path, hide_password, is_secret, names_secret, quote
from llm_router.config.model import OPENROUTER_BASE_URL, ApiKey
from llm_router.redaction import Secret

DEEPEST = 40
_REFERENCE = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?P<name>[^{}:]*)(?::-(?P<default>(?:[^}$]|\$(?!\{))*))?\}|\$\{"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(?P<part>\.[0-9]{1,17})?")
_FREE_FORM = ("params", "openrouter")
_SECRET_VARIABLE = re.compile(r"(?i)(key|token|secret|password|credentials)$")
_SHORTEST_SECRET = 8


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    openrouter_api_key: SecretStr | None = None
    openrouter_base_url: str = OPENROUTER_BASE_URL
    llm_router_config: str | None = None
    """The configuration file, where none is named in the call."""
    llm_router_provider: str | None = None
    """The provider row for models whose prefix names none."""

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        blank = isinstance(value, str) and not value.strip()
        return cls.model_fields[str(info.field_name)].default if blank else value


@dataclass(slots=True)
class Substitution:
    """Data with `${VAR}` and `${VAR:-default}` filled in, and what was found on the way.

    `$${` is a plain `${`.
    """

    raw: dict[Path, str] = field(default_factory=dict)
    """The texts that held a variable, as written: what a message may quote."""
    secrets: set[str] = field(default_factory=set)
    """Values that no message may show."""
    findings: list[Finding] = field(default_factory=list)
    unset: set[Path] = field(default_factory=set)
    """Where a value is missing because a variable is."""

    def fill(self, value: Any, path: Path = ()) -> Any:
        """Return *value* as plain dicts, lists and scalars, with every variable in place."""
        if len(path) > DEEPEST:
            self.findings.append(Finding(path[:1], "nested too deeply"))
            return None
        if isinstance(value, Mapping):
            return {str(k): self.fill(item, (*path, str(k))) for k, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.fill(item, (*path, place)) for place, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: Path) -> Any:
        filled, missing = text, list[str]()
        if _REFERENCE.search(text):
            self.raw[path] = text
            filled = _REFERENCE.sub(lambda found: self._value(found, path, missing), text)
        else:
            self._warn_of_clear(text, path)
        if is_secret(path):
            self._keep_secret(filled)
        if _is_api_key(path):
            # Without its variable there are no credentials: an error at the call, not at loading.
            named = (found["name"] for found in _REFERENCE.finditer(text) if found["name"])
            return ApiKey("" if missing else filled, next(named, None))
        if missing:
            return self._without(missing, path, text)
        whole = _REFERENCE.fullmatch(text)
        free = len(path) > 3 and path[0] == "aliases" and not set(_FREE_FORM).isdisjoint(path[2:5])
        return _read_scalar(filled) if whole and free else filled

    def _value(self, found: re.Match[str], path: Path, missing: list[str]) -> str:
        if found["escaped"]:
            return "${"
        name = found["name"]
        if name is None or not _NAME.fullmatch(name):
            if path not in self.unset:
                fix = "write ${NAME}, ${NAME:-default}, or $${ for a plain one"
                message = f"`${{` starts no variable: {quote(found.string, path)}; {fix}"
                self.findings.append(Finding(path, message))
                self.unset.add(path)
            return ""
        value = os.environ.get(name, "")
        if not value.strip():
            return self._default(found, path, missing)
        if _SECRET_VARIABLE.search(name):
            self._keep_secret(value)
        return value

    def _default(self, found: re.Match[str], path: Path, missing: list[str]) -> str:
        default: str | None = found["default"]
        if default is None:
            missing.append(found["name"])
        elif default and _is_api_key(path):
            self._warn(path, "a key in clear as the default; leave the default out")
            self._keep_secret(default)
        return default or ""

    def _without(self, missing: list[str], path: Path, text: str) -> None:
        written = quote(text)
        for name in missing:
            fix = f"set it, or write ${{{name}:-default}}"
            self.findings.append(Finding(path, f"variable {name} is not set: {written}; {fix}"))
        self.unset.add(path)

    def _warn_of_clear(self, text: str, path: Path) -> None:
        if names_secret(path) and text:
            self._warn(path, f"a key in clear: {quote(text, path)}; write ${{NAME}} and set that")
        elif hide_password(text) != text:
            self._warn(path, f"a password in clear: {quote(text, path)}; write ${{NAME}}")

    def _keep_secret(self, value: str) -> None:
        """Let no message show *value*, unless it is so short that words would be cut."""
        if len(value) >= _SHORTEST_SECRET:
            self.secrets.add(Secret(value))

    def _warn(self, path: Path, message: str) -> None:
        self.findings.append(Finding(path, message, "warning"))


def _is_api_key(path: Path) -> bool:
    return len(path) == 3 and path[0] == "providers" and path[2] == "api_key"


def _read_scalar(text: str) -> Any:
    """Read a variable that is a whole value in `params` or `openrouter`, where no type says how."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number["part"] else int(text)


def with_environment(data: dict[str, Any]) -> dict[str, Any]:
    """Add what the environment says; a section or row without a value counts as empty."""
    settings = Settings()
    full = {key: value for key, value in data.items() if value is not None}
    providers = full.setdefault("providers", {})
    if isinstance(providers, dict):
        providers.setdefault("openrouter", None)
        for name, row in providers.items():
            providers[name] = _completed(name, {} if row is None else row, settings)
    defaults = full.get("defaults", {})
    if settings.llm_router_provider and isinstance(defaults, dict):
        full["defaults"] = {**defaults, "provider": settings.llm_router_provider}
    return full


def _completed(name: str, row: Any, settings: Settings) -> Any:
    """Give a row of OpenRouter's the environment's key, at the address that key is for alone:
    OpenRouter's own, or the one that the environment names beside it.
    """
    if not isinstance(row, dict) or (row.get("litellm") or name) != "openrouter":
        return row
    ours = settings.openrouter_base_url
    base_url = row.get("base_url") or ours
    key = settings.openrouter_api_key
    clear = key.get_secret_value() if key else ""
    canonical = str(base_url).rstrip("/") in (OPENROUTER_BASE_URL, ours.rstrip("/"))
    added = {"api_key": ApiKey(clear, "OPENROUTER_API_KEY")} if canonical else {}
    return {**added, **row, "base_url": base_url}
