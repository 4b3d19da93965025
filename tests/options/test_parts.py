"""Images, files, audio and video as parts of a message."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.options.parts import (
    MAX_IMAGE_BYTES,
    AudioPart,
    FilePart,
    ImagePart,
    Part,
    VideoPart,
)

PNG = b"\x89PNG\r\n\x1a\n....."
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "
MP4 = b"\x00\x00\x00\x18ftypmp42...."


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("data", "kind", "media_type"),
    [
        (PNG, ImagePart, "image/png"),
        (b"\xff\xd8\xff\xe0....", ImagePart, "image/jpeg"),
        (b"GIF89a....", ImagePart, "image/gif"),
        (b"RIFF....WEBPVP8 ", ImagePart, "image/webp"),
        (b"....ftypavif", ImagePart, "image/avif"),
        (b"....ftypheic", ImagePart, "image/heic"),
        (b"%PDF-1.7", FilePart, "application/pdf"),
        (WAV, AudioPart, "audio/wav"),
        (b"ID3\x04", AudioPart, "audio/mpeg"),
        (b"fLaC\x00", AudioPart, "audio/flac"),
        (b"OggS\x00", AudioPart, "audio/ogg"),
        (b"....ftypM4A ", AudioPart, "audio/mp4"),
        (MP4, VideoPart, "video/mp4"),
        (MP4, AudioPart, "audio/mp4"),
        (b"\x1aE\xdf\xa3", VideoPart, "video/webm"),
        (b"....ftypqt  ", VideoPart, "video/quicktime"),
    ],
)
def test_the_media_type_is_told_by_the_first_bytes(
    data: bytes, kind: type[Part], media_type: str
) -> None:
    part = kind(data)
    assert part.media_type == media_type
    assert part.url == f"data:{media_type};base64,{encoded(data)}"


def test_a_file_says_what_it_is_by_its_name_when_its_bytes_do_not(tmp_path: Path) -> None:
    note = tmp_path / "note.csv"
    note.write_text("a,b\n")
    part = FilePart(note)
    assert part.media_type == "text/csv"
    assert part.to_wire()["file"]["filename"] == "note.csv"


def test_the_bytes_win_when_the_name_says_otherwise(tmp_path: Path) -> None:
    picture = tmp_path / "really_a_png.jpg"
    picture.write_bytes(PNG)
    assert ImagePart(str(picture)).media_type == "image/png"


def test_the_argument_wins_over_both() -> None:
    assert ImagePart(PNG, media_type="image/x-own").media_type == "image/x-own"


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (
            ImagePart("https://example.org/a.png", detail="low"),
            {
                "type": "image_url",
                "image_url": {"url": "https://example.org/a.png", "detail": "low"},
            },
        ),
        (
            FilePart("https://example.org/docs/a%20b.pdf?x=1"),
            {
                "type": "file",
                "file": {
                    "filename": "a b.pdf",
                    "file_data": "https://example.org/docs/a%20b.pdf?x=1",
                },
            },
        ),
        (
            FilePart(b"%PDF-", filename="bill.pdf"),
            {
                "type": "file",
                "file": {
                    "filename": "bill.pdf",
                    "file_data": f"data:application/pdf;base64,{encoded(b'%PDF-')}",
                },
            },
        ),
        (
            AudioPart(WAV),
            {"type": "input_audio", "input_audio": {"data": encoded(WAV), "format": "wav"}},
        ),
        (
            AudioPart(b"ID3."),
            {"type": "input_audio", "input_audio": {"data": encoded(b"ID3."), "format": "mp3"}},
        ),
        (
            AudioPart(b"RIFF", media_type="audio/x-wav"),
            {"type": "input_audio", "input_audio": {"data": encoded(b"RIFF"), "format": "wav"}},
        ),
        (
            VideoPart("https://youtu.be/x"),
            {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}},
        ),
    ],
)
def test_each_kind_has_the_shape_of_the_wire(part: Part, wire: Any) -> None:
    assert part.to_wire() == wire


def test_a_file_from_bytes_is_named_after_its_type() -> None:
    assert FilePart(b"%PDF-").name == "file.pdf"


def test_a_data_url_goes_as_it_is() -> None:
    url = f"data:image/png;base64,{encoded(PNG)}"
    part = ImagePart(url)
    assert (part.url, part.media_type) == (url, "image/png")
    assert AudioPart("data:audio/mpeg;base64,AAAA").to_wire()["input_audio"]["data"] == "AAAA"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ImagePart(b"%PDF-1.7"), "application/pdf is not an image"),
        (lambda: VideoPart(PNG), "image/png is not a video"),
        (lambda: ImagePart(b"?????"), "pass media_type="),
        (lambda: ImagePart(b""), "is empty"),
        (lambda: ImagePart(PNG, max_bytes=12), "too large.*max_bytes="),
        (lambda: ImagePart("data:image/png;base64,AAAA", max_bytes=2), "too large"),
        (lambda: ImagePart("data:image/svg+xml,<svg/>", max_bytes=2), "too large"),
        (lambda: ImagePart("data:image/png"), "no comma"),
        (lambda: AudioPart("https://example.org/a.mp3"), "fetch it"),
    ],
)
def test_a_part_is_refused_when_it_cannot_be_sent(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    with pytest.raises(ValueError, match="too large"):
        ImagePart(huge)


def test_a_missing_file_is_an_os_error_and_a_wrong_source_a_type_error() -> None:
    with pytest.raises(FileNotFoundError):
        ImagePart("/no/such/picture.png")
    with pytest.raises(TypeError, match="bytes, a path or a URL"):
        ImagePart(3)  # type: ignore[arg-type]  # the mistake under test


def test_the_base_has_no_wire_shape_of_its_own() -> None:
    with pytest.raises(NotImplementedError):
        Part.to_wire(ImagePart(PNG))


def test_a_part_shows_no_data_and_survives_pickling() -> None:
    part = ImagePart(PNG, detail="high")
    assert repr(part) == "ImagePart('data', media_type='image/png')"
    assert repr(VideoPart("https://youtu.be/x")) == "VideoPart('x', media_type=None)"
    assert pickle.loads(pickle.dumps(part)) == part
    assert hash(part) == hash(ImagePart(PNG, detail="high"))
    assert part != ImagePart(PNG)


@given(st.binary(min_size=1))
def test_what_goes_in_comes_out_and_its_size_is_known(data: bytes) -> None:
    url = FilePart(data, media_type="application/x-any").url
    assert base64.b64decode(url.partition(",")[2]) == data
    assert FilePart(url, max_bytes=len(data)).url == url
    with pytest.raises(ValueError, match="too large"):
        FilePart(url, max_bytes=len(data) - 1)
