"""What is said about a wrong configuration: all of it, where it is, and never a secret."""

# ruff: noqa: E501  # a table of whole messages reads better on whole lines

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_router.config import loading
from llm_router.errors import ConfigurationError
from tests.pace import cpu_seconds

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import fuzz_config

SEVEN = """\
version: 1
defaults:
  timeout: soon
providers:
  local:
    base_url: ${LOCAL_URL}
aliases:
  fast:
    model: openrouter/openai/gpt-4o-mini
    params: {temprature: 0.2}
    fallbacks: [openrouter/openai/gpt-4o-mini]
  smart:
    fallback: [fast]
    model: opnrouter/x
  smart:
    model: fast
  a: {model: b}
  b: {model: a}
"""


def _problems(text: str) -> list[str]:
    report = loading.check_text(text, "f")
    assert (report.config is None) is bool(report.problems)
    return [str(item) for item in report.problems]


def test_all_are_reported_with_line_and_suggestion_when_a_file_has_eight_mistakes() -> None:
    with pytest.raises(ConfigurationError) as caught:
        loading.check_text(SEVEN, "f.yaml").unwrap()

    assert caught.value.problems == (
        "f.yaml:3: defaults.timeout: must be a number: 'soon'",
        "f.yaml:6: providers.local.base_url: variable LOCAL_URL is not set: '${LOCAL_URL}'; "
        "set it, or write ${LOCAL_URL:-default}",
        "f.yaml:10: aliases.fast.params.temprature: unknown parameter: 'temprature'; "
        "did you mean 'temperature'?",
        "f.yaml:11: aliases.fast.fallbacks[0]: 'openrouter/openai/gpt-4o-mini' stands here twice: "
        "the primary or an earlier fallback",
        "f.yaml:13: aliases.smart.fallback: unknown key: 'fallback'; did you mean 'fallbacks'?",
        "f.yaml:14: aliases.smart.model: unknown provider 'opnrouter' in 'opnrouter/x'; "
        "did you mean 'openrouter'?",
        "f.yaml:15: aliases.smart: key stands here twice: 'smart', first in line 12",
        "f.yaml:17: aliases.a: aliases refer in a loop: a -> b -> a",
    )
    assert all(problem in str(caught.value) for problem in caught.value.problems)


