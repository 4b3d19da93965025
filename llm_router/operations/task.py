"""Task: an operation of one question and no conversation; each is a file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from llm_router.operations.base import A, Operation
from llm_router.options.openrouter import check_openrouter_options, merge_openrouter_options
from llm_router.options.request import COMMON_NAMES, TaskRequest, check_options

if TYPE_CHECKING:
    from llm_router.config.model import AliasConfig
    from llm_router.options.request import CommonOptions, Deployment

Q = TypeVar("Q")


@dataclass(frozen=True, kw_only=True)
class Task(Operation[A], Generic[A, Q]):
    """A question, and the options that every operation takes."""

    name: str
    question: Q
    openrouter: Mapping[str, Any]
    extra_body: Mapping[str, Any]
    user: str | None

    @classmethod
    def of(cls, question: Q, options: CommonOptions) -> Self:
        """Check *options*: TypeError for a misspelt one or a wrong type."""
        check_options(f"{cls.serves}()", options, COMMON_NAMES)
        openrouter = options.get("openrouter") or {}
        check_openrouter_options(openrouter)
        return cls(
            name=cls.serves,
            question=question,
            openrouter=openrouter,
            extra_body=options.get("extra_body") or {},
            user=options.get("user"),
        )

    @property
    def asked(self) -> Mapping[str, Any]:
        question: Any = self.question
        if hasattr(question, "content"):
            return dict(question.content())
        return {field.name: getattr(question, field.name) for field in fields(question)}

    def request(
        self,
        deployment: Deployment,
        row: AliasConfig,
        answering: Callable[[str], None] | None = None,
    ) -> TaskRequest[Q]:
        return TaskRequest(
            deployment=deployment,
            question=self.question,
            openrouter=merge_openrouter_options(deployment.openrouter, self.openrouter),
            extra_body=self.extra_body,
            user=self.user,
            answering=answering,
        )


def checked_texts(name: str, texts: Any) -> tuple[str, ...]:
    """Return *texts*, a text or a list of them, as a tuple.

    Raises TypeError for anything else, ValueError for no text and for an empty one.
    """
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, Sequence) or isinstance(texts, bytes | bytearray):
        raise TypeError(f"{name} is a str or a list of them, not {type(texts).__name__}")
    if not texts:
        raise ValueError(f"there are no {name}: pass at least one")
    for place, text in enumerate(texts):
        checked_text(f"{name}[{place}]", text)
    return tuple(texts)


def checked_text(name: str, text: Any) -> str:
    """Return *text*; TypeError where it is none, ValueError where it is empty."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}, not str")
    if not text:
        raise ValueError(f"{name} is empty: providers refuse it")
    return text


def checked_word(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise ValueError where *value* is given and none of the *known* ones."""
    if value is not None and value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r:.100}")


def checked_count(name: str, value: Any) -> int | None:
    """Return *value*, a whole number of at least 1, or None for none given."""
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"{name} is a whole number, not {value!r:.100}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
    return value
