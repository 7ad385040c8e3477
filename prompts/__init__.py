"""Prompts: versioned templates and the loader that fills them.

In: a template's name and its inputs. Out: a system and a user message, with the template's version and hash. Here lies
no code about circuits and no gold; text that comes from graphs, contexts or models enters a prompt only inside a data
fence (`fences.py`), and a template is never made from such text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracescribe.prompts.fences import fence, visible
    from tracescribe.prompts.library import (
        lint_prompt,
        list_prompts,
        load_prompt,
        prompt_source,
        prompt_versions,
        render,
    )
    from tracescribe.prompts.released import read_released, release, released_faults, unreleased
    from tracescribe.prompts.template import PromptInput, PromptTemplate, PromptTemplateError, RenderedPrompt
    from tracescribe.prompts.versions import lint_versions, predecessor

__all__ = [
    "PromptInput",
    "PromptTemplate",
    "PromptTemplateError",
    "RenderedPrompt",
    "fence",
    "lint_prompt",
    "lint_versions",
    "list_prompts",
    "load_prompt",
    "predecessor",
    "prompt_source",
    "prompt_versions",
    "read_released",
    "release",
    "released_faults",
    "render",
    "unreleased",
    "visible",
]

_HOME = {
    "fence": "fences",
    "visible": "fences",
    "lint_prompt": "library",
    "list_prompts": "library",
    "load_prompt": "library",
    "prompt_source": "library",
    "read_released": "released",
    "release": "released",
    "released_faults": "released",
    "unreleased": "released",
    "lint_versions": "versions",
    "predecessor": "versions",
    "prompt_versions": "library",
    "render": "library",
    "PromptInput": "template",
    "PromptTemplate": "template",
    "PromptTemplateError": "template",
    "RenderedPrompt": "template",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
