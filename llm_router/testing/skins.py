"""The other wires to the same models: `/completions`, `/responses` and `/messages`.

A skin makes a chat of its request, and dresses whatever the chat sends: answers, events and errors,
step by step, so that every reply and fault of a script works on these wires as well.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_router.testing.answers import COMMENT, DONE
from llm_router.testing.billing import dumps

if TYPE_CHECKING:
    from llm_router.testing.sending import Sending

Json = dict[str, Any]
Events = Iterator[Json]

_PARTS = {"reasoning": "reasoning", "content": "text", "refusal": "refusal"}


@dataclass(slots=True)
class Block:
    """A part of an answer: its reasoning, a text, a refusal, or a tool call with its arguments."""

    kind: str
    number: int
    call: Mapping[str, Any]
    text: str = ""

    def arguments(self) -> Any:
        try:
            return json.loads(self.text or "{}")
        except ValueError:  # cut
            return {}


class Skin:
    """One answer in another form; its methods yield the events of a stream."""

    comment = COMMENT
    done = DONE

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.asked = asked
        self.head: Mapping[str, Any] = {}
        self.blocks: list[Block] = []
        self.finish: str | None = None
        self.usage: Mapping[str, Any] = {}
        self.sent = 0

    @staticmethod
    def chat(body: Json) -> Json:
        """Return the body of the chat that *body* asks for."""
        return body

    def dressed(self, sending: Sending) -> Sending:
        """Return *sending* in this form; what is no answer and no error stays as it is."""
        steps = [self._step(step) if isinstance(step, bytes) else step for step in sending.steps]
        return replace(sending, steps=steps)

    def _step(self, step: bytes) -> bytes:
        if step == COMMENT:
            return self.comment
        if step == DONE:
            return b"".join(map(self.line, self._end())) + self.done
        text = step.strip()
        try:
            body = json.loads(text.removeprefix(b"data: "), parse_float=Decimal)
        except ValueError:
            return step
        if not isinstance(body, dict) or not body.keys() & {"choices", "error"}:
            return step
        if text.startswith(b"data: "):
            return b"".join(map(self.line, self.events(body)))
        padding = step[: len(step) - len(step.lstrip())]
        return padding + dumps(self.whole(body)).encode(errors="surrogatepass")

    def line(self, event: Json) -> bytes:
        return b"data: " + dumps(event).encode(errors="surrogatepass") + b"\n\n"

    def whole(self, body: Json) -> Json:
        """Return a whole answer or error."""
        choice = (body.get("choices") or [{}])[0]
        error = body.get("error") or choice.get("error")
        if error:
            return self.error(body, error)
        deque(self._taken(body, choice, choice.get("message") or {}), maxlen=0)
        return self.result()

    def events(self, chunk: Json) -> Events:
        """Yield what a chunk of the chat's stream is here."""
        choice = (chunk.get("choices") or [{}])[0]
        error = chunk.get("error") or choice.get("error")
        if error:
            yield self.failure(error)
            return
        yield from self._taken(chunk, choice, choice.get("delta") or {})

    def _taken(self, body: Json, choice: Json, message: Json) -> Events:
        if not self.head:
            self.head = body
            yield from self.opened()
        for key, kind in _PARTS.items():
            if isinstance(message.get(key), str) and message[key]:
                yield from self._more(kind, message[key], {})
        for call in message.get("tool_calls") or ():
            yield from self._more("call", call["function"].get("arguments") or "", call)
        finish = choice.get("finish_reason")
        if choice.get("native_finish_reason") == "max_output_tokens":
            finish = "length"
        self.finish = finish or self.finish
        self.usage = body.get("usage") or self.usage

    def _more(self, kind: str, text: str, call: Mapping[str, Any]) -> Events:
        last = self.blocks[-1] if self.blocks else None
        if last is None or last.kind != kind or last.call.get("index") != call.get("index"):
            if last is not None:
                yield from self.ended(last)
            last = Block(kind, len(self.blocks), call)
            yield from self.begun(last)
            self.blocks.append(last)
        last.text += text
        if text:
            yield from self.grown(last, text)

    def _end(self) -> Events:
        if self.head:
            yield from self.ended(self.blocks[-1]) if self.blocks else ()
            yield from self.finished()

    # What a form is made of

    def opened(self) -> Events:
        yield from ()

    def begun(self, block: Block) -> Events:
        yield from ()

    def grown(self, block: Block, text: str) -> Events:
        yield from ()

    def ended(self, block: Block) -> Events:
        yield from ()

    def finished(self) -> Events:
        yield from ()

    def failure(self, error: Json) -> Json:
        raise NotImplementedError

    def error(self, body: Json, error: Json) -> Json:
        return body

    def result(self) -> Json:
        raise NotImplementedError


