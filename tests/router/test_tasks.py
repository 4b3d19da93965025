"""Pictures, speech, transcription and search end to end, over the sandbox, into the ledger."""

from __future__ import annotations

import asyncio
import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm_router.errors import (
    EmptyResponseError,
    InvalidResponseError,
    ProviderTimeoutError,
    UnsupportedFeatureError,
)
from llm_router.options.parts import AudioPart
from llm_router.router import Router
from llm_router.sync import SyncRouter
from llm_router.testing import Sandbox, pytest_plugin
from llm_router.testing.operations import picture
from tests.router.setup import EAGER

sandbox = pytest_plugin.llm_sandbox

DRAWS = "openrouter/bytedance-seed/seedream-4.5"
SPEAKS = "openrouter/openai/gpt-4o-mini-tts"
HEARS = "openrouter/openai/whisper-1"
GPT = "openrouter/openai/gpt-4o-mini"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(32_000)


def routed(sandbox: Sandbox, tmp_path: Path, **aliases: Any) -> Router:
    config = {
        "providers": {
            "openrouter": {"api_key": sandbox.api_key, "base_url": sandbox.base_url},
            "other": {"litellm": "groq", "base_url": sandbox.base_url, "api_key": "gsk-0123456789"},
        },
        "aliases": aliases,
        "ledger": {"url": f"sqlite:///{tmp_path}/calls.db", "durability": "strict"},
    }
    return Router.from_dict(config, clock=EAGER)


def asked(sandbox: Sandbox) -> Any:
    return sandbox.requests[-1].body


def payloads(router: Router) -> dict[str, Any]:
    assert router.ledger is not None
    (row,) = router.ledger.logs()
    return {p.kind: p.body for p in router.ledger.show(row.id).payloads}


