"""What is sent to Google's `generateContent`: at the Gemini API, and at Vertex AI with a key."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from llm_router.errors import ConfigurationError, InvalidRequestError
from llm_router.providers.foreign import JSON_BODY, Draft, ForeignBuilder
from llm_router.providers.http import STAND_IN
from llm_router.providers.importing import quiet
from llm_router.providers.requests import copied, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Message, ProviderRequest

_VERSION = re.compile(r"/v\d[^/]{0,10}(/|$)")
_STANDS_IN = "\0llm_router:"
_VIDEOS = ("https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/")
_UPLOADED = "https://generativelanguage.googleapis.com/v1beta/files/"


class GeminiBuilder(ForeignBuilder):
    """Requests to the Gemini API."""

    host = "https://generativelanguage.googleapis.com"
    example = "gemini-2.5-flash"
    path = "/v1beta"
    variables: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    format = "gemini"
    takes = frozenset({"text", "image_url", "input_audio", "file", "video_url"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k"}
    streamed: ClassVar[Mapping[str, Any]] = {}
    place: ClassVar[str] = "models/"
    """Where models are."""
    provider: ClassVar[str] = "gemini"
    """LiteLLM's name for it."""

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        super().__init__(litellm, row, name)
        with quiet():
            from litellm.llms.vertex_ai.gemini import transformation
        self._transform: Any = transformation._transform_request_body

    def _url(self, model: str, *, stream: bool) -> str:
        base = self.address if _VERSION.search(self.address) else self.address + self.path
        place = "" if "/" in model else self.place
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{base}/{place}{quote(model)}:{verb}"

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        return {**JSON_BODY, "x-goog-api-key": STAND_IN}

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        if "temperature" not in asked:  # LiteLLM has one of its own for newer models
            mapped.pop("temperature", None)

    def _check_url(self, url: str) -> None:
        if not url.startswith((_UPLOADED, *_VIDEOS)):
            super()._check_url(url)

    def _adapt(self, draft: Draft, turn: dict[str, Any], message: Message) -> None:
        for part in parts_of(turn):
            if part["type"] == "video_url":  # which LiteLLM would leave out
                part |= {"type": "file", "file": _file(part.pop("video_url")["url"])}
        if message.get("role") != "assistant":
            return
        if images := message.get("images"):
            turn["images"] = copied(images)
            self._check_parts({"content": turn["images"]})
        kept, first = draft.kept, len(draft.kept)
        for call in turn.get("tool_calls") or ():
            # Of two calls that are alike LiteLLM would leave one out.
            kept.append(_arguments(call["function"]))
            call["function"]["arguments"] = json.dumps({_STANDS_IN: len(kept) - 1})
        if own := self._own(message):
            turn.pop("images", None)
            turn["content"] = f"{_STANDS_IN}{len(kept)}"
            kept.append(_Turn(message, own, range(first, len(kept))))

    def _restore(self, draft: Draft, body: dict[str, Any]) -> None:
        for content in body["contents"] if draft.kept else ():
            if content["role"] == "model":
                content["parts"] = _restored(content["parts"], draft.kept)

    def _written(self, draft: Draft) -> dict[str, Any]:
        mapped = self._mapped(draft.model, draft.asked)
        body: dict[str, Any] = self._transform(
            draft.messages, draft.model, mapped, self.provider, {}, None
        )
        return body

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        declared = (tool.get("function_declarations") or () for tool in body["tools"])
        return {function["name"] for functions in declared for function in functions}


