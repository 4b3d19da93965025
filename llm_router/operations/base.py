"""Operation: what is asked of a model, ready for every deployment that may be tried.

An operation knows its question, the request that a deployment is sent, and what speaks against a
deployment. It knows no HTTP and no retry. A new one is a file here, an answer in `answers/` and a
method at the providers that serve it (`serves` names it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from llm_router.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llm_router.answers.models import ModelInfo
    from llm_router.config.model import AliasConfig
    from llm_router.errors import ProviderError
    from llm_router.options.request import Deployment
    from llm_router.routing.call import Call, RunningAttempt
    from llm_router.routing.plan import Plan

A = TypeVar("A")


class Operation(ABC, Generic[A]):
    """One question, normalised and checked."""

    serves: ClassVar[str]
    """The provider's method that answers it: "complete", "stream", "embed"."""

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

    def check(self, plan: Plan) -> None:
        """Raise ConfigurationError where these deployments cannot stand in for each other."""

    def unsuitable(self, info: ModelInfo) -> str | None:
        """Return why a model cannot serve this, as far as a catalogue knows; None when it may."""
        return None


class Asking(Generic[A]):
    """The loop's step for an operation: one request to whichever deployment is next."""

    def __init__(
        self, operation: Operation[A], call: Call, provider_of: Callable[[Deployment], Any]
    ) -> None:
        self.operation = operation
        self.call = call
        self._provider_of = provider_of

    def prepare(self, deployment: Deployment) -> Any:
        if not hasattr(self._provider_of(deployment), self.operation.serves):
            raise UnsupportedFeatureError(
                f"{deployment.provider} does not serve {self.operation.name!r} ({deployment.name})",
                model=deployment.name,
                provider=deployment.provider,
            )
        return self.operation.request(deployment, self.call.plan.row, self.call.answering)

    async def send(self, attempt: RunningAttempt, request: Any) -> A:
        serve = getattr(self._provider_of(attempt.deployment), self.operation.serves)
        answer: A = await serve(request)
        return answer

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        return False
