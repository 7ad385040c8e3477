"""Whether the words of a graph are those of its token ids: a file may tell one prompt and hold the graph of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.tracer.errors import GraphFormatError, PromptError
from tracescribe.tracer.vocabulary import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.models import LanguageModel


def check_tokens(graph: AttributionGraph, model: LanguageModel) -> None:
    """Refuse a graph of this model whose tokens or prompt are not those of its token ids.

    Experiments run on the ids and reports tell the words, so both must be the same prompt. A graph without ids is held to
    what its prompt encodes to. A prompt that does not encode to the ids may be their decoded text, as where the ids were
    given to the tracer.

    Args:
        graph: traced from this model; token texts of other programs may be written otherwise.
        model: whose vocabulary it is.

    Raises:
        GraphFormatError: the words differ; the first place is named.
        PromptError: there are no ids, and the model cannot read the prompt.
    """
    ids = list(graph.token_ids) or model.encode(graph.prompt).tolist()
    if max(ids, default=0) >= model.vocab_size or min(ids, default=0) < 0:
        raise GraphFormatError(f"the graph has token id {max(ids)}, but the vocabulary has {model.vocab_size} entries")
    words = tuple(model.token_text(token) for token in ids)
    if len(words) != graph.n_pos:
        raise GraphFormatError(f"the graph has {graph.n_pos} tokens, but its prompt has {len(words)} in this model")
    for position, (told, own) in enumerate(zip(graph.tokens, words, strict=True)):
        if told != own:
            raise GraphFormatError(
                f"the graph calls its token {position} {shorten(told)!r}, but token id {ids[position]} is "
                f"{shorten(own)!r} in this model; the file was changed after it was traced"
            )
    if not _is_prompt_of(graph.prompt, ids, model):
        decoded = shorten(str(model.tokenizer.decode(ids)))
        raise GraphFormatError(
            f"the graph's prompt is {shorten(graph.prompt)!r}, but its token ids read {decoded!r}; "
            "the file was changed after it was traced"
        )


def _is_prompt_of(prompt: str, ids: Sequence[int], model: LanguageModel) -> bool:
    if prompt == str(model.tokenizer.decode(list(ids))):
        return True
    try:
        return model.encode(prompt).tolist() == list(ids)
    except PromptError:
        return False
