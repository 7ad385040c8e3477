"""Providers: language models behind one small protocol, through their official SDKs.

In: a `CompletionRequest` for one JSON object. Out: a `Completion`, or one of the errors drawn in `errors.py`. Nothing
outside this package imports an SDK; no key leaves it. One call here is one attempt: retries are in `retries.py`, the
call log, the budget and repairs around it in `agents.llm.session`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.agents.providers.completion import (
        ChatMessage,
        Completion,
        CompletionRequest,
        Endpoint,
        LanguageModelClient,
        Usage,
    )
    from tracescribe.agents.providers.settings import ProviderSettings, make_client

__all__ = [
    "ChatMessage",
    "Completion",
    "CompletionRequest",
    "Endpoint",
    "LanguageModelClient",
    "ProviderSettings",
    "Usage",
    "make_client",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "settings" if name in ("ProviderSettings", "make_client") else "completion"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
