"""Parse: one `Router.parse` call, without I/O. The attempt loop asks it what to send and to read.

request  -> prepare()       the schema goes in, in the mode of the deployment
error    -> stepped_down()  was the mode refused? then the same deployment is asked again
answer   -> read()          the object, or why not
mismatch -> reask()         the conversation that asks again
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llm_router.errors import (
    ConfigurationError,
    RefusalError,
    SchemaValidationError,
    TruncatedOutputError,
)
from llm_router.operations.structured.modes import (
    Capabilities,
    ModeMemory,
    first_open,
    is_about_schema,
    is_refusal,
)
from llm_router.operations.structured.reading import Reading, only, read_text
from llm_router.operations.structured.schema import MismatchError, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_router.answers.completion import Completion, ToolCall
    from llm_router.errors import ProviderError
    from llm_router.options.request import Deployment, Message, ProviderRequest
    from llm_router.options.values import StructuredMode

T = TypeVar("T")

_MAX_SHOWN = 4_000
_TOOL_NOTE = "Give your whole answer by calling this function, once."
_BY_CALL = "by calling the function again."
_AS_JSON = "as JSON alone."
_PROMPT = (
    "Answer with one JSON object and nothing else: no prose, no code fence. "
    "It must be valid against this JSON Schema:\n{schema}"
)


class Invalid(Exception):  # noqa: N818 - never leaves the package: it is answered by asking again
    """An answer that does not fit the schema. `text` is what the model gave."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(problem)
        self.text = text
        self.problem = problem
        """Why, one line for each mistake; bounded."""


class Parse(Generic[T]):
    """One call: a schema, the modes it is asked for in, and the reading of its answers."""

    def __init__(
        self,
        schema: Schema[T],
        *,
        memory: ModeMemory,
        capabilities: Callable[[Deployment], Capabilities],
        mode: StructuredMode | None = None,
    ) -> None:
        """*mode* fixes the way; otherwise each deployment's capabilities and refusals choose."""
        self.schema = schema
        self._memory = memory
        self._capabilities = capabilities
        self._fixed = mode
        self._used: dict[str, StructuredMode] = {}
        self._asked_by_tool = False

    def mode_for(self, deployment: Deployment) -> StructuredMode:
        """Return the mode the next request to *deployment* will use.

        Raises ConfigurationError when the fixed mode cannot carry the schema.
        """
        known = self._capabilities(deployment)
        if self._fixed is not None:
            self._check_fixed(known)
            return self._fixed
        return first_open(known.ladder, lambda mode: self._is_closed(mode, deployment, known))

    def mode_used(self, deployment: Deployment) -> StructuredMode:
        """Return the mode of the last request prepared for *deployment*."""
        return self._used.get(deployment.name) or self.mode_for(deployment)

    def prepare(self, request: ProviderRequest) -> ProviderRequest:
        """Return *request* with the schema in it, in the mode of its deployment."""
        deployment = request.deployment
        mode = self.mode_for(deployment)
        self._used[deployment.name] = mode
        if self._asked_by_tool and mode != "tool":
            request = replace(request, messages=_as_text(request.messages, self.schema.name))
        if mode == "prompt":
            return replace(request, messages=self._instructed(request.messages))
        # An upstream that ignores the parameter would answer as if none had been asked for.
        openrouter = _requiring_parameters(request.openrouter)
        params = dict(request.params)
        if mode == "json_schema":
            params["response_format"] = self._response_format(deployment)
            return replace(request, params=params, openrouter=openrouter)
        if mode == "json_object":
            params["response_format"] = {"type": "json_object"}
            messages = self._instructed(request.messages)
            return replace(request, messages=messages, params=params, openrouter=openrouter)
        params["tools"] = [*(params.get("tools") or ()), self._tool()]
        if self._capabilities(deployment).tool_choice:
            choice = {"type": "function", "function": {"name": self.schema.name}}
            params["tool_choice"] = choice
        return replace(request, params=params, openrouter=openrouter)

    def stepped_down(self, deployment: Deployment, error: ProviderError) -> bool:
        """Return whether *error* refuses the mode; then it is remembered, and to be tried again.

        False for any other failure, and when the mode is fixed.
        """
        mode = self.mode_used(deployment)
        if self._fixed is not None or not is_refusal(error, mode):
            return False
        schema = self.schema.text if is_about_schema(error) else None
        self._memory.refuse(deployment.name, mode, schema)
        return True

    def read(self, completion: Completion, deployment: Deployment) -> Reading[T]:
        """Return the object in *completion*.

        Raises TruncatedOutputError and RefusalError (also for a content filter) when there can
        be none, Invalid when there is none that fits, and SchemaValidationError, with its cause,
        when a validator of the schema raises something of its own.
        """
        _check_finish(completion)
        strict = self.is_strict(deployment)
        calls = [c.raw_arguments for c in completion.tool_calls if c.name == self.schema.name]
        said = [completion.text] if completion.text.strip() else []
        problem: MismatchError | None = None
        try:
            for texts in (calls, said):  # what is said beside a call that fits only explains it
                fits: list[Reading[T]] = []
                for text in texts:
                    try:
                        fits.append(self._read(text, strict))
                    except MismatchError as error:
                        problem = problem or error
                if fits:
                    return only(fits)
        except MismatchError as error:
            problem = error
        text = next(iter([*calls, *said]), "")
        raise Invalid(text, str(problem) if problem else _nothing_in(completion))

    def is_strict(self, deployment: Deployment) -> bool:
        """Return whether the model was shown the strict schema, where null may be "left out"."""
        return self.mode_used(deployment) == "json_schema" and not self._takes_any(deployment)

    def _read(self, text: str, strict: bool) -> Reading[T]:
        try:
            return read_text(text, self.schema, strict=strict)
        except MismatchError:
            raise
        except Exception as error:  # a validator of the caller's: its defect, not the model's
            raise SchemaValidationError(
                f"a validator of the schema raised {type(error).__name__}: {error}",
                raw_texts=(text,),
                errors=(str(error),),
                hint="Raise ValueError for a value that does not fit.",
            ) from error

    def reask(
        self, messages: Sequence[Message], completion: Completion, problem: Invalid
    ) -> list[Message]:
        """Return the conversation that shows the model its answer and what is wrong with it."""
        wrong = f"That is not valid:\n{_cut(str(problem))}\nAnswer again, whole and corrected"
        if completion.tool_calls:
            self._asked_by_tool = True
            results = [_tool_result(n, call, wrong) for n, call in enumerate(completion.tool_calls)]
            return [*messages, _repeatable(completion), *results]
        turn = [_repeatable(completion)] if completion.text else []
        return [*messages, *turn, {"role": "user", "content": f"{wrong}, {_AS_JSON}"}]

    def _check_fixed(self, known: Capabilities) -> None:
        if self._fixed == "json_schema" and self.schema.strict is None and not known.any_schema:
            raise ConfigurationError(
                f"The mode json_schema is fixed, but the schema {self.schema.name!r} has no "
                f"strict form: {self.schema.why_not_strict}.",
                hint="Fix the mode tool instead, or let parse choose it.",
            )

    def _is_closed(self, mode: StructuredMode, deployment: Deployment, known: Capabilities) -> bool:
        if mode == "json_schema" and self.schema.strict is None and not known.any_schema:
            return True
        return self._memory.is_refused(deployment.name, mode, self.schema.text)

    def _takes_any(self, deployment: Deployment) -> bool:
        return self._capabilities(deployment).any_schema

    def _response_format(self, deployment: Deployment) -> dict[str, Any]:
        shown = self.schema.json_schema if self._takes_any(deployment) else self.schema.strict
        inner = {"name": self.schema.name, "strict": True, "schema": shown}
        return {"type": "json_schema", "json_schema": inner}

    def _tool(self) -> dict[str, Any]:
        function = {
            "name": self.schema.name,
            "description": _TOOL_NOTE,
            "parameters": self.schema.json_schema,
        }
        return {"type": "function", "function": function}

    def _instructed(self, messages: Sequence[Message]) -> list[Message]:
        """Add the schema to the system message, or put one in front."""
        text = _PROMPT.format(schema=self.schema.text)
        if not messages or messages[0].get("role") not in ("system", "developer"):
            return [{"role": "system", "content": text}, *messages]
        first, *others = messages
        content = first.get("content") or ""
        if isinstance(content, str):
            joined: Any = f"{content}\n\n{text}" if content else text
        else:
            joined = [*content, {"type": "text", "text": text}]
        return [{**first, "content": joined}, *others]


