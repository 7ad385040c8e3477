"""Words to token ids: the word-level tokenizer, and batches of samples as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training.corpus import BOS, MAX_WORDS, STOP, Sample, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD_ID, BOS_ID, STOP_ID = 0, 1, 3
N_SPECIAL = 4
"""Ids below this one are special words."""


def word_ids() -> dict[str, int]:
    """Word -> token id."""
    return {word: index for index, word in enumerate(vocabulary())}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that splits at white space and puts `<bos>` in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(word_ids(), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=BOS, pad_token="<pad>", unk_token="<unk>", eos_token=STOP
    )


def encode(samples: Sequence[Sample], ids_of: Mapping[str, int], width: int = MAX_WORDS) -> tuple[Tensor, Tensor]:
    """Token ids of whole sentences, padded on the right.

    Returns:
        ids [n, width] and the answers' positions [n].
    """
    ids = torch.full((len(samples), width), PAD_ID, dtype=torch.long)
    for row, drawn in enumerate(samples):
        ids[row, : len(drawn.words)] = torch.tensor([ids_of[word] for word in drawn.words])
    return ids, torch.tensor([drawn.answer for drawn in samples], dtype=torch.long)
