"""Documents become windows: runs of tokens short enough for the model, each led by what leads every prompt.

Order, content and hashes depend on the corpus, the tokenizer and the settings alone, so that a scan that was cut short
takes up exactly where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.corpus import Corpus, Document
from tracescribe.tracer.errors import EvidenceError, PromptError, SettingError
from tracescribe.tracer.vocabulary import Vocabulary

DOCUMENTS_AT_ONCE = 256
"""Documents tokenised together: the tokenizer is several times faster on many than on one."""
CHARACTERS_AT_ONCE = 1 << 20
"""Characters tokenised together. A longer document is tokenised in pieces of this size, cut at white space."""


class Position(NamedTuple):
    """Where the next window begins: documents before `document` are done, and so are its first `part` windows."""

    document: int
    part: int


START = Position(0, 0)


@dataclass(frozen=True, eq=False)
class Window:
    """A run of tokens of one document.

    Attributes:
        ids: `[n_tokens]` int32, lead included.
        position: of this window in the corpus.
        is_test: whether the document lies in the test half.
        priority: 64 bits of a hash of the tokens; equal windows have equal priorities.
        end: bytes of the corpus up to the end of its document.
        digest: hash of all documents before this one, in hexadecimal.
    """

    ids: NDArray[np.int32]
    position: Position
    is_test: bool
    priority: int
    end: int
    digest: str


@dataclass(frozen=True)
class WindowRules:
    """How documents are cut and split.

    Attributes:
        context_size: most tokens in a window, lead included.
        lead: token ids before every window: BOS, or the opening that an instruction-tuned model needs.
        test_share: share of the documents, by hash, that are kept from labellers.
        split_salt: hashed with each document; another salt gives another split.
    """

    context_size: int
    lead: tuple[int, ...]
    test_share: float
    split_salt: str

    def __post_init__(self) -> None:
        if not len(self.lead) < self.context_size <= np.iinfo(np.uint16).max:
            raise SettingError(
                f"context size must lie between {len(self.lead) + 1} and {np.iinfo(np.uint16).max}, "
                f"found {self.context_size}"
            )
        if not 0.0 <= self.test_share <= 1.0:
            raise SettingError(f"test_share must lie between 0 and 1, found {self.test_share}")


def in_test_half(text: str, salt: str, share: float) -> bool:
    """Which half a text lies in: decided by a hash of its words, so that equal texts never part."""
    digest = hashlib.sha256(f"{salt}\0{' '.join(text.split())}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def lead_ids(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Token ids that lead every window."""
    if vocabulary.required_prefix:
        return vocabulary.required_prefix
    return () if vocabulary.bos_id is None else (vocabulary.bos_id,)


class WindowReader:
    """Iterates the windows of a corpus from a position on.

    Attributes:
        digest: after the last window, the hash of all documents.
    """

    def __init__(
        self, corpus: Corpus, vocabulary: Vocabulary, rules: WindowRules, start: Position = START, digest: str = ""
    ) -> None:
        """Args:
        start: the first window wanted.
        digest: what `Window.digest` was there; "" does not check it.
        """
        self._corpus, self._vocabulary, self._rules = corpus, vocabulary, rules
        self._start, self._expected = start, digest
        self._hash = hashlib.sha256()
        self.digest = self._hash.hexdigest()

    def __iter__(self) -> Iterator[Window]:
        """Windows in order.

        Raises:
            EvidenceError: the corpus cannot be read, holds words outside the vocabulary, or is not the one that the
                digest was made of.
        """
        batch: list[tuple[Document, str]] = []
        size, reached = 0, self._start == START
        for document in self._corpus.documents():
            if document.number == self._start.document:
                self._check()
                reached = True
            before = self.digest
            self._add(document.text)
            if document.number < self._start.document:
                continue
            batch.append((document, before))
            size += len(document.text)
            if len(batch) >= DOCUMENTS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
                yield from self._windows(batch)
                batch, size = [], 0
        if not reached:
            raise EvidenceError(
                f"the corpus changed since the scan began: it has no document {self._start.document + 1} any more; give "
                "the same corpus, or start over with --force"
            )
        yield from self._windows(batch)

    def _add(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self._hash.update(len(encoded).to_bytes(8, "big") + encoded)
        self.digest = self._hash.hexdigest()

    def _check(self) -> None:
        if self._expected and self.digest != self._expected:
            raise EvidenceError(
                f"the corpus changed since the scan began: its first {self._start.document} documents have hash "
                f"{self.digest[:12]}, expected {self._expected[:12]}; give the same corpus, or start over with --force"
            )

    def _windows(self, batch: Sequence[tuple[Document, str]]) -> Iterator[Window]:
        rules = self._rules
        room = rules.context_size - len(rules.lead)
        encoded = self._encode([document for document, _ in batch])
        for (document, digest), ids in zip(batch, encoded, strict=True):
            is_test = in_test_half(document.text, rules.split_salt, rules.test_share)
            first = self._start.part if document.number == self._start.document else 0
            for part in range(first, -(-len(ids) // room)):
                content = np.array([*rules.lead, *ids[part * room : (part + 1) * room]], dtype=np.int32)
                priority = hashlib.blake2b(content.tobytes(), digest_size=8).digest()
                yield Window(
                    ids=content,
                    position=Position(document.number, part),
                    is_test=is_test,
                    priority=int.from_bytes(priority, "big"),
                    end=document.end,
                    digest=digest,
                )

    def _encode(self, documents: Sequence[Document]) -> list[list[int]]:
        """Token ids of documents, without lead."""
        pieces = [(place, piece) for place, document in enumerate(documents) for piece in _pieces(document.text)]
        found: list[list[int]] = [[] for _ in documents]
        if not pieces:
            return found
        tokenizer = cast(Any, self._vocabulary.tokenizer)
        encoded = tokenizer([piece for _, piece in pieces], add_special_tokens=False, verbose=False)["input_ids"]
        for (place, piece), ids in zip(pieces, encoded, strict=True):
            self._refuse_unknown(documents[place], piece, ids)
            found[place].extend(int(i) for i in ids)
        bos = self._vocabulary.bos_id
        return [ids[1:] if ids and ids[0] == bos else ids for ids in found]  # the text spelled BOS out

    def _refuse_unknown(self, document: Document, piece: str, ids: Sequence[int]) -> None:
        """Words outside the vocabulary would be scanned as one meaningless token."""
        unknown = cast(Any, self._vocabulary.tokenizer).unk_token_id
        outside = [i for i in ids if not 0 <= i < self._vocabulary.n_tokens]
        where = f"corpus sentence {document.number + 1}"
        if outside:
            raise EvidenceError(
                f"{where}: token id {outside[0]} is not in 0..{self._vocabulary.n_tokens - 1}; the tokenizer is not "
                "the model's"
            )
        if unknown is None or unknown == self._vocabulary.bos_id or unknown not in ids:
            return
        try:
            dataclasses.replace(self._vocabulary, max_positions=sys.maxsize, required_prefix=()).encode(piece)
        except PromptError as error:
            raise EvidenceError(f"{where}: {error}") from error


def _pieces(text: str) -> Iterator[str]:
    """A text cut at white space into pieces of at most `CHARACTERS_AT_ONCE` characters."""
    start = 0
    while len(text) - start > CHARACTERS_AT_ONCE:
        cut = text.rfind(" ", start + 1, start + CHARACTERS_AT_ONCE)
        cut = start + CHARACTERS_AT_ONCE if cut < 0 else cut
        yield text[start:cut]
        start = cut
    yield text[start:]