ALIAS = "aliases: {a: {model: openrouter/a/b, %s}}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f: the file is empty; `llm-router init` writes one to start from"),
        ("# only this", "f: the file is empty; `llm-router init` writes one to start from"),
        ("- a", "f: must be a mapping of keys: version, aliases, …"),
        ("version: 2", "f:1: version: must be 1: '2'"),
        ("source: x", "f:1: source: unknown key: 'source'"),
        ("providers: {p: {api_key_env: X}}", "f:1: providers.p.api_key_env: unknown key: 'api_key_env'; did you mean 'api_key'?"),
        ("aliases: {a: }", "f:1: aliases.a: must be a mapping of keys: null"),
        ("aliases: [a]", "f:1: aliases: must be a mapping of keys: a list"),
        ("aliases:\n  a: {}", "f:2: aliases.a.model: key 'model' is missing: write `model: provider/model`"),
        ("aliases: {a: {model: fsat}, fast: {model: openrouter/x}}", "f:1: aliases.a.model: no such alias (a model is `provider/model`): 'fsat'; did you mean 'fast'?"),
        ("aliases: {a: {model: openrouter/}}", "f:1: aliases.a.model: a model is `provider/model`, not 'openrouter/'"),
        ("aliases: {a/b: {model: openrouter/x}}", "f:1: aliases.a/b: an alias has no slash: 'a/b'"),
        ("aliases: {a: {model: a}}", "f:1: aliases.a: aliases refer in a loop: a -> a"),
        ("providers: {a/b: {}}", "f:1: providers.a/b: a provider's name has no slash: 'a/b'"),
        ("providers: {'a.b': 3}", "f:1: providers.'a.b': must be a mapping of keys: '3'"),
        ("providers: {p: {base_url: ftp://x}}", "f:1: providers.p.base_url: must be an http:// or https:// URL: 'ftp://x'"),
        ("providers: {p: {base_url: 'http://127.0.0.1:99999'}}", "f:1: providers.p.base_url: Port out of range 0-65535: 'http://127.0.0.1:99999'"),
        ("providers: {p: {base_url: 'http://x:0'}}", "f:1: providers.p.base_url: Port out of range 1-65535: 'http://x:0'"),
        ("providers: {p: {api_version: latest}}", "f:1: providers.p.api_version: must be a version such as 2024-10-21 or 2025-04-01-preview: 'latest'"),
        ("providers: {p: {api_version: 2024-10-21}}", "f:1: providers.p.api_version: only Azure has one, and this row is 'p'"),
        ("providers: {p: {region: us-east-1}}", "f:1: providers.p.region: only Bedrock and Vertex AI have regions, and this row is 'p'"),
        ("providers: {bedrock: {region: evil.example/}}", "f:1: providers.bedrock.region: must be a region such as us-east-1: 'evil.example/'"),
        ("providers: {p: {headers: {X-Gate: 12345678}}}", "f:1: providers.p.headers.X-Gate: must be a text (put it in quotes): '[redacted]'"),
        ("aliases: {cache: {modle: x/y}}", "f:1: aliases.cache.modle: unknown key: 'modle'; did you mean 'model'?"),
        ("providers: {p: {prices: {m: {input: x, output: -1}}}}", "f:1: providers.p.prices.m.input: must be a number: 'x'"),
        ("defaults: {max_attempts: 0}", "f:1: defaults.max_attempts: must be 1 or more: '0'"),
        ("defaults: {max_attempts: 101}", "f:1: defaults.max_attempts: must be 100 or less: '101'"),
        ("defaults: {max_attempts: true}", "f:1: defaults.max_attempts: must be a number: true"),
        ("defaults: {max_attempts: 1.5}", "f:1: defaults.max_attempts: must be a whole number: '1.5'"),
        ("defaults: {timeout: 0}", "f:1: defaults.timeout: must be greater than 0: '0'"),
        ("defaults: {timeout: ${T:-soon}}", "f:1: defaults.timeout: must be a number: '${T:-soon}'"),
        ("defaults: {provider: opnrouter}", "f:1: defaults.provider: no such provider: 'opnrouter'; did you mean 'openrouter'?"),
        ("defaults: {provider: 3}", "f:1: defaults.provider: must be a text (put it in quotes): '3'"),
        ("defaults: {provider: '${}'}", "f:1: defaults.provider: `${` starts no variable: '${}'; write ${NAME}, ${NAME:-default}, or $${ for a plain one"),
        ("ledger: {store: ful}", "f:1: ledger.store: must be 'none', 'metadata' or 'full': 'ful'; did you mean 'full'?"),
        ("? [a]\n: b", "f:1: a key is a text, not a list or mapping"),
        ("<<: 3", "f:1: `<<` takes a mapping, or a list of them"),
        ("version: !!binary aGk=", "f:1: version: cannot be read as !!binary: 'aGk='"),
        ("version: !!int x", "f:1: version: cannot be read as !!int: 'x'"),
        (f"version: {'9' * 5000}", f"f:1: version: cannot be read as !!int: '{'9' * 58}…"),
        (f"version: 0x{'f' * 5000}", f"f:1: version: cannot be read as !!int: '0x{'f' * 56}…"),
        (f"version: 0o{'7' * 5000}", f"f:1: version: cannot be read as !!int: '0o{'7' * 56}…"),
        ("a: &a {<<: *a}", "f:1: too large: an alias in a loop, or more than 40 levels"),
        ("a: &a [*a]", "f:1: too large: an alias in a loop, or more than 40 levels"),
        ("a: 1\nb: \0", "f:2: not valid YAML: a character that is not allowed: U+0000"),
        ("a: 1\n---\nb: 2", "f:2: not valid YAML: but found another document expected a single document in the stream: '---'"),
        ("version: 1\nx: [", "f:2: not valid YAML: expected the node content, but found '<stream end>' while parsing a flow node: 'x: ['"),
        ("[" * 100, f"f:1: not valid YAML: nested too deeply: '{'[' * 58}…"),
        ("a: *b", "f:1: not valid YAML: found undefined alias 'b': 'a: *b'"),
        (ALIAS % "fallbacks: [3]", "f:1: aliases.a.fallbacks[0]: must be a text (put it in quotes): '3'"),
        (ALIAS % "fallbacks: [{params: {}}]", "f:1: aliases.a.fallbacks[0].model: key 'model' is missing: write `model: provider/model`"),
        (ALIAS % "fallbacks: openrouter/x", "f:1: aliases.a.fallbacks: must be a list: 'openrouter/x'"),
        (ALIAS % "fallbacks: ['${X}', openrouter/c]", "f:1: aliases.a.fallbacks[0]: variable X is not set: '${X}'; set it, or write ${X:-default}"),
        (ALIAS % "openrouter: {provder: {}}", "f:1: aliases.a.openrouter: unknown OpenRouter option 'provder'; did you mean 'provider'?"),
        (ALIAS % "params: {reasoning: hihg}", "f:1: aliases.a.params: unknown reasoning effort 'hihg'; did you mean 'high'?"),
        (ALIAS % "fallbacks: [{model: openrouter/c, params: {temprature: 1}}]", "f:1: aliases.a.fallbacks[0].params.temprature: unknown parameter: 'temprature'; did you mean 'temperature'?"),
        (ALIAS % "fallbacks: [{modl: x/y}]", "f:1: aliases.a.fallbacks[0].modl: unknown key: 'modl'; did you mean 'model'?"),
        (ALIAS % "params: {seed: '${A:-${B}}'}", "f:1: aliases.a.params.seed: `${` starts no variable: '${A:-${B}}'; write ${NAME}"),
        (ALIAS % "cache: on", "f:1: aliases.a.cache: must be 'auto' or 'off': 'on'"),
        (ALIAS % "cache: {ttl: 9m}", "f:1: aliases.a.cache.ttl: must be '5m' or '1h': '9m'"),
        (ALIAS % "cache: {ttl: '${X}'}", "f:1: aliases.a.cache.ttl: variable X is not set: '${X}'; set it, or write ${X:-default}"),
        (ALIAS % "on_error: {rate_limits: next}", "f:1: aliases.a.on_error.rate_limits: unknown key: 'rate_limits'; did you mean 'rate_limit'?"),
        (ALIAS % "store: {}", "f:1: aliases.a.store: must be 'none', 'metadata' or 'full': a mapping"),
    ],
)  # fmt: skip
def test_it_is_said_in_plain_words_when_one_thing_is_wrong(text: str, problem: str) -> None:
    assert any(said.startswith(problem) for said in _problems(text))


