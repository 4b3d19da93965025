"""Images: pictures made from a prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from llm_router.answers.images import Images
from llm_router.operations.task import Task, checked_count, checked_text, checked_word
from llm_router.options.parts import ImagePart
from llm_router.options.questions import ImageQuality, ImageQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_router.errors import NextStep
    from llm_router.options.parts import Source
    from llm_router.options.request import CommonOptions

MOST_IMAGES, MOST_REFERENCES = 10, 16
"""What OpenRouter's `/images` takes."""
_SIZE = re.compile(r"\d{3,5}x\d{3,5}|512|768|1K|1\.5K|2K|4K")
_RATIO = re.compile(r"\d{1,4}(\.\d{1,4})?:\d{1,4}(\.\d{1,4})?|auto")


@dataclass(frozen=True, kw_only=True)
class GenerateImage(Task[Images, ImageQuestion]):
    """A prompt for pictures."""

    serves: ClassVar[str] = "generate_image"
    # A picture that did not arrive was not made and is not billed (OpenRouter's guide of images).
    then: ClassVar[Mapping[str, NextStep]] = {"timeout": "retry"}

    @classmethod
    def ask(
        cls,
        prompt: str,
        n: int | None,
        size: str | None,
        aspect_ratio: str | None,
        quality: ImageQuality | None,
        references: Sequence[Source | ImagePart],
        options: CommonOptions,
    ) -> Self:
        """Check what is asked, before anything is sent.

        Raises TypeError for a wrong type or a misspelt option; ValueError for no prompt, more
        than 10 images or 16 references, a size or ratio of another form, and for a reference
        that is no image by its first bytes, or too large.
        """
        if (checked_count("n", n) or 1) > MOST_IMAGES:
            raise ValueError(f"n is at most {MOST_IMAGES}, not {n}")
        if isinstance(references, str | bytes) or len(references) > MOST_REFERENCES:
            raise ValueError(f"references is a list of at most {MOST_REFERENCES} images")
        _check_form("size", size, _SIZE, "1024x1024 or 2K")
        _check_form("aspect_ratio", aspect_ratio, _RATIO, "16:9")
        checked_word("quality", quality, get_args(ImageQuality))
        question = ImageQuestion(
            prompt=checked_text("prompt", prompt),
            n=n,
            size=size,
            aspect_ratio=aspect_ratio,
            quality=quality,
            references=tuple(r if isinstance(r, ImagePart) else ImagePart(r) for r in references),
        )
        return cls.of(question, options)


def _check_form(name: str, value: Any, form: re.Pattern[str], example: str) -> None:
    if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
        raise ValueError(f"{name} has the form {example}, not {value!r:.100}")
