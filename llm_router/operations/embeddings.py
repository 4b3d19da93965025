"""Embeddings: texts as vectors of one model, in as many requests as it takes.

Vectors of two models cannot be compared, so a fallback must be the same model at another
provider: anything else is a ConfigurationError before a text is sent.

How many texts a request may have is the upstream's secret (OpenAI takes 2,048, Alibaba 10): a
batch that is refused as too large is halved, and the size that was taken is remembered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llm_router.answers.embeddings import Embeddings
from llm_router.errors import InvalidRequestError, InvalidResponseError
from llm_router.operations.task import Task, checked_count, checked_texts
from llm_router.options.questions import EmbedQuestion
from llm_router.routing.loop import Asking, run

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from llm_router.errors import ProviderError
    from llm_router.options.request import CommonOptions, Deployment
    from llm_router.routing.call import Call

BATCH_SIZE = 96
"""Texts in a request where the alias says nothing."""
_TOO_MANY = re.compile(
    r"batch|too (many|large|long)|at most"
    r"|max(imum)?\b.{0,80}\b(inputs?|texts?|items?|tokens|length)",
    re.I | re.S,
)


@dataclass(frozen=True, kw_only=True)
class Embed(Task[Embeddings, EmbedQuestion]):
    """Texts to be turned into vectors."""

    serves: ClassVar[str] = "embed"
    same_model: ClassVar[bool] = True

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
        question = EmbedQuestion(
            texts=checked_texts("texts", texts),
            dimensions=checked_count("dimensions", dimensions),
            input_type=input_type,
        )
        return cls.of(question, options)

    def part(self, start: int, size: int) -> Self:
        """Return the question of at most *size* texts from *start* on."""
        texts = self.question.texts[start : start + size]
        return replace(self, question=replace(self.question, texts=texts))


class Batches(Asking[Embeddings]):
    """The loop's step: asks for the next texts, as many as the deployment is known to take.

    *sizes* is what deployments have been found to take, and is kept from call to call.
    """

    def __init__(
        self,
        embed: Embed,
        call: Call,
        provider_of: Callable[[Deployment], Any],
        sizes: dict[str, int],
    ) -> None:
        super().__init__(embed, call, provider_of)
        self._embed, self._sizes, self._asked = embed, sizes, 0
        self.done = 0
        """How many texts have their vector."""

    def prepare(self, deployment: Deployment) -> Any:
        most = self.call.plan.row.batch_size or BATCH_SIZE
        part = self._embed.part(self.done, min(most, self._sizes.get(deployment.name, most)))
        self.operation, self._asked = part, len(part.question.texts)
        return super().prepare(deployment)

    def again(self, deployment: Deployment, error: ProviderError) -> bool:
        """Halve a batch that is refused as too large; that costs no attempt."""
        if self._asked == 1 or not _is_too_many(error):
            return False
        self._sizes[deployment.name] = -(-self._asked // 2)
        self.call.allow_another()
        return True


async def embed_all(step: Batches, count: int) -> Embeddings:
    """Ask until each of *count* texts has its vector; the answer is of all requests together.

    Raises what the loop does; what earlier batches cost is in the error's attempts.
    """
    call = step.call
    vectors: list[array[float]] = []
    while True:
        answer = await run(call, step)
        attempt = call.running
        assert attempt is not None, "the loop returned with an attempt that is open"
        if vectors and len(vectors[0]) != answer.dimensions:
            lengths = f"{len(vectors[0])} numbers, then {answer.dimensions}"
            error = InvalidResponseError(f"The vectors of one call have {lengths}")
            error.add(usage=answer.usage, cost=answer.cost)
            attempt.fail(error, answer)
            raise error
        vectors += answer.vectors
        step.done = len(vectors)
        if step.done == count:
            return call.succeed(answer, vectors=tuple(vectors))
        attempt.succeed(answer)
        call.begin_part()


def _is_too_many(error: ProviderError) -> bool:
    """Return whether a request was refused for the number or the length of its texts together."""
    said = f"{error.message} {error.upstream_message or ''}"
    return isinstance(error, InvalidRequestError) and bool(_TOO_MANY.search(said))
