"""Between text and token ids: prompts in, token text out, and errors that help whoever mistyped a word."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from tracescribe.tracer.errors import PromptError, UnknownIdError

MAX_SHOWN_CHARACTERS = 40
"""Characters of a stranger's word that a message repeats."""

N_NEAR_WORDS = 3
"""Suggestions per unknown word: enough to find a slip of the pen, few enough for one line."""

NEAR_WORD_CUTOFF = 0.6
"""`difflib` similarity below which a suggestion reads as noise (the library's own default)."""

GPT2_BOS = "<|endoftext|>"
"""What stands before the first token of a GPT-2 prompt, whose tokenizer adds nothing by itself."""


def shorten(text: str) -> str:
    """At most `MAX_SHOWN_CHARACTERS` of a text, with a mark where it was cut."""
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A tokenizer with the rules that tracing needs.

    Attributes:
        tokenizer: a `transformers` tokenizer.
        n_tokens: token ids that the model knows (its embedding's rows).
        max_positions: positions that the model was configured for.
        model_id: for messages.
        required_prefix: ids that every prompt must begin with, because the model was tuned with them; () for none.
    """

    tokenizer: Any
    n_tokens: int
    max_positions: int
    model_id: str
    required_prefix: tuple[int, ...] = ()

    def encode(self, prompt: str) -> Tensor:
        """Token ids of a prompt, `[n_pos]` int64, beginning with one special token (BOS).

        Raises:
            PromptError: the prompt is empty, too long, lacks the required prefix, or has words outside the vocabulary.
        """
        if not prompt.strip():
            raise PromptError("the prompt is empty; give at least one word")
        self._refuse_unknown_words(prompt)
        ids = [int(i) for i in self.tokenizer(prompt)["input_ids"]]
        if len(ids) > 1 and ids[0] == ids[1] and ids[0] == self.bos_id:
            ids = ids[1:]  # the prompt spelled the BOS out, and the tokenizer added its own
        return self.check(torch.tensor(ids, dtype=torch.int64))

    def check(self, tokens: Tensor) -> Tensor:
        """Token ids fit for a forward pass: BOS prepended where no special token leads.

        Args:
            tokens: `[n_pos]` integers.

        Raises:
            PromptError: wrong shape, no token, too many, an id that the model does not have, or no required prefix.
        """
        tokens = self._integers(tokens)
        if int(tokens[0]) not in self.special_ids and self.bos_id is not None:
            tokens = torch.cat([torch.tensor([self.bos_id]), tokens])
        self._refuse_outside(tokens)
        self._refuse_missing_prefix(tokens)
        return tokens

    def check_as_they_are(self, tokens: Tensor) -> Tensor:
        """Token ids fit for a forward pass, with nothing prepended and no prefix required.

        Args:
            tokens: `[n_pos]` integers.

        Raises:
            PromptError: wrong shape, no token, too many, or an id that the model does not have.
        """
        tokens = self._integers(tokens)
        self._refuse_outside(tokens)
        return tokens

    def _integers(self, tokens: Tensor) -> Tensor:
        if tokens.dim() != 1 or tokens.is_floating_point():
            raise PromptError(f"token ids must be integers [n_pos], found {tokens.dtype} {list(tokens.shape)}")
        if not len(tokens):
            raise PromptError("the prompt has no tokens; give at least one word")
        return tokens.to(torch.int64)

    def _refuse_outside(self, tokens: Tensor) -> None:
        if len(tokens) > self.max_positions:
            raise PromptError(
                f"the prompt has {len(tokens)} tokens, but model {self.model_id} reads at most {self.max_positions}; "
                "shorten it"
            )
        outside = tokens[(tokens < 0) | (tokens >= self.n_tokens)]
        if len(outside):
            raise PromptError(f"token id {int(outside[0])} is not in 0..{self.n_tokens - 1} of model {self.model_id}")

    def _refuse_missing_prefix(self, tokens: Tensor) -> None:
        wanted = list(self.required_prefix)
        found = [int(i) for i in tokens[: len(wanted)]]
        if found != wanted:
            raise PromptError(
                f"model {self.model_id} is instruction-tuned: its prompts must begin with "
                f"{str(self.tokenizer.decode(wanted))!r} (ids {wanted}), found ids {found}; "
                "write that in front, or open the model with zero_positions=1"
            )

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that may lead a prompt."""
        named = frozenset(int(i) for i in self.tokenizer.all_special_ids)
        # some copies of GPT-2's tokenizer have the token in their vocabulary, but do not call it special
        return named or frozenset(self._words[word] for word in (GPT2_BOS,) if word in self._words)

    @cached_property
    def bos_id(self) -> int | None:
        """The id that leads a prompt: BOS, else padding, else EOS, else any special one; 0 is an id like any other.

        Source: circuit-tracer's rule, but for the id 0, which it passes over.
        """
        named = (self.tokenizer.bos_token_id, self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        candidates = [*named, *sorted(self.special_ids)]
        return next((int(i) for i in candidates if i is not None), None)

    def token_text(self, token_id: int) -> str:
        """Text of one token, with the space that belongs to it.

        Raises:
            UnknownIdError: no such token.
        """
        if not 0 <= token_id < self.n_tokens:
            raise UnknownIdError(f"token id {token_id} is not in 0..{self.n_tokens - 1} of model {self.model_id}")
        return str(self.tokenizer.decode([token_id]))

    def token_id(self, text: str) -> int:
        """Id of the one token that a text encodes to.

        Raises:
            UnknownIdError: the text is no single token; the message lists near words.
        """
        ids = self._plain_ids(text)
        if len(ids) == 1 and (ids[0] != self._unknown_id or text in self._words):
            return ids[0]
        if len(ids) > 1 and self._unknown_id not in ids:
            raise UnknownIdError(
                f"{text!r} is {len(ids)} tokens of model {self.model_id} {[self.token_text(i) for i in ids]}, expected 1"
            )
        raise UnknownIdError(f"{text!r} is not a token of model {self.model_id}{self._near(text)}")

    @cached_property
    def _words(self) -> Mapping[str, int]:
        return cast("Mapping[str, int]", self.tokenizer.get_vocab())

    @cached_property
    def _by_lower_case(self) -> Mapping[str, list[str]]:
        folded: dict[str, list[str]] = {}
        words = {word: i for word, i in self._words.items() if i not in self.special_ids}
        for word in sorted(words, key=words.__getitem__):
            folded.setdefault(word.strip("▁Ġ ").casefold(), []).append(word)
        return folded

    @cached_property
    def _unknown_id(self) -> int | None:
        if self.tokenizer.unk_token_id is not None:
            return int(self.tokenizer.unk_token_id)
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        unknown = getattr(getattr(backend, "model", None), "unk_token", None)
        return None if unknown is None else self._words.get(unknown)

    def _plain_ids(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _refuse_unknown_words(self, prompt: str) -> None:
        # byte-level tokenizers know every text; GPT-2's calls its BOS the unknown token
        if (
            self._unknown_id is None
            or self._unknown_id == self.bos_id
            or self._unknown_id not in self._plain_ids(prompt)
        ):
            return
        words = dict.fromkeys(prompt.split())  # each once, in order
        unknown = [w for w in words if self._unknown_id in self._plain_ids(w) and w != self._bos_text]
        if unknown:
            listed = "; ".join(f"{shorten(w)!r}{self._near(w)}" for w in unknown)
            raise PromptError(f"not in the vocabulary of model {self.model_id}: {listed}")

    @cached_property
    def _bos_text(self) -> str | None:
        return None if self.bos_id is None else str(self.tokenizer.convert_ids_to_tokens(self.bos_id))

    def _near(self, word: str) -> str:
        """`" (near: a, b)"`, or a note that nothing is near."""
        folded = shorten(word).strip("▁Ġ ").casefold()
        found = difflib.get_close_matches(folded, self._by_lower_case, n=N_NEAR_WORDS, cutoff=NEAR_WORD_CUTOFF)
        near = [w for match in found for w in self._by_lower_case[match]][:N_NEAR_WORDS]
        return f" (near: {', '.join(near)})" if near else " (no word is near)"