class Completions(Skin):
    """The wire of OpenAI's old text completions."""

    def whole(self, body: Json) -> Json:
        choices = [
            {**choice, "text": part.get("content") or "", "reasoning": part.get("reasoning")}
            for choice in body.get("choices") or ()
            for part in (choice.pop("message", None) or choice.pop("delta", None) or {},)
        ]
        return {**body, "object": "text_completion", "choices": choices} if choices else body

    def events(self, chunk: Json) -> Events:
        yield self.whole(chunk)


_ECHOED = (
    "instructions", "metadata", "temperature", "top_p", "presence_penalty", "frequency_penalty",
    "max_output_tokens",
)  # fmt: skip
_STATUS = {"length": "incomplete", "error": "failed"}
# By kind: the event of its text, the key of the whole text, the event of its part, its place in it.
_NAMES: dict[str, tuple[str, str, str, Json]] = {
    "text": ("output_text", "text", "content_part", {"content_index": 0}),
    "refusal": ("refusal", "refusal", "content_part", {"content_index": 0}),
    "reasoning": (
        "reasoning_summary_text", "text", "reasoning_summary_part", {"summary_index": 0}),
    "call": ("function_call_arguments", "arguments", "", {}),
}  # fmt: skip


class Responses(Skin):
    """The wire of OpenAI's Responses."""

    comment = b": \n\n"

    @staticmethod
    def chat(body: Json) -> Json:
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        if body.get("instructions"):
            items = [{"role": "system", "content": body["instructions"]}, *items]
        form = (body.get("text") or {}).get("format")
        choice = body.get("tool_choice")
        return body | {
            "messages": [turn for item in items for turn in _turns_of_item(item)],
            "max_tokens": body.get("max_output_tokens"),
            "tools": [_nested(tool, "function") for tool in body.get("tools") or ()],
            "tool_choice": _nested(choice, "function") if isinstance(choice, dict) else choice,
            "response_format": form and _nested(form, "json_schema"),
        }

    def line(self, event: Json) -> bytes:
        self.sent += 1
        return super().line(event | {"sequence_number": self.sent - 1})

    def opened(self) -> Events:
        for state in ("created", "in_progress"):
            yield {"type": f"response.{state}", "response": self.result("in_progress")}

    def begun(self, block: Block) -> Events:
        item = self._item(block) | {"status": "in_progress"}
        empty: Json = {key: [] for key in ("content", "summary") if key in item}
        yield self._event("output_item.added", block, item=item | empty)
        yield from self._part("added", block)

    def grown(self, block: Block, text: str) -> Events:
        name, _, _, place = _NAMES[block.kind]
        yield self._event(f"{name}.delta", block, delta=text, logprobs=[], **place)

    def ended(self, block: Block) -> Events:
        name, key, _, place = _NAMES[block.kind]
        item = self._item(block)
        whole = {key: block.text, "name": item.get("name"), "logprobs": [], **place}
        yield self._event(f"{name}.done", block, **whole)
        yield from self._part("done", block)
        yield self._event("output_item.done", block, item=item)

    def finished(self) -> Events:
        response = self.result()
        yield {"type": f"response.{response['status']}", "response": response}

    def failure(self, error: Json) -> Json:
        told = {"code": str(error.get("code")), "message": error.get("message"), "param": None}
        return {"type": "error", **told}

    def error(self, body: Json, error: Json) -> Json:
        if "error" in body:
            return body
        self.head = body
        told = {"code": "server_error", "message": error["message"]}
        return self.result("failed") | {"error": told}

    def result(self, status: str | None = None) -> Json:
        status = status or _STATUS.get(self.finish or "", "completed")
        created = self.head.get("created")
        return {
            "id": self.head.get("id"),
            "object": "response",
            "created_at": created,
            "completed_at": created if status == "completed" else None,
            "model": self.head.get("model"),
            "status": status,
            "error": None,
            "incomplete_details": (
                {"reason": "max_output_tokens"} if status == "incomplete" else None
            ),
            "output": [self._item(block) for block in self.blocks],
            **({"usage": _responses_usage(self.usage)} if self.usage else {}),
            **{key: self.asked.get(key) for key in _ECHOED},
            "tools": self.asked.get("tools") or [],
            "tool_choice": self.asked.get("tool_choice") or "auto",
            "parallel_tool_calls": self.asked.get("parallel_tool_calls") is not False,
        }

    def _item(self, block: Block) -> Json:
        kind = {"call": "function_call", "reasoning": "reasoning"}.get(block.kind, "message")
        name = f"{kind}_{self.head.get('id')}_{block.number}"
        item = {"type": kind, "id": name, "status": "completed"}
        if kind == "function_call":
            named = {"call_id": block.call["id"], "name": block.call["function"]["name"]}
            return item | named | {"arguments": block.text}
        if kind == "reasoning":
            return item | {"summary": [_part(block)]}
        return item | {"role": "assistant", "content": [_part(block)]}

    def _part(self, what: str, block: Block) -> Events:
        _, _, name, place = _NAMES[block.kind]
        if name:
            yield self._event(f"{name}.{what}", block, part=_part(block), **place)

    def _event(self, kind: str, block: Block, **fields: Any) -> Json:
        place = {"item_id": self._item(block)["id"], "output_index": block.number}
        return {"type": f"response.{kind}", **place, **fields}