def test_aliases_cannot_blow_up_when_they_multiply() -> None:
    rows = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))

    assert _problems(f"a0: &a0 [x]\n{rows}") == ["f:1: too large: more than 20,000 values"]


@pytest.mark.parametrize(
    "text",
    [
        f"[{'a,' * 2**19}]",
        "- a\n" * 2**18,
        "k: 1\n" * 2**17,
        "${a:-" * 2**17,
        f"a: {'${' * 2**17}",
        f"a: {'${B}' * 2**17}",
    ],
    ids=["a list", "lines", "one key", "defaults", "openings", "variables"],
)
def test_it_is_refused_soon_when_a_file_is_large(text: str) -> None:
    # 0.6 to 1.2 s on an idle machine; minutes when it grows faster than the text.
    assert cpu_seconds(lambda: _problems(text[: 2**20])) < 4
    assert _problems(text[: 2**20])


def test_the_first_mistakes_are_said_when_there_are_thousands() -> None:
    problems = _problems("".join(f"key_{n}: 1\n" for n in range(5000)))

    assert len(problems) == 101
    assert "f: more than 100 mistakes; these are the first" in problems


def test_a_number_too_long_to_be_written_is_a_finding_when_the_data_is_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match="version: must be a whole number: '0x1000"):
        loading.from_dict({"version": 16**5000})


