"""Where a configuration comes from, and what a right one becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llm_router.config import loading
from llm_router.config.checks import missing_credentials
from llm_router.config.model import ApiKey, RouterConfig
from llm_router.config.schema import json_schema
from llm_router.errors import ConfigurationError

KEY = "sk-or-v1-000111222333"
REPOSITORY = Path(__file__).parents[2]


def _file(folder: Path, alias: str, name: str = "llm_router.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"aliases: {{{alias}: {{model: openrouter/a/b}}}}")
    return path


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """OpenRouter's key stands in the environment."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    return KEY


def _read(text: str) -> RouterConfig:
    return loading.check_text(text).unwrap()


def _aliases(config: RouterConfig) -> list[str]:
    return list(config.aliases)


class TestSearch:
    def test_each_place_is_taken_in_order_when_those_before_it_are_absent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def found(path: Path | None = None) -> list[str]:
            return _aliases(loading.load(path))

        monkeypatch.chdir(tmp_path)
        for folder, name, alias in (
            (tmp_path, "llm_router.yml", "short"),
            (tmp_path, "llm_router.yaml", "here"),
            (tmp_path / "config", "llm_router.yml", "folder-short"),
            (tmp_path / "config", "llm_router.yaml", "folder"),
        ):
            _file(folder, alias, name)
            assert found() == [alias]
        _file(tmp_path / "named", "named")
        monkeypatch.setenv("LLM_ROUTER_CONFIG", "named/llm_router.yaml")
        assert found() == ["named"]
        given = _file(tmp_path / "given", "given")
        assert found(given) == ["given"]

    def test_it_is_said_where_was_looked_when_there_is_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError, match="LLM_ROUTER_CONFIG is not set") as caught:
            loading.load()

        for place in ("config/llm_router.yaml", "config/llm_router.yml", " llm_router.yml"):
            assert place in str(caught.value)

    def test_the_sample_is_read_when_it_is_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        assert _aliases(loading.load("builtin")) == ["fast", "smart", "extract", "flaky"]

    def test_the_variable_is_named_when_the_file_it_names_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLM_ROUTER_CONFIG", str(tmp_path / "none.yaml"))
        with pytest.raises(ConfigurationError, match="LLM_ROUTER_CONFIG") as caught:
            loading.load()

        assert "none.yaml" in str(caught.value)

    @pytest.mark.parametrize("place", ["missing.yaml", "", "a\0b"])
    def test_it_is_a_configuration_error_when_there_is_no_file(
        self, tmp_path: Path, place: str
    ) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            loading.load(tmp_path / place)

    def test_the_source_is_known_when_it_came_from_a_file(self, tmp_path: Path) -> None:
        path = _file(tmp_path, "here")

        assert loading.load(path).source == str(path)


