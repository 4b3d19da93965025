"""Pictures out of OpenRouter's `POST /images` and of a chat: bytes in, Images out."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llm_router.answers.completion import Image
from llm_router.answers.images import Images
from llm_router.errors import EmptyResponseError
from llm_router.options.parts import type_of
from llm_router.wires.json_values import objects, text_or_none
from llm_router.wires.tasks import bill, known, no_answer, object_with, said_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.wires.openai import OpenAIWire

_HEAD = 64
"""Characters of base64 that tell the kind of picture."""
_ANY = "application/octet-stream"
_NONE = "The answer has no images in it"


def read_images(wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes) -> Images:
    """Return the pictures, or raise the ProviderError that the answer is.

    Fewer than were asked for is an answer, none at all is not.
    """
    answer = object_with("data", wire, status, headers, body)
    images = tuple(filter(None, map(_image, objects(answer["data"]))))
    if not images:
        raise EmptyResponseError(_NONE, **bill(headers, answer))
    fields = known(headers, answer)
    usage = replace(fields.get("usage") or Images().usage, units=len(images), unit="image")
    return Images(images=images, **fields | {"usage": usage})


def read_chat_images(
    wire: OpenAIWire, status: int, headers: Mapping[str, str], body: bytes
) -> Images:
    """Return the pictures of a chat's answer; one without any is an EmptyResponseError."""
    answer = wire.read_answer(status, headers, body)
    if not answer.images:
        raise no_answer(answer, _NONE)
    usage = replace(answer.usage, units=len(answer.images), unit="image")
    fields = said_by(answer) | {"usage": usage}
    return Images(images=answer.images, text=answer.text, **fields)


def _image(item: dict[str, Any]) -> Image | None:
    data = item.get("b64_json")
    if isinstance(data, str) and data:
        media_type = text_or_none(item.get("media_type")) or _media_type(data)
        return Image(url=f"data:{media_type};base64,{data}")
    url = text_or_none(item.get("url"))
    return Image(url=url) if url else None


def _media_type(data: str) -> str:
    """Return what the first bytes tell; an SVG is text."""
    try:
        head = base64.b64decode(data[:_HEAD])
    except ValueError:
        return _ANY
    drawn = head.lstrip().startswith((b"<svg", b"<?xml"))
    return "image/svg+xml" if drawn else type_of(head) or _ANY