def _requiring_parameters(openrouter: Mapping[str, Any]) -> dict[str, Any]:
    provider = {"require_parameters": True, **(openrouter.get("provider") or {})}
    return {**openrouter, "provider": provider}


def _check_finish(completion: Completion) -> None:
    texts = (completion.text or "".join(c.raw_arguments for c in completion.tool_calls),)
    if completion.refusal:
        raise RefusalError(completion.refusal, refusal=completion.refusal, raw_texts=texts)
    if completion.finish_reason == "content_filter":
        message = "The provider's content filter withheld the answer."
        raise RefusalError(message, code="content_filter", raw_texts=texts)
    if completion.finish_reason == "length":
        message = "The answer was cut by the token limit, so there is no whole object in it."
        raise TruncatedOutputError(message, raw_texts=texts)


def _nothing_in(completion: Completion) -> str:
    names = ", ".join(sorted({call.name for call in completion.tool_calls}))
    return f"called {names} instead of answering" if names else "the answer is empty"


def _repeatable(completion: Completion) -> dict[str, Any]:
    """Return the assistant's turn, fit to be sent: bounded, its tool calls readable."""
    message = completion.as_message()
    if len(completion.text) > _MAX_SHOWN:
        message["content"] = _cut(completion.text)
    for number, (call, sent) in enumerate(
        zip(completion.tool_calls, message.get("tool_calls", ()), strict=True)
    ):
        sent["id"] = call.id or f"call_{number}"
        if call.arguments is None or len(call.raw_arguments) > _MAX_SHOWN:
            # Some upstreams parse what they are sent back, and refuse what cannot be parsed.
            sent["function"]["arguments"] = "{}"
    return message


def _tool_result(number: int, call: ToolCall, wrong: str) -> dict[str, Any]:
    shown = f"\nYour arguments were: {_cut(call.raw_arguments)}" if call.arguments is None else ""
    text = f"{wrong}, {_BY_CALL}{shown}"
    return {"role": "tool", "tool_call_id": call.id or f"call_{number}", "content": text}


def _as_text(messages: Sequence[Message], name: str) -> list[Message]:
    """Return the turns with the calls of tool *name* as text.

    Upstreams refuse calls of a tool that the request does not define: the next question may go to
    another deployment, in another mode.
    """
    turns: list[Message] = []
    ours: set[str] = set()
    for message in messages:
        calls = message.get("tool_calls") or ()
        if calls and all(call["function"]["name"] == name for call in calls):
            ours.update(call["id"] for call in calls)
            said = [message.get("content") or "", *(c["function"]["arguments"] for c in calls)]
            turns.append({"role": "assistant", "content": "\n".join(filter(None, said))})
        elif message.get("tool_call_id") in ours:
            text = str(message["content"]).replace(_BY_CALL, _AS_JSON)
            turns.append({"role": "user", "content": text})
        else:
            turns.append(message)
    return turns


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… (cut here)"