def _part(block: Block) -> Json:
    if block.kind == "refusal":
        return {"type": "refusal", "refusal": block.text}
    if block.kind == "reasoning":
        return {"type": "summary_text", "text": block.text}
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}


def _responses_usage(usage: Mapping[str, Any]) -> Json:
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    costs = usage.get("cost_details") or {}
    return {
        "input_tokens": usage.get("prompt_tokens"),
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0},
        "output_tokens": usage.get("completion_tokens"),
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens"),
        **{key: usage[key] for key in ("cost", "is_byok") if key in usage},
        "cost_details": {
            "upstream_inference_cost": costs.get("upstream_inference_cost"),
            "upstream_inference_input_cost": costs.get("upstream_inference_prompt_cost") or 0,
            "upstream_inference_output_cost": costs.get("upstream_inference_completions_cost") or 0,
        },
    }


def _nested(flat: Json, key: str) -> Json:
    """Return a tool, choice or format as a chat has it: its fields in an object of their own."""
    if flat["type"] not in ("function", "json_schema"):
        return flat
    return {"type": flat["type"], key: {name: flat[name] for name in flat if name != "type"}}


def _turns_of_item(item: Json) -> Iterator[Json]:
    """Yield the messages that an item of a Responses input is."""
    kind = item.get("type", "message")
    if kind == "message":
        yield {"role": item["role"], "content": _content(item["content"])}
    elif kind == "function_call":
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        yield {"role": "assistant", "content": None, "tool_calls": [call]}
    elif kind == "function_call_output":
        answer = {"tool_call_id": item["call_id"], "content": _content(item["output"])}
        yield {"role": "tool", **answer}


def _content(content: str | list[Json]) -> str | list[Json]:
    """Return the content of a message with its parts (of either wire) as a chat has them."""
    if isinstance(content, str):
        return content
    parts: list[Json] = []
    for part in content:
        if "text" in part:
            parts.append({**part, "type": "text"})
        elif "image" in part["type"]:
            url = part.get("image_url") or (part.get("source") or {}).get("url") or "data:"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        else:
            parts.append({"type": "file", "file": part})
    return parts


_STOPS = {
    "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
    "content_filter": "refusal",
}  # fmt: skip
_ERROR_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error",
    403: "permission_error", 404: "not_found_error", 408: "timeout_error",
    429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_UNTOLD = ("cache_creation", "inference_geo", "output_tokens_details", "server_tool_use")
_OWN = ("system", "tools", "tool_choice", "thinking", "stop_sequences", "metadata", "output_config")