class VertexBuilder(GeminiBuilder):
    """Requests to Gemini at Vertex AI: by a key (express mode), or by a bearer of the row's own.

    `base_url` is then `https://REGION-aiplatform.googleapis.com/v1/projects/ID/locations/REGION`.
    """

    host = "https://aiplatform.googleapis.com"
    path = "/v1"
    variables = ()
    place = "publishers/google/models/"
    provider = "vertex_ai"

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        super().__init__(litellm, row, name)
        bearer = any(header.lower() == "authorization" for header in row.headers)
        if row.base_url is None and not self.key and not bearer:
            raise ConfigurationError(
                f"provider {name!r}: Vertex AI is asked with a key of its express mode",
                hint=f"Set providers.{name}.api_key; or `path: acompletion`, by which LiteLLM asks "
                "with Google's application default credentials.",
            )

    def _own_address(self) -> str:
        region = self._row.region
        return self.host if region is None else f"https://{region}-aiplatform.googleapis.com"

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        if not request.model.startswith("gemini"):
            raise self._unserved(f"model but Gemini ({request.model})", "Set `path: acompletion`.")
        return super()._asked(request)

    def _check_url(self, url: str) -> None:
        # Without an ending LiteLLM would ask the storage for the type.
        if not (url.startswith("gs://") and PurePosixPath(url).suffix):
            super()._check_url(url)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn of the model with what it gave to be sent back."""

    message: Message
    details: Sequence[Mapping[str, Any]]
    calls: range
    """Which of the stand-ins are its calls."""

    def parts(self, calls: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield its parts in their order, each signature on the part that it came with.

        *calls* are its calls as LiteLLM writes them. What came without a signature stands where
        the answer's text, images and calls have it; thoughts without one stay behind.
        """
        left = _Unsent(_text_of(self.message), _images_of(self.message), calls)
        reasoning = self.message.get("reasoning") or ""
        for number, detail in enumerate(self.details):
            if "reasoning" in detail:
                thought = {"text": reasoning[slice(*detail["reasoning"])], "thought": True}
                yield thought | _signature(detail)
            else:
                yield from left.text_until(self._next_text(number))
                yield from left.signed(detail)
        yield from left.rest()

    def _next_text(self, number: int) -> int | None:
        """Return where the next text that is signed begins; None at the end."""
        return next((one["text"][0] for one in self.details[number:] if "text" in one), None)


class _Unsent:
    """What of a turn has not been written yet."""

    def __init__(
        self, text: str, images: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]
    ) -> None:
        self._text, self._at = text, 0
        self._others = {"image": images, "tool_call": calls}
        self._next = dict.fromkeys(self._others, 0)

    def text_until(self, end: int | None) -> Iterator[Mapping[str, Any]]:
        """Yield the text before *end*; all of it for None."""
        start, self._at = self._at, len(self._text) if end is None else max(end, self._at)
        if start < self._at:
            yield {"text": self._text[start : self._at]}

    def signed(self, detail: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the part that *detail* is about, those of its kind that came before it first."""
        if "part" in detail:
            yield detail["part"]
        elif "text" in detail:
            start, self._at = detail["text"]
            yield {"text": self._text[start : self._at]} | _signature(detail)
        for kind, parts in self._others.items():
            if kind in detail:
                start, self._next[kind] = self._next[kind], detail[kind] + 1
                *before, own = parts[start : self._next[kind]]
                yield from before
                yield {**own, **_signature(detail)}

    def rest(self) -> Iterator[Mapping[str, Any]]:
        yield from self.text_until(None)
        for kind, parts in self._others.items():
            yield from parts[self._next[kind] :]


def _restored(parts: Sequence[Mapping[str, Any]], kept: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return *parts* of LiteLLM's with what their stand-ins stand for."""
    calls = {
        number: _call(part, kept[number])
        for part in parts
        if (number := _call_in(part)) is not None
    }
    found: list[Mapping[str, Any]] = []
    own: set[int] = set()
    for part in parts:
        number, text = _call_in(part), part.get("text") or ""
        if text.startswith(_STANDS_IN):
            turn = kept[int(text.removeprefix(_STANDS_IN))]
            own.update(turn.calls)
            found.extend(turn.parts([calls[place] for place in turn.calls]))
        elif number not in own:
            found.append(part if number is None else calls[number])
    return found


def _call_in(part: Mapping[str, Any]) -> int | None:
    """Return the number of the call that stands in *part*."""
    number: int | None = (part.get("function_call") or {}).get("args", {}).get(_STANDS_IN)
    return number


def _call(part: Mapping[str, Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**part, "function_call": {**part["function_call"], "args": arguments}}


def _signature(detail: Mapping[str, Any]) -> dict[str, Any]:
    return {"thoughtSignature": detail["signature"]}


def _arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequestError(f"The arguments of a call of {function['name']!r} are no object")
    return arguments


def _file(url: str) -> dict[str, str]:
    return (
        {"file_data": url} if url.startswith("data:") else {"file_data": url, "format": "video/mp4"}
    )


def _text_of(message: Message) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _images_of(message: Message) -> list[dict[str, Any]]:
    urls = [image["image_url"]["url"] for image in message.get("images") or ()]
    heads = [url.removeprefix("data:").partition(";base64,") for url in urls]
    return [{"inline_data": {"mime_type": kind, "data": data}} for kind, _, data in heads]
