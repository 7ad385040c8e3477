"""How alike two names are beyond their words: by letters, by a sentence model, and the places where raters plug in.

The sentence model is optional and nobody's default: it is a folder, or a name on a hub, of weights in safetensors. It is
read by transformers, no code of the model's own is run, and nothing is unpickled.

Source: mean pooling and cosine as in Reimers and Gurevych 2019 (Sentence-BERT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.evals.scorers.label_judge import JudgeAgreement

NGRAMS = (2, 4)
"""Lengths of character n-grams: long enough to hold a root, short enough to outlive an ending."""
DIGITS = 6
"""Of a likeness; single precision holds no more."""
MAX_TOKENS = 64
"""Names are short; what is longer is cut for the sentence model."""


@dataclass(frozen=True)
class NamedPair:
    """A name that was given and the names that are accepted.

    Attributes:
        prompt: whose circuit the named concept is part of.
    """

    given: str
    accepted: tuple[str, ...]
    prompt: str = ""


class EmbeddingRater(Protocol):
    """Rates names by what they mean."""

    def similarities(self, pairs: Sequence[NamedPair]) -> Sequence[float]:
        """Likeness of each given name and the accepted name nearest to it, 0 to 1."""
        ...


class JudgeRater(Protocol):
    """Says of names whether they are right; it was held against people first."""

    @property
    def agreement(self) -> JudgeAgreement:
        """How far it agreed with people."""
        ...

    def judge(self, pairs: Sequence[NamedPair]) -> Sequence[bool | None]:
        """Whether each given name is right; None where no usable answer came."""
        ...


@dataclass(frozen=True)
class LabelRaters:
    """Who rates names beyond their words; both are off unless chosen."""

    embedding: EmbeddingRater | None = None
    judge: JudgeRater | None = None


NO_RATERS = LabelRaters()


def char_similarities(pairs: Sequence[NamedPair]) -> list[float]:
    """Cosine of the counts of character n-grams of each given name and its nearest accepted name, 0 to 1.

    Counts are not weighed by rarity: that would make a score depend on what else is scored with it.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    if not pairs:
        return []
    hasher = HashingVectorizer(analyzer="char_wb", ngram_range=NGRAMS, alternate_sign=False, norm="l2")
    texts = [text for pair in pairs for text in (pair.given, *pair.accepted)]
    vectors = csr_matrix(hasher.transform(texts))
    found, start = [], 0
    for pair in pairs:
        end = start + 1 + len(pair.accepted)
        cosines = (vectors[start + 1 : end] @ vectors[start].T).toarray()
        found.append(_share(float(cosines.max())))
        start = end
    return found


class SentenceModel:
    """A sentence model of the transformers library as an `EmbeddingRater`; loaded when it is first asked.

    Args:
        spec: a folder, or a name on a model hub.
        allow_download: whether a hub may be asked; otherwise only what is on this machine is read.
    """

    def __init__(self, spec: str, allow_download: bool = False) -> None:
        self.spec = spec
        self._allow_download = allow_download

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        options = {"local_files_only": not self._allow_download, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.spec, **options)
            model = AutoModel.from_pretrained(self.spec, use_safetensors=True, **options)
        except (OSError, ValueError, KeyError) as error:
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise SettingError(
                f"sentence model {self.spec!r} cannot be read: {why}; name a folder or hub name that holds a tokenizer, "
                "a configuration that transformers knows, and weights in safetensors"
            ) from error
        return tokenizer, model.eval()

    def similarities(self, pairs: Sequence[NamedPair]) -> list[float]:
        """Cosine of the embeddings of each given name and its nearest accepted name; below 0 counts as 0.

        Raises:
            SettingError: the model cannot be read.
        """
        import torch

        if not pairs:
            return []
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.given, *pair.accepted)))
        tokenizer, model = self._loaded
        batch = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        means = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        vectors = dict(zip(texts, torch.nn.functional.normalize(means, dim=-1), strict=True))
        return [_share(max(float(vectors[pair.given] @ vectors[text]) for text in pair.accepted)) for pair in pairs]


def _share(cosine: float) -> float:
    """A cosine as a score of 0 to 1, without the last digits, so that equal names are alike to the full."""
    return min(1.0, max(0.0, round(cosine, DIGITS)))
