"""What is sent to Bedrock's Converse, and how it is signed.

A signature (SigV4) covers the very bytes that go out and names their host, so it is of no use
to another one. Credentials are found by botocore, which LiteLLM brings: environment, shared
files, the container's or the machine's role.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from llm_router.errors import ConfigurationError
from llm_router.providers.foreign import (
    JSON_BODY,
    Draft,
    ForeignBuilder,
    past_tools,
    without_thinking,
)
from llm_router.providers.http import STAND_IN
from llm_router.redaction import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_router.config.model import ProviderConfig
    from llm_router.options.request import Message, ProviderRequest

_BEARER = "AWS_BEARER_TOKEN_BEDROCK"
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_HOST = re.compile(r"//bedrock-runtime(?:-fips)?\.([a-z0-9-]{1,30})\.")


class ConverseBuilder(ForeignBuilder):
    """Requests of `/model/ID/converse`, by a bearer key, or signed where there is none.

    Without `tools` LiteLLM turns earlier calls into text: what was called is declared again.
    That none may be called the wire has no word for.
    """

    example = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    variables = (_BEARER,)
    format = "converse"
    takes = frozenset({"text", "image_url", "file", "document"})
    named: ClassVar[Mapping[str, str]] = {"top_k": "top_k", "metadata": "requestMetadata"}
    streamed: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, litellm: Any, row: ProviderConfig, name: str) -> None:
        self._region = region_of(row.region, row.base_url)
        super().__init__(litellm, row, name)
        self.sign = SigV4.found(self._region) if self._region and not self.key else None
        self.keyed = self.keyed or self.sign is not None
        if self.sign is None and not self.key and row.base_url is None:
            raise ConfigurationError(
                f"provider {name!r}: there are no credentials for Bedrock",
                hint=f"Set {_BEARER}, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )

    def _own_address(self) -> str:
        if self._region is None:
            raise ConfigurationError(
                f"provider {self._name!r}: in which region is Bedrock asked?",
                hint=f"Set providers.{self._name}.region, or {_REGIONS[0]}.",
            )
        return f"https://bedrock-runtime.{self._region}.amazonaws.com"

    def _url(self, model: str, *, stream: bool) -> str:
        # A colon stays: aiohttp would send an encoded one decoded, and another path be signed.
        name = quote(model.removeprefix("converse/"), safe=":")
        return f"{self.address}/model/{name}/converse{'-stream' if stream else ''}"

    def _config(self, model: str) -> Any:
        return self._litellm.AmazonConverseConfig()

    def _found_headers(self, config: Any, model: str) -> dict[str, str]:
        return {**JSON_BODY, "Authorization": f"Bearer {STAND_IN}"}

    def _asked(self, request: ProviderRequest) -> dict[str, Any]:
        asked = super()._asked(request)
        if "claude" in request.model:
            asked = without_thinking(asked)
        if not asked.get("tools") and (past := past_tools(request.messages)):
            asked["tools"] = past
        return asked

    def _correct(self, mapped: dict[str, Any], asked: Mapping[str, Any]) -> None:
        if "response_format" in asked:
            self._require_schema(mapped)

    def _adapt(self, draft: Draft, turn: dict[str, Any], message: Message) -> None:
        """Have LiteLLM place stand-ins: it loses or changes what is redacted."""
        stand_ins = []
        for detail in self._own(message):
            # What nobody signed nobody checks, and models that sign nothing refuse it.
            if "data" in detail or detail.get("signature"):
                number = f"{len(draft.kept)}"
                stand_ins.append({"type": "thinking", "thinking": number, "signature": number})
                draft.kept.append(_reasoning_content(detail))
        if stand_ins:
            turn["thinking_blocks"] = stand_ins

    def _restore(self, draft: Draft, body: dict[str, Any]) -> None:
        for message in body["messages"] if draft.kept else ():
            for block in message["content"]:
                if "reasoningContent" in block:
                    place = int(block["reasoningContent"]["reasoningText"]["text"])
                    block["reasoningContent"] = draft.kept[place]

    def _written(self, draft: Draft) -> dict[str, Any]:
        body = super()._written(draft)
        if "tool_choice" in draft.asked:  # beside thinking LiteLLM asks for another one
            alone = self._mapped(draft.model, {"tool_choice": draft.asked["tool_choice"]})
            body["toolConfig"]["toolChoice"] = alone["tool_choice"]
        return body

    def _declared(self, body: Mapping[str, Any]) -> set[str]:
        tools = body["toolConfig"]["tools"]
        return {tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool}


def _reasoning_content(detail: Mapping[str, Any]) -> dict[str, Any]:
    if "data" in detail:
        return {"redactedContent": detail["data"]}
    return {"reasoningText": {"text": detail["thinking"], "signature": detail["signature"]}}


def region_of(stated: str | None, base_url: str | None) -> str | None:
    """Return the region: the row's, or its host's, or the environment's; None where none says."""
    if stated is not None:
        return stated
    named = _HOST.search(base_url or "")
    if named:
        return named[1]
    return next((value for name in _REGIONS if (value := os.environ.get(name))), None)


class SigV4:
    """Signs requests to Bedrock in one region. Making one blocks: it looks for credentials."""

    names: tuple[str, ...] = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")

    def __init__(self, region: str, credentials: Any) -> None:
        self._region, self._credentials = region, credentials
        # Those of a role are asked for anew before they expire, over the network.
        self._refreshes = hasattr(credentials, "refresh_needed")

    @classmethod
    def found(cls, region: str) -> SigV4 | None:
        """Return the signature of whom botocore finds; None when it finds nobody."""
        for module in ("auth", "awsrequest", "exceptions"):
            _botocore(module)
        credentials = _botocore("session").Session().get_credentials()
        return None if credentials is None else cls(region, credentials)

    async def __call__(self, url: str, content: bytes) -> Mapping[str, str]:
        """Return the headers that sign *content* for *url*.

        Raises ConfigurationError when the credentials cannot be renewed.
        """
        if self._refreshes:
            return await asyncio.to_thread(self._signed, url, content)
        return self._signed(url, content)

    def _signed(self, url: str, content: bytes) -> dict[str, str]:
        request = _botocore("awsrequest").AWSRequest("POST", url, data=content)
        signature = _botocore("auth").SigV4Auth(self._credentials, "bedrock", self._region)
        try:
            signature.add_auth(request)
        except _botocore("exceptions").BotoCoreError as error:
            problem = ConfigurationError(f"AWS gives no credentials: {error}")
        else:
            return {name: Secret(value) for name, value in request.headers.items()}
        raise problem


def _botocore(module: str) -> Any:
    return importlib.import_module(f"botocore.{module}")
