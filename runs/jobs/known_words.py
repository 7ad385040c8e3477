"""Whether prompts hold words that the model does not know, found out without loading it.

Cases of such prompts fail one by one in their workers, each on record. Here they are told before a job is submitted, so
that nobody learns of ten thousand of them afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.jobs.faults import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

    from tracescribe.runs.jobs.prompt_sources import SourcedCase

TOKENIZER = "tokenizer.json"
MAX_SHOWN = 3
"""Prompts that the note names."""


def unknown_words_note(model: str, sources: Sequence[SourcedCase]) -> str | None:
    """What to tell people of prompts that the model cannot read; None where it reads all, or where that is not known.

    Args:
        model: as a job's `weights.model` names it, paths absolute. Only the embedded model and folders with a
            `tokenizer.json` are looked into; tokenizers without an unknown token know every text.
        sources: redacted.
    """
    prompts = [case for case in sources if case.prompt is not None]
    found = _tokenizer(model) if prompts else None
    if found is None:
        return None
    tokenizer, unknown = found
    encoded = tokenizer.encode_batch([case.prompt or "" for case in prompts], add_special_tokens=False)
    unread = [
        (
            case,
            [
                text
                for text, token in zip(_words(case.prompt or "", one.offsets), one.ids, strict=True)
                if token == unknown
            ],
        )
        for case, one in zip(prompts, encoded, strict=True)
        if unknown in one.ids
    ]
    if not unread:
        return None
    named = "; ".join(
        f"{case.source}: {', '.join(map(shown, dict.fromkeys(words)))}" for case, words in unread[:MAX_SHOWN]
    )
    more = f"; and {len(unread) - MAX_SHOWN} more" if len(unread) > MAX_SHOWN else ""
    count = f"{len(unread)} of {len(prompts)} prompts"
    return f"{count} hold words that the model does not know, and will fail as 'input': {named}{more}"


def _words(prompt: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    return [prompt[start:end].strip() for start, end in offsets]


def _tokenizer(model: str) -> tuple[Tokenizer, int] | None:
    """A model's tokenizer and the id of its unknown token; None where there is none to be found."""
    from tracescribe.tracer import embedded

    file = (embedded.model_dir() if model == embedded.MODEL_ID else Path(model)) / TOKENIZER
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 - the library raises bare exceptions; whoever loads the model will tell what is wrong
        return None
    text = getattr(tokenizer.model, "unk_token", None)
    unknown = tokenizer.token_to_id(text) if isinstance(text, str) else None
    # byte-level tokenizers know every text, whatever they call their unknown token
    if unknown is None or getattr(tokenizer.model, "byte_fallback", False) or type(tokenizer.model).__name__ == "BPE":
        return None
    return tokenizer, unknown