class Messages(Skin):
    """The wire of Anthropic's Messages."""

    done = b""

    @staticmethod
    def chat(body: Json) -> Json:
        turns = [turn for message in body["messages"] for turn in _turns_of_message(message)]
        if body.get("system"):
            turns.insert(0, {"role": "system", "content": body["system"]})
        choice = body.get("tool_choice") or {"type": "auto"}
        named = {"type": "function", "function": {"name": choice.get("name")}}
        thinking = body.get("thinking") or {"type": "disabled"}
        form = (body.get("output_config") or {}).get("format")
        return {key: value for key, value in body.items() if key not in _OWN} | {
            "messages": turns,
            "stop": body.get("stop_sequences"),
            "tools": [_tool(tool) for tool in body.get("tools") or () if "input_schema" in tool],
            "tool_choice": _CHOICES.get(choice["type"], named),
            "parallel_tool_calls": not choice.get("disable_parallel_tool_use"),
            "reasoning": {"enabled": thinking["type"] != "disabled"},
            "response_format": form and {"type": "json_schema", "json_schema": form},
        }

    def line(self, event: Json) -> bytes:
        return f"event: {event['type']}\n".encode() + super().line(event)

    def opened(self) -> Events:
        yield {"type": "message_start", "message": self.result()}

    def begun(self, block: Block) -> Events:
        yield self._event("content_block_start", block, content_block=_block(block))

    def grown(self, block: Block, text: str) -> Events:
        kind, key = {
            "call": ("input_json_delta", "partial_json"),
            "reasoning": ("thinking_delta", "thinking"),
        }.get(block.kind, ("text_delta", "text"))
        yield self._event("content_block_delta", block, delta={"type": kind, key: text})

    def ended(self, block: Block) -> Events:
        yield self._event("content_block_stop", block)

    def finished(self) -> Events:
        whole = self.result()
        last = ("stop_reason", "stop_sequence", "stop_details", "container")
        delta = {key: whole[key] for key in last}
        yield {"type": "message_delta", "delta": delta, "usage": whole["usage"]}
        yield {"type": "message_stop"}

    def failure(self, error: Json) -> Json:
        kind = _ERROR_TYPES.get(error.get("code", 500), "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.get("message")}}

    def error(self, body: Json, error: Json) -> Json:
        return self.failure(error) | {"request_id": None}

    def result(self) -> Json:
        return {
            "id": self.head.get("id"),
            "type": "message",
            "role": "assistant",
            "model": self.head.get("model"),
            "content": [_block(block) for block in self.blocks],
            "stop_reason": _STOPS.get(self.finish or ""),
            **dict.fromkeys(("stop_sequence", "stop_details", "container")),
            "usage": self._usage(),
            "provider": self.head.get("provider"),
        }

    def _usage(self) -> Json:
        details = self.usage.get("prompt_tokens_details") or {}
        read, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        return {
            "input_tokens": (self.usage.get("prompt_tokens") or 0) - read - written,
            "output_tokens": self.usage.get("completion_tokens") or 0,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "service_tier": "standard",
            **dict.fromkeys(_UNTOLD),
            **{k: self.usage[k] for k in ("cost", "is_byok", "cost_details") if k in self.usage},
        }

    def _event(self, kind: str, block: Block, **fields: Any) -> Json:
        return {"type": kind, "index": block.number, **fields}


def _block(block: Block) -> Json:
    if block.kind == "reasoning":
        return {"type": "thinking", "thinking": block.text, "signature": ""}
    if block.kind != "call":
        return {"type": "text", "text": block.text, "citations": None}
    called = {"id": block.call["id"], "name": block.call["function"]["name"]}
    return {"type": "tool_use", **called, "input": block.arguments(), "caller": {"type": "direct"}}


def _tool(tool: Json) -> Json:
    told = {"name": tool["name"], "description": tool.get("description")}
    return {"type": "function", "function": told | {"parameters": tool["input_schema"]}}


def _turns_of_message(message: Json) -> Iterator[Json]:
    """Yield the messages that one of Anthropic's is: results of tools stand by themselves."""
    if isinstance(message["content"], str):
        yield message
        return
    parts, calls = [], []
    for block in message["content"]:
        if block["type"] == "tool_result":
            content = _content(block.get("content") or "")
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
        elif block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": dumps(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif "thinking" not in block["type"]:
            parts.append(block)
    if parts or calls:
        yield {"role": message["role"], "content": _content(parts), "tool_calls": calls}