def test_every_loop_is_found_once_when_there_are_several() -> None:
    data = {"aliases": {name: {"model": to} for name, to in map(tuple, ("ab", "bc", "ca", "dd"))}}
    with pytest.raises(ConfigurationError) as caught:
        loading.from_dict(data)
    assert len(caught.value.problems) == 2


def test_there_is_no_file_in_the_message_when_the_data_is_a_mapping() -> None:
    with pytest.raises(ConfigurationError) as caught:
        loading.from_dict({"aliases": {1: {"modle": "x/y"}}})

    assert caught.value.problems[0] == (
        "aliases.1.modle: unknown key: 'modle'; did you mean 'model'?"
    )


def test_it_is_refused_when_a_mapping_contains_itself() -> None:
    data: dict[str, Any] = {}
    data["aliases"] = data

    with pytest.raises(ConfigurationError, match="nested too deeply"):
        loading.from_dict(data)


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"a: 1\n\xff", "f.yaml:2: not UTF-8: byte 0xff"), (b"#" * 2**20 + b"#", "larger than 1 MiB")],
)
def test_it_is_refused_when_a_file_is_no_text(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)

    with pytest.raises(ConfigurationError, match=said):
        loading.load(path)


class TestSecrets:
    TEXT = """\
providers:
  a: {api_key: hunter2hunter2, base_url: http://example.com}
  b: {headers: {Authorization: Bearer abcdef}, base_url: http://example.com}
  c: {api_key: "${C:-hunter3hunter3}"}
  d: {api_key: "${D}", base_url: http://127.0.0.1:1}
ledger: {url: "postgresql://me:hunter4@db/x"}
"""

    def test_clear_keys_are_warnings_when_they_stand_in_the_file(self) -> None:
        report = loading.check_text(self.TEXT, "f")

        assert [str(item) for item in report.warnings] == [
            "f:2: providers.a.api_key: a key in clear: '[redacted]'; write ${NAME} and set that",
            "f:3: providers.b.headers.Authorization: a key in clear: '[redacted]'; write ${NAME} and set that",
            "f:4: providers.c.api_key: a key in clear as the default; leave the default out",
            "f:6: ledger.url: a password in clear: 'postgresql://[redacted]@db/x'; write ${NAME}",
        ]  # fmt: skip

    def test_it_is_an_error_when_a_key_would_travel_in_clear(self) -> None:
        assert _problems(self.TEXT) == [
            "f:2: providers.a.base_url: the key would travel in clear over http://example.com: "
            "use https://"
        ]

    def test_missing_credentials_and_plain_http_are_notes_when_nothing_is_wrong(self) -> None:
        text = self.TEXT.replace("api_key: hunter2hunter2, ", "")
        report = loading.check_text(text, "f")

        assert report.config is not None
        assert [str(item) for item in report.notes] == [
            "f:1: providers.openrouter: no credentials: set OPENROUTER_API_KEY to use it",
            "f:2: providers.a.base_url: plain http beyond this machine: http://example.com",
            "f:3: providers.b.base_url: plain http beyond this machine: http://example.com",
            "f:5: providers.d: no credentials: set D to use it",
        ]
        assert not {"hunter3hunter3", "hunter4", "abcdef"} & set(repr(report).split("'"))
        assert "hunter" not in report.config.text

    @pytest.mark.parametrize(
        ("row", "severity", "said"),
        [
            ("ollama: {}", "warning", "write ollama_chat"),
            ("o: {litellm: ollama, path: acompletion}", None, ""),
            ("azure: {base_url: 'https://x.example'}", "note", "no api_version: 2024-10-21"),
            ("azure: {base_url: 'https://x.example/openai/v1'}", None, ""),
            ("bedrock: {}", "note", "no region: that of AWS_REGION"),
            ("bedrock: {region: eu-west-3}", None, ""),
            ("vertex_ai: {}", "note", "set api_key (express mode), or path: acompletion"),
            ("vertex_ai: {headers: {Authorization: Bearer x}}", None, ""),
        ],
    )
    def test_what_a_row_of_its_kind_leaves_out_is_told_with_the_fix(
        self, row: str, severity: str | None, said: str
    ) -> None:
        text = f"providers:\n  openrouter: {{api_key: x}}\n  {row}"
        report = loading.check_text(text, "f")
        assert report.config is not None
        path = ("providers", row.partition(":")[0])
        found = [one for one in (*report.warnings, *report.notes) if one.path == path]
        assert [one.severity for one in found] == ([severity] if severity else [])
        assert all(said in one.message for one in found)

    def test_a_key_never_shows_when_it_stands_where_it_should_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MY_TOKEN", "verysecretvalue")
        text = "aliases: {a: {model: '${MY_TOKEN}'}}\ndefaults: {timeout: '${MY_TOKEN}'}"

        problems = _problems(text)
        assert len(problems) == 2
        assert "verysecret" not in "".join(problems)

    def test_a_broken_line_is_not_quoted_when_it_might_hold_a_key(self) -> None:
        assert "hunter" not in _problems("a: 1\napi_key: [hunter2")[0]

    def test_values_of_headers_show_nowhere_when_a_configuration_is_shown(self) -> None:
        text = (
            "providers: {p: {headers: {X-Gate: open-sesame}}}\naliases: {a: {model: open-sesame}}"
        )
        assert "sesame" not in _problems(text)[0]

        config = loading.from_dict({"providers": {"p": {"headers": {"X-Gate": "open-sesame"}}}})
        shown = f"{config!r}{config.text}{config.model_dump_json()}"
        assert "sesame" not in shown and "X-Gate" in config.text

    @pytest.mark.parametrize("user", ["me:hunt/er 4@x", "me:hunter4", ":hunter4"])
    def test_a_password_is_nowhere_when_it_stands_in_the_url_of_the_ledger(self, user: str) -> None:
        report = loading.check_text(f"ledger: {{url: 'postgresql://{user}@db/x'}}", "f")

        assert report.config is not None and "in clear" in report.warnings[0].message
        assert "er" not in report.warnings[0].message.partition("postgresql")[2].partition("@")[0]
        assert "hunt" not in f"{report!r}{report.config.text}"
        assert "hunt" not in _problems(f"ledger: {{url: 'postgrsql://{user}@db/x'}}")[0]

    def test_words_are_not_cut_when_a_key_is_short(self) -> None:
        text = "providers: {p: {api_key: model}}\naliases: {a: {}}"

        assert "key 'model' is missing" in _problems(text)[0]

    def test_a_password_is_refused_when_it_stands_in_a_base_url(self) -> None:
        problems = _problems("providers: {p: {base_url: 'https://me:hunter2@x'}}")

        assert "carries no user or password" in problems[0]
        assert "hunter2" not in problems[0]


@pytest.fixture
def fuzzed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fuzz_config.ENVIRON.items():
        monkeypatch.setenv(name, value)


SEEDS = [loading.builtin_file().read_text(encoding="utf-8"), SEVEN]


@pytest.mark.usefixtures("fuzzed_environment")
@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_only_configuration_errors_come_out_when_1200_documents_are_broken(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    for _ in range(1200):
        fuzz_config.outcome(tmp_path / "f.yaml", fuzz_config.document(rng, SEEDS))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(fuzz_config.KEYS) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.dictionaries(st.sampled_from(fuzz_config.KEYS), values, max_size=5))
def test_a_mapping_loads_or_is_refused_when_it_is_random(data: dict[str, Any]) -> None:
    try:
        loading.from_dict(data)
    except ConfigurationError as error:
        assert error.problems


@pytest.mark.usefixtures("fuzzed_environment")
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=120) | st.text(max_size=80).map(lambda t: t.encode(errors="replace")))
def test_a_file_loads_or_is_refused_when_it_is_random_bytes(tmp_path: Path, raw: bytes) -> None:
    assert fuzz_config.outcome(tmp_path / "f.yaml", raw) in ("loaded", "ConfigurationError")
