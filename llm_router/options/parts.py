"""Images, files, audio and video as parts of a message: `["What is this?", ImagePart("a.png")]`.

A part is built from bytes, a path or a URL; a file is read once, when the part is built. What
cannot be sent (unknown type, wrong kind, too large, empty) is a ValueError there.
"""

from __future__ import annotations

import base64
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

MEBIBYTE = 1024 * 1024
MAX_IMAGE_BYTES = 20 * MEBIBYTE
MAX_FILE_BYTES = 32 * MEBIBYTE
MAX_AUDIO_BYTES = 25 * MEBIBYTE
MAX_VIDEO_BYTES = 20 * MEBIBYTE
"""Guards against sending by accident what most models refuse; `max_bytes=` of a part moves them.
URLs are not fetched, so their size is the provider's business."""

# Python's own table only: the machine's mime.types would make two hosts send different types.
_BY_NAME = mimetypes.MimeTypes()
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (0, b"%PDF-", "application/pdf"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"AIFF", "audio/aiff"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
)
# Their first bytes do not tell whether there are pictures in them.
_CONTAINERS = ("mp4", "webm", "ogg")
_AUDIO_FORMATS = {"mpeg": "mp3", "mp4": "m4a", "vnd.wave": "wav"}

Source = bytes | str | os.PathLike[str]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Part:
    """What the kinds share: `url` is what is sent, a data URL unless it lives elsewhere."""

    kind: ClassVar[str]
    max_bytes: ClassVar[int]

    url: str
    media_type: str | None
    """None for a URL that is not fetched and whose name does not tell."""
    name: str | None
    """The file's name, where there is one."""

    def __init__(
        self, source: Source, *, media_type: str | None = None, max_bytes: int | None = None
    ) -> None:
        """Take *source*: bytes, a path, or a URL (http, https, data).

        Raises ValueError when the media type cannot be told or is another kind's, when there is
        nothing in it, or more than *max_bytes*; OSError when a file cannot be read.
        """
        limit = self.max_bytes if max_bytes is None else max_bytes
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            url, name = source, _last_segment(source)
            kind = media_type or _type_by_name(name)
        elif isinstance(source, str) and source.startswith("data:"):
            url, name = source, None
            kind = source[5:].partition(",")[0].partition(";")[0] or None
            self._check_size(_data_url_size(source), limit)
        else:
            data, name = self._read(source, limit)
            self._check_size(len(data), limit)
            kind = media_type or self._type_by_content(data) or _type_by_name(name)
            if kind is None:
                raise ValueError(f"cannot tell the type of this {self.kind}: pass media_type=")
            url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        self._check_kind(kind)
        for field, value in (("url", url), ("media_type", kind), ("name", name)):
            object.__setattr__(self, field, value)

    def _read(self, source: Any, limit: int) -> tuple[bytes, str | None]:
        if isinstance(source, bytes | bytearray | memoryview):
            return bytes(source), None
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"a part is made of bytes, a path or a URL, not {type(source)}")
        path = Path(source)
        self._check_size(path.stat().st_size, limit)
        return path.read_bytes(), path.name

    def _type_by_content(self, data: bytes) -> str | None:
        """Return the media type that the first bytes tell."""
        media_type = type_of(data)
        subtype = (media_type or "").partition("/")[2]
        either = subtype in _CONTAINERS and self.kind in ("audio", "video")
        return f"{self.kind}/{subtype}" if either else media_type

    def _check_size(self, size: int, limit: int) -> None:
        if not size:
            raise ValueError(f"this {self.kind} is empty")
        if size > limit:
            text = f"{size / MEBIBYTE:.1f} MiB, the limit is {limit / MEBIBYTE:.1f}"
            raise ValueError(f"this {self.kind} is too large: {text} (max_bytes= moves it)")

    def _check_kind(self, media_type: str | None) -> None:
        if self.kind == "file" or media_type is None or media_type.startswith(f"{self.kind}/"):
            return
        article = "an" if self.kind[0] in "aeiou" else "a"
        raise ValueError(f"{media_type} is not {article} {self.kind}; FilePart takes any type")

    def __repr__(self) -> str:
        where = self.name or (self.url if not self.url.startswith("data:") else "data")
        return f"{type(self).__name__}({where!r}, media_type={self.media_type!r})"

    def to_wire(self) -> dict[str, Any]:
        """Return the part as a request carries it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, init=False, repr=False)
class ImagePart(Part):
    """An image for the model to see."""

    kind: ClassVar[str] = "image"
    max_bytes: ClassVar[int] = MAX_IMAGE_BYTES

    detail: Literal["auto", "low", "high", "original"] | None

    def __init__(
        self,
        source: Source,
        *,
        media_type: str | None = None,
        detail: Literal["auto", "low", "high", "original"] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """*detail* is how closely the model looks, where it can choose."""
        # Not super(): a dataclass with slots is another class than the one super() would see.
        Part.__init__(self, source, media_type=media_type, max_bytes=max_bytes)
        object.__setattr__(self, "detail", detail)

    def to_wire(self) -> dict[str, Any]:
        image = {"url": self.url}
        if self.detail is not None:
            image["detail"] = self.detail
        return {"type": "image_url", "image_url": image}


@dataclass(frozen=True, slots=True, init=False, repr=False)
class FilePart(Part):
    """A document, most often a PDF.

    Send the answer's `as_message()` back with it: its annotations save a second parse.
    """

    kind: ClassVar[str] = "file"
    max_bytes: ClassVar[int] = MAX_FILE_BYTES

    def __init__(
        self,
        source: Source,
        *,
        filename: str | None = None,
        media_type: str | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """*filename* is what the model is told; the path's or URL's own by default."""
        Part.__init__(self, source, media_type=media_type, max_bytes=max_bytes)
        suffix = _BY_NAME.guess_extension(self.media_type or "") or ""
        object.__setattr__(self, "name", filename or self.name or f"file{suffix}")

    def to_wire(self) -> dict[str, Any]:
        return {"type": "file", "file": {"filename": self.name, "file_data": self.url}}


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AudioPart(Part):
    """Speech or sound; sent whole, so not from an http URL."""

    kind: ClassVar[str] = "audio"
    max_bytes: ClassVar[int] = MAX_AUDIO_BYTES

    def __init__(
        self, source: Source, *, media_type: str | None = None, max_bytes: int | None = None
    ) -> None:
        """Raises ValueError for a URL that would have to be fetched."""
        Part.__init__(self, source, media_type=media_type, max_bytes=max_bytes)
        if not self.url.startswith("data:"):
            raise ValueError("audio cannot be sent as a URL: fetch it and pass the bytes")

    def to_wire(self) -> dict[str, Any]:
        subtype = (self.media_type or "").partition("/")[2].removeprefix("x-")
        audio = {
            "data": self.url.partition(",")[2],
            "format": _AUDIO_FORMATS.get(subtype, subtype),
        }
        return {"type": "input_audio", "input_audio": audio}


@dataclass(frozen=True, slots=True, init=False, repr=False)
class VideoPart(Part):
    """A video, as data or by URL (some upstreams take YouTube links)."""

    kind: ClassVar[str] = "video"
    max_bytes: ClassVar[int] = MAX_VIDEO_BYTES

    def to_wire(self) -> dict[str, Any]:
        return {"type": "video_url", "video_url": {"url": self.url}}


def type_of(data: bytes) -> str | None:
    """Return the media type that the first bytes tell, if they tell one."""
    known = (kind for offset, magic, kind in _MAGIC if data.startswith(magic, offset))
    return next(known, None)


def _type_by_name(name: str | None) -> str | None:
    return _BY_NAME.guess_type(name, strict=False)[0] if name else None


def _last_segment(url: str) -> str | None:
    return unquote(urlsplit(url).path.rpartition("/")[2]) or None


def _data_url_size(url: str) -> int:
    """Return the size of what a data URL holds, in bytes."""
    head, comma, body = url.partition(",")
    if not comma:
        raise ValueError("this data URL has no comma, so no data")
    if not head.endswith(";base64"):
        return len(body)
    return len(body) * 3 // 4 - body[-2:].count("=")
