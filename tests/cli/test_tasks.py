"""The commands beyond chat: lines and files in, lines and files out."""

from __future__ import annotations

import json
from pathlib import Path

from llm_router.testing import Sandbox
from llm_router.testing.operations import picture
from tests.cli.conftest import Run

EMBEDS = "openrouter/openai/text-embedding-3-small"
RANKS = "openrouter/cohere/rerank-v3.5"
DRAWS = "openrouter/bytedance-seed/seedream-4.5"
SPEAKS = "openrouter/openai/gpt-4o-mini-tts"
HEARS = "openrouter/openai/whisper-1"


def test_each_line_gets_a_vector(run: Run, sandbox: Sandbox) -> None:
    done = run("embed", EMBEDS, "--dimensions", "2", stdin="a lamp\n\na desk\n")
    vectors = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and [len(vector) for vector in vectors] == [2, 2]


def test_lines_come_back_ranked(run: Run, sandbox: Sandbox, folder: Path) -> None:
    (folder / "lines.txt").write_text("a desk\na red lamp\n")
    done = run("rerank", RANKS, "red lamp", "lines.txt", "--top-n", "1")
    assert done.stdout == "1.0000\ta red lamp\n"
    assert "1 search unit, $0.001, " in done.stderr


def test_pictures_are_written_and_named(run: Run, sandbox: Sandbox, folder: Path) -> None:
    done = run("image", DRAWS, "a lamp", "-n", "2", "-o", "lamp", "--size", "2K")
    assert done.stdout == "lamp-1.png\nlamp-2.png\n"
    assert (folder / "lamp-2.png").read_bytes() == picture("a lamp")
    assert "2 images, $0.08, " in done.stderr


def test_what_is_spoken_is_heard_again(run: Run, sandbox: Sandbox, folder: Path) -> None:
    done = run("speak", SPEAKS, "-", stdin="The lamp is red.")
    assert done.stdout == "speech.mp3\n" and "16 characters, unknown cost, " in done.stderr
    assert run("transcribe", HEARS, "speech.mp3").stdout == "The lamp is red.\n"
    timed = json.loads(run("transcribe", HEARS, "speech.mp3", "--timestamps", "word").stdout)
    assert [word["text"] for word in timed["words"]] == ["The", "lamp", "is", "red."]


def test_a_search_prints_its_sources(run: Run, sandbox: Sandbox) -> None:
    done = run("search", "fast", "red lamps")
    assert done.stdout.splitlines()[-1] == "https://example.com/found"
    assert json.loads(run("search", "fast", "red lamps", "--json").stdout)["citations"]


def test_a_file_that_is_no_sound_is_refused_before_anything_is_sent(
    run: Run, sandbox: Sandbox, folder: Path
) -> None:
    (folder / "a.pdf").write_bytes(b"%PDF-1.4")
    assert run("transcribe", HEARS, "gone.mp3").exit_code == 1
    done = run("transcribe", HEARS, "a.pdf")
    assert done.exit_code == 2 and "is not an audio" in done.stderr
    assert [r for r in sandbox.requests if r.method == "POST"] == []