async def test_pictures_come_with_their_count_their_cost_and_a_row(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        answer = await router.generate_image(
            DRAWS, "a red lamp", n=2, size="2K", aspect_ratio="16:9", quality="high",
            references=[picture("blue")], openrouter={"provider": {"only": ["seed"]}}, store="full",
        )  # fmt: skip
        assert [image.data() for image in answer.images] == [picture("a red lamp")] * 2
        assert {image.media_type for image in answer.images} == {"image/png"}
        assert (answer.usage.units, answer.usage.unit) == (2, "image")
        assert answer.cost.total == sandbox.total_billed == Decimal("0.08")
        assert answer.response_id in sandbox.bills and answer.upstream_provider == "Seed"
        url = f"data:image/png;base64,{base64.b64encode(picture('blue')).decode()}"
        assert asked(sandbox) == {
            "model": "bytedance-seed/seedream-4.5", "prompt": "a red lamp", "n": 2, "size": "2K",
            "aspect_ratio": "16:9", "quality": "high", "provider": {"only": ["seed"]},
            "input_references": [{"type": "image_url", "image_url": {"url": url}}],
        }  # fmt: skip
        kept = payloads(router)
        assert kept.keys() == {"request"} and "base64" not in str(kept)
        assert kept["request"]["references"] == 1


async def test_a_model_that_draws_in_a_chat_is_asked_so_when_its_params_say_modalities(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    params = {"modalities": ["image", "text"]}
    async with routed(sandbox, tmp_path, art={"model": GPT, "params": params}) as router:
        answer = await router.generate_image("art", "a lamp", size="2K", aspect_ratio="1:1")
        assert [image.data() for image in answer.images] == [picture("a lamp")]
        assert answer.text and answer.cost.total == sandbox.total_billed
        assert asked(sandbox) == {
            "model": "openai/gpt-4o-mini", "modalities": ["image", "text"],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a lamp"}]}],
            "image_config": {"aspect_ratio": "1:1", "image_size": "2K"},
        }  # fmt: skip
        with pytest.raises(UnsupportedFeatureError, match="one image"):
            await router.generate_image("art", "a lamp", n=2)
        sandbox.reply(text="I cannot draw.", times=4)
        with pytest.raises(EmptyResponseError, match="no images") as caught:
            await router.generate_image("art", "a lamp")
        assert caught.value.cost is not None and caught.value.cost.total


async def test_a_picture_that_timed_out_is_asked_for_again_and_speech_is_not(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        sandbox.fail("slow_headers", seconds=5)
        answer = await router.generate_image(DRAWS, "a lamp", timeout=0.5)
        assert len(answer.attempts) == 2
        sandbox.fail("slow_headers", seconds=5)
        with pytest.raises(ProviderTimeoutError) as caught:
            await router.speak(SPEAKS, "Hello", timeout=0.5)
        assert len(caught.value.attempts or ()) == 1


async def test_a_sentence_is_spoken_and_heard_again(sandbox: Sandbox, tmp_path: Path) -> None:
    async with routed(sandbox, tmp_path) as router:
        spoken = await router.speak(SPEAKS, "The lamp is red.", voice="alloy", store="full")
        assert spoken.data.startswith(b"ID3") and spoken.media_type == "audio/mpeg"
        assert (spoken.usage.units, spoken.usage.unit) == (16, "character")
        assert (spoken.cost.total, spoken.cost.source) == (None, "unknown")
        assert asked(sandbox) == {
            "model": "openai/gpt-4o-mini-tts", "input": "The lamp is red.", "voice": "alloy",
            "response_format": "mp3",
        }  # fmt: skip
        assert payloads(router).keys() == {"request"}
        heard = await router.transcribe(HEARS, spoken.data, language="en")
        assert (heard.text, heard.segments) == ("The lamp is red.", ())
        assert (heard.usage.units, heard.usage.unit) == (1, "second")
        assert heard.cost.total == Decimal("0.0001")
        assert (await router.reconcile()).completed == 1
        assert router.ledger is not None
        rows = {row.operation: row for row in router.ledger.logs()}
        assert rows["speak"].cost_total == Decimal("0.0000096")
        assert (rows["speak"].units, rows["speak"].unit) == (16, "character")
        raw = await router.speak(SPEAKS, "Hello", format="pcm")
        assert (raw.media_type, raw.sample_rate, raw.channels) == ("audio/pcm", 24_000, 1)


async def test_a_transcription_has_times_where_they_are_asked_for(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        answer = await router.transcribe(HEARS, AudioPart(WAV), timestamps="word", store="full")
        assert (answer.text, answer.language, answer.duration_s) == (
            "Somebody speaks.", "english", 3.0,
        )  # fmt: skip
        assert [(w.text, w.start, w.end) for w in answer.words] == [
            ("Somebody", 0, 3), ("speaks.", 0, 3),
        ]  # fmt: skip
        body = asked(sandbox)
        assert body["input_audio"]["format"] == "wav"
        assert (body["response_format"], body["timestamp_granularities"]) == (
            "verbose_json", ["word"],
        )  # fmt: skip
        kept = payloads(router)
        assert (kept["request"]["format"], "data" in kept["request"]) == ("wav", False)
        assert kept["response"]["text"] == "Somebody speaks."
        timed = await router.transcribe(HEARS, WAV, timestamps="segment")
        assert timed.segments[0].text == "Somebody speaks."


async def test_a_search_brings_text_sources_and_its_count(sandbox: Sandbox, tmp_path: Path) -> None:
    web = {"model": GPT, "params": {"max_tokens": 50}}
    async with routed(sandbox, tmp_path, web=web) as router:
        answer = await router.search("web", "red lamps", max_results=3, store="full")
        assert answer.text and answer.citations[0].url == "https://example.com/found"
        assert answer.searches == 1 and answer.cost.total == sandbox.total_billed
        assert asked(sandbox) == {
            "model": "openai/gpt-4o-mini", "max_tokens": 50,
            "messages": [{"role": "user", "content": "red lamps"}],
            "tools": [{"type": "openrouter:web_search", "parameters": {"max_results": 3}}],
            "tool_choice": {"type": "openrouter:web_search"},
        }  # fmt: skip
        assert payloads(router)["response"]["citations"][0]["title"] == "red lamps"


CALLS: dict[str, tuple[str, Any]] = {
    "generate_image": (DRAWS, "a lamp"),
    "speak": (SPEAKS, "a lamp"),
    "transcribe": (HEARS, WAV),
    "search": (GPT, "a lamp"),
    "embed": ("openrouter/openai/text-embedding-3-small", "a lamp"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fault", ["garbage", "html_200", "empty_body", "error_in_200"])
async def test_what_is_no_answer_is_an_error_and_asked_again(
    sandbox: Sandbox, tmp_path: Path, name: str, fault: str
) -> None:
    sandbox.fail(fault)
    async with routed(sandbox, tmp_path) as router:
        answer = await getattr(router, name)(*CALLS[name])
        assert [a.status for a in answer.attempts] == ["failed", "succeeded"]


@pytest.mark.parametrize("name", ["generate_image", "speak", "transcribe"])
async def test_an_empty_answer_is_none(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    sandbox.fail("empty_choices", times=2)
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises((EmptyResponseError, InvalidResponseError)):
            await getattr(router, name)(*CALLS[name], max_attempts=2)


@pytest.mark.parametrize("name", ["generate_image", "speak", "transcribe"])
@pytest.mark.parametrize("preference", [{"zdr": True}, {"data_collection": "deny"}])
async def test_a_privacy_that_an_endpoint_cannot_be_told_is_refused_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path, name: str, preference: dict[str, Any]
) -> None:
    async with routed(sandbox, tmp_path) as router:
        sandbox.reset()
        with pytest.raises(UnsupportedFeatureError, match="cannot be told provider"):
            await getattr(router, name)(*CALLS[name], openrouter={"provider": preference})
        assert [r for r in sandbox.requests if r.method == "POST"] == []


@pytest.mark.parametrize("name", [name for name in CALLS if name != "embed"])
async def test_a_provider_that_does_not_serve_it_says_so_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises(UnsupportedFeatureError, match=f"does not serve '{name}'"):
            await getattr(router, name)("other/llama", CALLS[name][1])


@pytest.mark.parametrize(
    ("name", "value", "options", "error", "message"),
    [
        ("generate_image", "", {}, ValueError, "prompt is empty"),
        ("generate_image", "a", {"n": 11}, ValueError, "at most 10"),
        ("generate_image", "a", {"size": "big"}, ValueError, "size has the form"),
        ("generate_image", "a", {"aspect_ratio": "wide"}, ValueError, "aspect_ratio has the form"),
        ("generate_image", "a", {"quality": "best"}, ValueError, "quality is one of"),
        ("generate_image", "a", {"references": [b"%PDF-1.4"]}, ValueError, "is not an image"),
        ("generate_image", "a", {"references": b"x"}, ValueError, "a list of at most 16"),
        ("speak", "", {}, ValueError, "text is empty"),
        ("speak", "a", {"format": "wav"}, ValueError, "format is one of mp3, pcm"),
        ("speak", "a", {"speed": 0}, ValueError, "above 0"),
        ("speak", "a", {"voice": 1}, TypeError, "voice is int"),
        ("transcribe", b"", {}, ValueError, "empty"),
        ("transcribe", b"%PDF-1.4", {}, ValueError, "is not an audio"),
        ("transcribe", b"ID3" + bytes(26 << 20), {}, ValueError, "too large"),
        ("transcribe", WAV, {"timestamps": "line"}, ValueError, "timestamps is one of"),
        ("search", "", {}, ValueError, "query is empty"),
        ("search", "a", {"max_results": 26}, ValueError, "at most 25"),
        ("search", "a", {"n": 1}, TypeError, "unexpected"),
    ],
)
async def test_a_mistake_is_refused_before_anything_is_sent(
    sandbox: Sandbox,
    tmp_path: Path,
    name: str,
    value: Any,
    options: Any,
    error: type[Exception],
    message: str,
) -> None:
    async with routed(sandbox, tmp_path) as router:
        with pytest.raises(error, match=message):
            await getattr(router, name)(CALLS[name][0], value, **options)
        assert [r for r in sandbox.requests if r.method == "POST"] == []


async def test_the_router_without_a_loop_has_the_same_methods(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    async with routed(sandbox, tmp_path) as router:
        with SyncRouter(router.config) as twin:
            for name, (model, value) in CALLS.items():
                answer = await asyncio.to_thread(getattr(twin, name), model, value)
                assert len(answer.attempts) == 1 and repr(answer)[1:].partition(" ")[0]
                assert answer.to_dict()["requested_model"] == model
