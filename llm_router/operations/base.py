"""Operation: what is asked of a model, ready for every deployment that may be tried.

An operation knows its question, the request that a deployment is sent, and what speaks against a
deployment. It knows no HTTP and no retry. A new one is a file here, an answer in `answers/` and a
method at the providers that serve it (`serves` names it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.answers.models import ModelInfo
    from llm_router.config.model import AliasConfig
    from llm_router.errors import NextStep
    from llm_router.options.request import Deployment

A = TypeVar("A")


class Operation(ABC, Generic[A]):
    """One question, normalised and checked."""

    serves: ClassVar[str]
    """The provider's method that answers it: "complete", "stream", "embed"."""

    same_model: ClassVar[bool] = False
    """Whether only the same model can stand in for another deployment."""

    then: ClassVar[Mapping[str, NextStep]] = {}
    """What an error does next, by kind, where it is not what it does to a chat."""

    name: str
    """The Router's method, as records name it."""
    user: str | None

    @property
    @abstractmethod
    def asked(self) -> Mapping[str, Any]:
        """The content of the question, for the records of `store: full`."""

    @abstractmethod
    def request(
        self, deployment: Deployment, row: AliasConfig, answering: Callable[[str], None] | None
    ) -> Any:
        """Return what *deployment* is sent: the options of its alias, the call's over them.

        *answering* is told the id of the answer once its headers are there. Raises ValueError or
        TypeError for options that contradict each other, UnsupportedFeatureError for what this
        deployment cannot do.
        """

    def unsuitable(self, info: ModelInfo) -> str | None:
        """Return why a model cannot serve this, as far as a catalogue knows; None when it may."""
        return None
