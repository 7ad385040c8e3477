"""What both of OpenAI's wire formats have in common: the SDK that speaks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracescribe.agents.providers.sdk_client import Dialect, SdkClient


@dataclass(eq=False)
class OpenAISdkClient(SdkClient[Dialect]):
    """A client that goes through OpenAI's SDK."""

    def _open(self) -> tuple[Any, Any]:
        import openai

        sdk = openai.OpenAI(
            api_key=self.key,
            base_url=self.endpoint.base_url,
            timeout=self.timeout_seconds,
            max_retries=0,
            http_client=self._http(),
        )
        return sdk, openai
