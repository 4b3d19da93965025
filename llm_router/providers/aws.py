"""Amazon's side of Bedrock: where it is, and who asks, by a bearer key or by signature.

A signature (SigV4) covers the very bytes that go out and names their host, so it is of no use
to another one. Credentials are found by botocore, which LiteLLM brings: environment, shared
files, the container's or the machine's role.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from typing import TYPE_CHECKING, Any

from llm_router.errors import ConfigurationError
from llm_router.providers.http import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

BEARER_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_HOST = re.compile(r"//bedrock-runtime(?:-fips)?\.([a-z0-9-]{1,30})\.")
_SERVICE = "bedrock"


def region_of(stated: str | None, base_url: str | None) -> str | None:
    """Return the region: the row's, or its host's, or the environment's; None where none says."""
    if stated is not None:
        return stated
    named = _HOST.search(base_url or "")
    if named:
        return named[1]
    return next((value for name in REGION_VARIABLES if (value := os.environ.get(name))), None)


class SigV4:
    """Signs requests to Bedrock in one region. Making one blocks: it looks for credentials."""

    names = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")

    def __init__(self, region: str, credentials: Any) -> None:
        self._region, self._credentials = region, credentials
        # Those of a role are asked for anew before they expire, over the network.
        self._refreshes = hasattr(credentials, "refresh_needed")

    @classmethod
    def found(cls, region: str) -> SigV4 | None:
        """Return the signature of whom botocore finds; None when it finds nobody."""
        botocore = importlib.import_module("botocore.session")
        for module in ("auth", "awsrequest", "exceptions"):
            importlib.import_module(f"botocore.{module}")
        credentials = botocore.Session().get_credentials()
        return None if credentials is None else cls(region, credentials)

    async def __call__(self, url: str, content: bytes) -> Mapping[str, str]:
        """Return the headers that sign *content* for *url*.

        Raises ConfigurationError when the credentials cannot be renewed.
        """
        if self._refreshes:
            return await asyncio.to_thread(self._signed, url, content)
        return self._signed(url, content)

    def _signed(self, url: str, content: bytes) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        request = AWSRequest("POST", url, data=content)
        try:
            SigV4Auth(self._credentials, _SERVICE, self._region).add_auth(request)
        except BotoCoreError as error:
            problem = ConfigurationError(f"AWS gives no credentials: {error}")
        else:
            return {name: Secret(value) for name, value in request.headers.items()}
        raise problem
