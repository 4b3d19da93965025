"""What OpenRouter refuses in the body of a request (its specification and its parameter pages).

Each class is the shape of one body or of a part of one; fields it does not know pass, as they do
at OpenRouter, which drops what an upstream has no use for.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Effort = Literal["max", "xhigh", "high", "medium", "low", "minimal", "none"]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0, le=2)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class RefusedError(Exception):
    """The request is answered with this status and sentence."""

    def __init__(self, status: int, sentence: str, *, named: bool = True) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.named = status, sentence, named


class Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    cache_control: dict[str, Any] | None = None


class TextPart(Shape):
    type: Literal["text"]
    text: str


class Url(Shape):
    url: str


class ImagePart(Shape):
    type: Literal["image_url"]
    image_url: Url


class VideoPart(Shape):
    type: Literal["video_url", "input_video"]
    video_url: Url


class Sound(Shape):
    data: str
    format: str


class AudioPart(Shape):
    type: Literal["input_audio"]
    input_audio: Sound


class FilePart(Shape):
    type: Literal["file"]
    file: dict[str, Any]


Part = Annotated[
    TextPart | ImagePart | VideoPart | AudioPart | FilePart, Field(discriminator="type")
]


class SystemMessage(Shape):
    role: Literal["system", "developer"]
    content: str | list[TextPart]


class UserMessage(Shape):
    role: Literal["user"]
    content: str | list[Part]


class CalledFunction(Shape):
    name: str
    arguments: str


class ToolCall(Shape):
    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Shape):
    role: Literal["assistant"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


class ToolMessage(Shape):
    role: Literal["tool"]
    tool_call_id: str
    content: str | list[Part]


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(Shape):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Shape):
    type: Literal["function"]
    function: Function


class ServerTool(Shape):
    type: Annotated[str, Field(pattern=r"^(openrouter:|web_search)")]


class FunctionName(Shape):
    name: str


class NamedTool(Shape):
    type: Literal["function"]
    function: FunctionName


class JsonSchema(Shape):
    name: Name
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class SchemaFormat(Shape):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class OtherFormat(Shape):
    type: Literal["text", "json_object", "grammar", "python"]


class Provider(Shape):
    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    sort: str | dict[str, Any] | None = None
    quantizations: list[str] | None = None
    max_price: dict[str, str | float] | None = None


class Reasoning(Shape):
    effort: Effort | None = None
    max_tokens: Count | None = None
    exclude: bool | None = None
    enabled: bool | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if self.effort and self.max_tokens:
            raise ValueError("give effort or max_tokens, not both")
        return self


class Plugin(Shape):
    id: str


class Body(Shape):
    """What every operation of a model takes."""

    model: str | None = None
    provider: Provider | None = None
    user: str | None = None
    session_id: Annotated[str, Field(max_length=256)] | None = None


class Sampling(Body):
    """What every operation that generates text takes."""

    models: list[str] | None = None
    stream: bool | None = None
    temperature: Factor | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    max_tokens: Count | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Factor | None = None
    min_p: Share | None = None
    top_a: Share | None = None
    seed: int | None = None
    plugins: list[Plugin] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


class ChatBody(Sampling):
    """The body of `/chat/completions`."""

    messages: list[Message] | None = None
    prompt: str | None = None
    max_completion_tokens: Count | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Annotated[SchemaFormat | OtherFormat, Field(discriminator="type")] | None = (
        None
    )
    tools: list[FunctionTool | ServerTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | ServerTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
    modalities: list[Literal["text", "image", "audio"]] | None = None
    service_tier: Literal["auto", "default", "fast", "flex", "priority", "scale"] | None = None
    n: Count | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        efforts = {self.reasoning_effort, self.reasoning and self.reasoning.effort} - {None}
        if len(efforts) > 1:
            raise ValueError("reasoning_effort and reasoning.effort differ")
        tools = [tool for tool in self.tools or () if isinstance(tool, FunctionTool)]
        chosen = self.tool_choice
        if isinstance(chosen, NamedTool):
            name = chosen.function.name
            if name not in [tool.function.name for tool in tools]:
                raise ValueError(f"tool_choice: there is no tool {name!r} in tools")
        return self


class InputText(Shape):
    type: Literal["input_text", "output_text"]
    text: str


class InputFile(Shape):
    type: Literal["input_image", "input_file", "input_audio", "input_video", "refusal"]
    image_url: str | None = None


Input = Annotated[InputText | InputFile, Field(discriminator="type")]


class InputMessage(Shape):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Input]


class InputCall(CalledFunction):
    type: Literal["function_call"]
    call_id: str


class InputResult(Shape):
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[Input]


class InputReasoning(Shape):
    type: Literal["reasoning"]


class FlatTool(Function):
    type: Literal["function"]


class FlatChoice(FunctionName):
    type: Literal["function"]


class FlatSchema(JsonSchema):
    type: Literal["json_schema"]


class TextFormat(Shape):
    format: Annotated[FlatSchema | OtherFormat, Field(discriminator="type")] | None = None


class ResponsesBody(Sampling):
    """The body of `/responses`, which keeps nothing."""

    input: str | list[InputMessage | InputCall | InputResult | InputReasoning]
    instructions: str | None = None
    max_output_tokens: Count | None = None
    text: TextFormat | None = None
    tools: list[FlatTool | ServerTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | ServerTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    store: Literal[False] | None = None
    previous_response_id: None = None


class FileBlock(Shape):
    type: Literal["image", "document"]
    source: dict[str, Any]


class Thinking(Shape):
    type: Literal["thinking", "redacted_thinking"]


class ToolUse(Shape):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResult(Shape):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[Annotated[TextPart | FileBlock, Field(discriminator="type")]] | None = None


class Turn(Shape):
    role: Literal["user", "assistant"]
    content: (
        str
        | list[
            Annotated[
                TextPart | FileBlock | Thinking | ToolUse | ToolResult, Field(discriminator="type")
            ]
        ]
    )


class OwnTool(Shape):
    name: Name
    description: str | None = None
    input_schema: dict[str, Any]


class Kind(Shape):
    type: str


class Choice(Shape):
    type: Literal["auto", "any", "none"]


class ToolChoice(Shape):
    type: Literal["tool"]
    name: str


class OutputSchema(Shape):
    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Shape):
    format: OutputSchema | None = None


class MessagesBody(Sampling):
    """The body of `/messages`."""

    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[TextPart] | None = None
    stop_sequences: list[str] | None = None
    tools: list[OwnTool | Kind] | None = None
    tool_choice: Annotated[Choice | ToolChoice, Field(discriminator="type")] | None = None
    thinking: Kind | None = None
    output_config: OutputConfig | None = None


class Content(Shape):
    content: list[dict[str, Any]]


class EmbeddingsBody(Body):
    """The body of `/embeddings`."""

    input: str | list[str] | list[int] | list[list[int]] | list[str | Content]
    dimensions: Count | None = None
    encoding_format: Literal["float", "base64"] | None = None


class RerankBody(Body):
    """The body of `/rerank`."""

    query: str
    documents: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    top_n: Count | None = None


class ImagesBody(Body):
    """The body of `/images`."""

    prompt: Annotated[str, Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] | None = None
    input_references: Annotated[list[ImagePart], Field(max_length=16)] | None = None


class SpeechBody(Body):
    """The body of `/audio/speech`."""

    input: Annotated[str, Field(min_length=1)]
    voice: str | None = None
    response_format: Literal["mp3", "pcm"] | None = None
    speed: float | None = None


class TranscriptionBody(Body):
    """The body of `/audio/transcriptions`."""

    input_audio: Sound
    language: str | None = None
    response_format: Literal["json", "verbose_json"] | None = None
    timestamp_granularities: list[Literal["segment", "word"]] | None = None


def read_body(raw: bytes, content_type: str, shape: type[Body]) -> dict[str, Any]:
    """Return the JSON object in *raw*; raises `RefusedError` with what is wrong in it."""
    if content_type and "json" not in content_type:
        raise RefusedError(400, f"Content-Type must be application/json, not {content_type}")
    try:
        body = json.loads(raw, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"The body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "The body must be a JSON object")
    try:
        shape.model_validate(body)
    except ValidationError as error:
        raise RefusedError(400, _sentence(error, body)) from None
    return body


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _sentence(error: ValidationError, body: dict[str, Any]) -> str:
    """Say of the problem that lies deepest (where alternatives come nearest) where it is."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    places = [_place(problem["loc"], body, problem["type"]) for problem in problems]
    deepest = max(range(len(places)), key=lambda index: len(places[index]))
    message = problems[deepest]["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, places[deepest])), message]))


def _place(location: tuple[int | str, ...], body: Any, kind: str) -> list[int | str]:
    """Return where in *body* that is: pydantic's path has the names of alternatives in it."""
    place: list[int | str] = []
    for step in location:
        if isinstance(step, int if isinstance(body, list) else str) and _holds(body, step):
            body = body[step]
            place.append(step)
    return [*place, location[-1]] if kind == "missing" else place


def _holds(body: Any, step: int | str) -> bool:
    return isinstance(body, list) or (isinstance(body, dict) and step in body)
