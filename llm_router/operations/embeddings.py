"""Embeddings: texts as vectors of one model.

Vectors of two models cannot be compared, so a fallback must be the same model at another
provider: anything else is a ConfigurationError before a text is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llm_router.answers.embeddings import Embeddings
from llm_router.operations.base import Operation
from llm_router.options.openrouter import check_openrouter_options, merge_openrouter_options
from llm_router.options.request import COMMON_NAMES, EmbedRequest, check_options

if TYPE_CHECKING:
    from llm_router.config.model import AliasConfig
    from llm_router.options.request import CommonOptions, Deployment


@dataclass(frozen=True, kw_only=True)
class Embed(Operation[Embeddings]):
    """Texts to be turned into vectors."""

    serves: ClassVar[str] = "embed"
    same_model: ClassVar[bool] = True

    name: str = "embed"
    texts: tuple[str, ...]
    dimensions: int | None
    input_type: str | None
    openrouter: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    user: str | None

    @classmethod
    def ask(
        cls,
        texts: str | Sequence[str],
        dimensions: int | None,
        input_type: str | None,
        options: CommonOptions,
    ) -> Self:
        """Check what is asked: TypeError for a wrong type or a misspelt option, ValueError for
        no text, an empty one, or no dimension."""
        check_options("embed()", options, COMMON_NAMES)
        openrouter = options.get("openrouter") or {}
        check_openrouter_options(openrouter)
        if dimensions is not None and dimensions < 1:
            raise ValueError(f"dimensions is at least 1, not {dimensions}")
        return cls(
            texts=_checked(texts),
            dimensions=dimensions,
            input_type=input_type,
            openrouter=openrouter,
            extra_body=options.get("extra_body") or {},
            user=options.get("user"),
        )

    @property
    def asked(self) -> Mapping[str, Any]:
        return {"texts": self.texts, "dimensions": self.dimensions, "input_type": self.input_type}

    def request(
        self,
        deployment: Deployment,
        row: AliasConfig,
        answering: Callable[[str], None] | None = None,
    ) -> EmbedRequest:
        return EmbedRequest(
            deployment=deployment,
            texts=self.texts,
            dimensions=self.dimensions,
            input_type=self.input_type,
            openrouter=merge_openrouter_options(deployment.openrouter, self.openrouter),
            extra_body=self.extra_body,
            user=self.user,
            answering=answering,
        )


def _checked(texts: Any) -> tuple[str, ...]:
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, Sequence) or isinstance(texts, bytes | bytearray):
        raise TypeError(f"texts is a str or a list of them, not {type(texts).__name__}")
    if not texts:
        raise ValueError("there are no texts: pass at least one")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{place}] is {type(text).__name__}, not str")
        if not text:
            raise ValueError(f"texts[{place}] is empty: providers refuse it")
    return tuple(texts)