class TestBuiltIn:
    @pytest.mark.parametrize("name", ["llm_router.yaml", "local.yaml"])
    def test_the_aliases_are_the_same_when_the_files_of_the_project_are_loaded(
        self, name: str, key: str
    ) -> None:
        report = loading.check_file(REPOSITORY / "config" / name)

        assert report.findings == ()
        assert report.config is not None
        assert _aliases(report.config) == ["fast", "smart", "extract", "flaky"]

    def test_the_flaky_alias_has_a_fallback_when_the_demo_needs_one(self) -> None:
        config = loading.load(REPOSITORY / "config" / "llm_router.yaml")

        names = [deployment.name for deployment in config.deployments("flaky")]
        assert names == ["openrouter/demo/always-down", "openrouter/openai/gpt-4o-mini"]

    def test_the_starter_loads_when_it_is_written(self, tmp_path: Path, key: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(loading.builtin_file().read_text(encoding="utf-8"), encoding="utf-8")

        assert loading.check_file(path).findings == ()


class TestEnvironment:
    def test_openrouter_has_key_and_host_when_only_the_environment_says_so(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:9/api/v1/")
        row = loading.from_dict({}).providers["openrouter"]

        assert isinstance(row.api_key, ApiKey)
        assert row.api_key.get_secret_value() == key
        assert row.api_key.variable == "OPENROUTER_API_KEY"
        assert row.base_url == "http://127.0.0.1:9/api/v1"

    @pytest.mark.parametrize("blank", [None, "  "])
    def test_there_are_no_credentials_when_the_key_is_unset_or_blank(
        self, blank: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if blank is not None:
            monkeypatch.setenv("OPENROUTER_API_KEY", blank)
        row = loading.from_dict({}).providers["openrouter"]

        assert isinstance(row.api_key, ApiKey)
        assert row.api_key.get_secret_value() == ""
        assert row.api_key.variable == "OPENROUTER_API_KEY"
        assert row.base_url == "https://openrouter.ai/api/v1"

    @pytest.mark.parametrize(
        ("row", "pair"),
        [
            (None, None),
            ({"app": {"title": "Mine"}}, None),
            ({"base_url": "https://openrouter.ai/api/v1/"}, None),
            ({"base_url": "${OPENROUTER_BASE_URL}"}, "http://127.0.0.1:9/api/v1"),
            ({"base_url": "https://openrouter.ai/api/v1"}, "http://127.0.0.1:9/api/v1"),
        ],
    )
    def test_the_key_of_the_environment_is_added_when_it_is_for_that_host(
        self, row: Any, pair: str | None, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if pair is not None:
            monkeypatch.setenv("OPENROUTER_BASE_URL", pair)
        rows = loading.from_dict({"providers": {"openrouter": row, "local": None}}).providers

        assert rows["openrouter"].key == key
        assert rows["local"].api_key is None

    def test_a_row_has_the_key_it_names_or_none_when_its_host_is_another(self, key: str) -> None:
        url = "https://proxy.example/v1"
        rows = {
            "openrouter": {"base_url": url},
            "named": {"litellm": "openrouter", "base_url": url, "api_key": "${OPENROUTER_API_KEY}"},
            "same": {"litellm": "openrouter"},
        }
        found = loading.from_dict({"providers": rows}).providers

        assert [found[name].key for name in rows] == ["", key, key]
        missing = missing_credentials("openrouter", found["openrouter"])
        assert missing is not None and missing.env_var == "OPENROUTER_API_KEY"
        assert "Write ${OPENROUTER_API_KEY} as its `api_key`" in str(missing)

    def test_the_key_is_not_added_when_a_row_is_only_called_openrouter(self, key: str) -> None:
        row = {"litellm": "openai", "base_url": "http://127.0.0.1:1/v1"}
        found = loading.from_dict({"providers": {"openrouter": row}}).providers["openrouter"]

        assert (found.api_key, found.kind("openrouter")) == (None, "openai")
        assert missing_credentials("openrouter", found) is None

    def test_the_provider_override_wins_when_the_file_names_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LLM_ROUTER_PROVIDER", "local")
        data = {"defaults": {"provider": "openrouter"}, "providers": {"local": {}}}
        config = loading.from_dict(data)

        assert config.defaults.provider == "local"
        assert config.split("mistral/small").name == "local/mistral/small"

    def test_the_process_environment_is_read_when_none_is_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MODEL", "openrouter/a/b")
        config = _read("aliases: {x: {model: '${MODEL}'}}")

        assert config.aliases["x"].model == "openrouter/a/b"

    @pytest.mark.parametrize("data", [{}, {"aliases": None, "defaults": None, "ledger": "none"}])
    def test_a_section_counts_as_absent_when_it_has_no_value(self, data: dict[str, Any]) -> None:
        config = loading.from_dict(data)

        assert (config.aliases, config.ledger) == ({}, None)


class TestVariables:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("${A}", "one"),
            ("x-${A}-${B:-two}", "x-one-two"),
            ("${BLANK:-full}", "full"),
            ("${NONE:-}", ""),
            ("$${A} costs $5", "${A} costs $5"),
        ],
    )
    def test_it_is_filled_in_when_it_stands_in_a_text(
        self, text: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A", "one")
        monkeypatch.setenv("BLANK", " ")
        data = {"providers": {"p": {"headers": {"x-title": text}}}}
        config = loading.from_dict(data)

        assert config.providers["p"].headers == {"x-title": value}

    def test_it_becomes_a_number_when_one_is_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("T", "1.5")
        data = {"defaults": {"timeout": "${T}", "max_attempts": "${N:-7}"}}
        defaults = loading.from_dict(data).defaults

        assert (defaults.timeout, defaults.max_attempts) == (1.5, 7)

    @pytest.mark.parametrize(
        ("value", "read"),
        [("0.25", 0.25), ("3", 3), ("true", True), ("null", None), ("low", "low"), ("007", "007")],
    )
    def test_it_is_read_as_what_it_looks_like_when_it_is_a_whole_parameter(
        self, value: str, read: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("V", value)
        row = {"model": "openrouter/a/b", "params": {"prediction": "${V}", "stop": "x${V}"}}
        config = loading.from_dict({"aliases": {"a": row}})

        assert config.aliases["a"].params == {"prediction": read, "stop": f"x{value}"}


class TestYaml:
    def test_a_variable_needs_no_quotes_when_it_stands_between_braces(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("K", "secret-key")
        text = "providers: {p: {base_url: ${HOST:-https://x.example/v1}, api_key: ${K}}}"
        row = _read(text).providers["p"]

        assert isinstance(row.api_key, ApiKey)
        assert (row.base_url, row.api_key.variable) == ("https://x.example/v1", "K")

    def test_words_are_texts_when_only_yaml_1_1_thought_otherwise(self) -> None:
        text = "aliases: {off: {model: openrouter/a/b, cache: off, params: {stop: [yes, 2020-01-02, 1:30, <<]}}}"  # noqa: E501
        row = _read(text).aliases["off"]

        assert row.cache == "off"
        assert row.params["stop"] == ["yes", "2020-01-02", "1:30", "<<"]

    def test_numbers_are_numbers_when_they_are_written_so(self) -> None:
        text = "aliases: {a: {model: openrouter/a/b, params: {logit_bias: {1: 1e2, 2: -0x, 3: 0x1F, 4: 0o17, 5: .5}}}}"  # noqa: E501
        row = _read(text).aliases["a"]

        bias = {"1": 100.0, "2": "-0x", "3": 31, "4": 15, "5": 0.5}
        assert row.params["logit_bias"] == bias

    def test_keys_written_out_win_when_others_are_merged_in(self) -> None:
        text = """
        aliases:
          a: &a {model: openrouter/a/a, timeout: 5}
          b: {timeout: 9, <<: *a}
          c: {<<: [{store: full}, *a], model: openrouter/c/c}
        """
        rows = _read(text).aliases

        assert (rows["b"].model, rows["b"].timeout) == ("openrouter/a/a", 9)
        assert (rows["c"].model, rows["c"].store) == ("openrouter/c/c", "full")

    def test_a_version_of_an_api_is_a_text_when_it_looks_like_a_date(self) -> None:
        row = _read("providers: {azure: {api_version: 2024-10-21, api_key: x}}").providers["azure"]

        assert row.api_version == "2024-10-21"

    def test_a_byte_order_mark_is_skipped_when_an_editor_wrote_one(self, tmp_path: Path) -> None:
        path = tmp_path / "bom.yaml"
        path.write_bytes(b"\xef\xbb\xbfaliases: {}\n")

        assert loading.load(path).aliases == {}


class TestSchema:
    @pytest.mark.parametrize("name", ["llm_router.yaml", "local.yaml"])
    def test_the_files_of_the_project_are_valid_when_an_editor_checks_them(self, name: str) -> None:
        schema = json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)

        jsonschema.validate(yaml.safe_load((REPOSITORY / "config" / name).read_text()), schema)

    @pytest.mark.parametrize(
        "data",
        [
            {"defaults": {"timeout": "${T}"}},
            {"aliases": None, "providers": {"local": None}, "ledger": "none"},
            {"aliases": {"a": {"model": "x/y", "cache": "${C:-off}", "fallbacks": ["a"]}}},
        ],
    )
    def test_it_accepts_what_loads_when_variables_and_empty_sections_are_used(
        self, data: Any
    ) -> None:
        jsonschema.validate(data, json_schema())

    @pytest.mark.parametrize(
        "data",
        [
            {"source": "x"},
            {"providers": {"p": {"api_key_env": "X"}}},
            {"aliases": {"a": {"model": "x/y", "params": {"temprature": 1}}}},
            {"aliases": {"a": {}}},
            {"defaults": {"timeout": "soon"}},
        ],
    )
    def test_it_refuses_what_does_not_load_when_an_editor_checks_it(self, data: Any) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, json_schema())
        with pytest.raises(ConfigurationError):
            loading.from_dict(data)

    def test_fields_are_described_when_they_have_a_docstring(self) -> None:
        fields = json_schema()["$defs"]["Defaults"]["properties"]

        assert fields["timeout"]["description"] == "For one attempt."
