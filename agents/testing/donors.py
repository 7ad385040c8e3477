"""Donor prompts for swaps, found without knowing what the model is about.

A donor is the same prompt with other words where the supernode gets its input, taken from sentences of the corpus; the
model must answer it otherwise, and firmly. Its counterpart features are those that stand, in the donor's own graph, where
the supernode stands in this one: same position and layers, fed and feeding alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.case_tools import Prediction
from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Supernode
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.tracer.errors import PromptError
from tracescribe.tracer.graph import FeatureNode, IntArray
from tracescribe.tracer.profiles import cross_similarity
from tracescribe.tracer.prune import node_influence

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.tracer.evidence_store import EvidenceStore


@dataclass(frozen=True)
class DonorSettings:
    """Settings of the search for donors.

    Attributes:
        source_share: a token feeds a supernode if it has at least this share of its input attribution.
        wide_source_share: the same, for supernodes at the last position when no donor with one other word is found.
        max_candidates: candidate prompts of one kind given to the model, in one batch.
        min_probability: how firmly the model must answer a donor prompt.
        donors_per_supernode: donors kept.
        min_likeness: least likeness of profiles between a counterpart feature and the supernode.
        min_counterpart_share: a counterpart feature has at least this share of the largest counterpart's influence.
    """

    source_share: float = 0.25
    wide_source_share: float = 0.03
    max_candidates: int = 48
    min_probability: float = 0.5
    donors_per_supernode: int = 2
    min_likeness: float = 0.5
    min_counterpart_share: float = 0.1

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)


SEVERAL_WORDS_TIER = 2
"""Number of the tier whose candidates differ in several words."""
PHRASE_TIER = 3
"""Number of the tier whose candidates differ in neighbouring words, too: in both words of a name."""


@dataclass(frozen=True)
class Donor:
    """A prompt that can lend its counterpart of a supernode.

    Attributes:
        prompt: the donor prompt, without BOS.
        changed: positions whose words differ, and the donor's words there.
        features: the counterpart, at positions in the donor prompt.
        expected_token: the model's own answer to the donor prompt.
        probability: of that answer.
    """

    prompt: str
    changed: tuple[tuple[int, str], ...]
    features: tuple[FeatureAt, ...]
    expected_token: str
    probability: float

    @property
    def words(self) -> str:
        """The donor's words, for people."""
        return " ".join(word for _, word in self.changed)


def find_donors(
    tools: CaseTools, facts: GraphFacts, supernode: Supernode, settings: DonorSettings
) -> tuple[Donor, ...]:
    """Donors for one supernode; none without a corpus, or where no other word fits.

    Args:
        facts: of this case's unpruned graph.

    Raises:
        BudgetExceededError: the forward passes are used up.
    """
    store = tools.store
    if store is None:
        return ()
    members = tuple(member.node for member in supernode.members)
    answer = tools.token_of_logit(facts.graph, int(facts.graph.target_logit or 0))
    donors: list[Donor] = []
    at_the_end = any(node.position == facts.final_position for node in members)
    tiers = candidate_tiers(store, facts, members, settings, tools.rng("donors", _key(members)))
    for number, tier in enumerate(tiers):
        if donors and (number == PHRASE_TIER or (number == SEVERAL_WORDS_TIER and at_the_end)):
            break
        told = [(text, ids) for ids in tier if (text := readable(tools, ids)) is not None]
        for prediction, (_, ids) in zip(tools.predict([text for text, _ in told]), told, strict=True):
            # a second donor with the same answer would tell little more
            known = {answer, *(donor.expected_token for donor in donors)}
            if prediction.token in known or prediction.probability < settings.min_probability:
                continue
            donor = _donor(tools, store, facts, members, prediction, ids, settings)
            if donor is not None:
                donors.append(donor)
            if len(donors) == settings.donors_per_supernode:
                return tuple(donors)
    return tuple(donors)


def readable(tools: CaseTools, ids: IntArray) -> str | None:
    """Text that the model reads as exactly these tokens; None where there is none.

    Not every row of tokens is one: a tokenizer may cut the same characters otherwise, add a word of its own, or have no
    text for a token at all. What does not come back as it was is no prompt that could be claimed about.
    """
    wanted, special = [int(i) for i in ids], tools.model.vocabulary.special_ids
    body = wanted[1:] if wanted and wanted[0] in special else wanted  # the model adds the BOS that leads a prompt
    if not body or special.intersection(body):
        return None
    texts = [str(tools.model.tokenizer.decode(body))]
    if tools.store is not None:
        texts.insert(0, " ".join(tools.store.token_texts.get(i, "") for i in body))
    for text in dict.fromkeys(texts):
        try:
            if [int(i) for i in tools.model.encode(text)] == wanted:
                return text
        except PromptError:
            continue
    return None


def source_positions(facts: GraphFacts, members: Sequence[FeatureNode], share: float) -> tuple[int, ...]:
    """Positions whose tokens feed the members, BOS aside; the members' own positions where attribution tells none."""
    rows = [facts.row_of[node] for node in members]
    attribution = np.abs(facts.profiles.inputs[rows]).sum(axis=0)
    attribution[0] = 0.0
    total = float(attribution.sum())
    found = np.flatnonzero(attribution >= share * total) if total > 0 else np.zeros(0, dtype=np.int64)
    return tuple(int(p) for p in found) or tuple(sorted({node.position for node in members}))


def _key(members: Sequence[FeatureNode]) -> str:
    return " ".join(f"{n.layer}_{n.feature}_{n.position}" for n in sorted(members))


def candidate_tiers(
    store: EvidenceStore,
    facts: GraphFacts,
    members: Sequence[FeatureNode],
    settings: DonorSettings,
    rng: np.random.Generator,
) -> Iterator[list[IntArray]]:
    """Token ids of candidate prompts, best kinds first.

    First corpus sentences that differ in one word that feeds the supernode; then the prompt with one such word replaced,
    the most familiar combinations first; then corpus sentences that differ in several such words. The last kind is kept
    from supernodes at the last position unless nothing else is left: what two words change there seldom passes through
    one supernode alone. Last of all, and only for want of others, corpus sentences that also differ beside such words: what
    stands for a name of two words may be fed by one of them, and no corpus has every pair of names.
    """
    prompt = np.asarray(facts.graph.token_ids, dtype=np.int64)
    sources = source_positions(facts, members, settings.source_share)
    natural = _natural(store, prompt, sources)
    one_word = [ids for ids in natural if int((ids != prompt).sum()) == 1]
    made = _by_familiarity(store, prompt, _substituted(store, prompt, sources), rng)
    seen = {tuple(int(i) for i in prompt)}
    yield _fresh(_shuffled(one_word, rng), seen, settings.max_candidates)
    yield _fresh(made, seen, settings.max_candidates)
    wide = sources
    if any(node.position == facts.final_position for node in members):
        wide = source_positions(facts, members, settings.wide_source_share)
    yield _fresh(_shuffled(_natural(store, prompt, wide), rng), seen, settings.max_candidates)
    phrase = sorted({p + step for p in sources for step in (-1, 0, 1)} & set(range(1, len(prompt))))
    yield _fresh(_shuffled(_natural(store, prompt, phrase), rng), seen, settings.max_candidates)


def _shuffled(pool: Sequence[IntArray], rng: np.random.Generator) -> list[IntArray]:
    return [pool[int(i)] for i in rng.permutation(len(pool))]


def _fresh(pool: Sequence[IntArray], seen: set[tuple[int, ...]], most: int) -> list[IntArray]:
    """The first candidates that were not offered before."""
    found: list[IntArray] = []
    for ids in pool:
        key = tuple(int(i) for i in ids)
        if key not in seen and len(found) < most:
            seen.add(key)
            found.append(ids)
    return found


def _by_familiarity(
    store: EvidenceStore, prompt: IntArray, pool: Sequence[IntArray], rng: np.random.Generator
) -> list[IntArray]:
    """Candidates by how many of the prompt's words the new word shares some sentence with; ties at random."""
    words = np.unique(prompt[1:])
    present = np.zeros((len(words), store.n_sentences), dtype=np.bool_)
    for row, word in enumerate(words):
        present[row, store.token_sentence[store.token_ids == word]] = True
    scored = []
    for ids in _shuffled(pool, rng):
        new = ids[ids != prompt]
        sentences = np.unique(store.token_sentence[np.isin(store.token_ids, new)])
        scored.append((-int(present[:, sentences].any(axis=1).sum()), ids))
    scored.sort(key=lambda pair: pair[0])
    return [ids for _, ids in scored]


def _natural(store: EvidenceStore, prompt: IntArray, sources: Sequence[int]) -> list[IntArray]:
    """Openings of corpus sentences that equal the prompt everywhere but at source positions."""
    starts = store.offsets[:-1][np.diff(store.offsets) >= len(prompt)]
    openings = store.token_ids[starts[:, None] + np.arange(len(prompt))[None, :]]
    fixed = np.ones(len(prompt), dtype=np.bool_)
    fixed[list(sources)] = False
    alike = (openings[:, fixed] == prompt[fixed]).all(axis=1)
    return [np.asarray(row, dtype=np.int64) for row in np.unique(openings[alike], axis=0)]


def _substituted(store: EvidenceStore, prompt: IntArray, sources: Sequence[int]) -> list[IntArray]:
    """The prompt with the word at one source position replaced by one that stands between the same neighbours."""
    made: list[IntArray] = []
    ids = store.token_ids
    for position in sources:
        here = np.arange(1, len(ids))
        fits = ids[here - 1] == prompt[position - 1]
        if position + 1 < len(prompt):
            here, fits = here[:-1], fits[:-1]
            fits &= ids[here + 1] == prompt[position + 1]
        for word in np.unique(ids[here[fits]]):
            changed = prompt.copy()
            changed[position] = word
            made.append(changed)
    return made


def _donor(
    tools: CaseTools,
    store: EvidenceStore,
    facts: GraphFacts,
    members: Sequence[FeatureNode],
    prediction: Prediction,
    ids: IntArray,
    settings: DonorSettings,
) -> Donor | None:
    """The donor with its counterpart; None where the donor's graph has none, or the very same features."""
    features = counterpart(tools, facts, members, prediction.prompt, settings)
    if not features or {f.ref for f in features} <= {node.ref for node in members}:
        return None
    own = facts.graph.token_ids
    changed = tuple((p, store.token_texts[int(i)]) for p, i in enumerate(ids) if int(i) != own[p])
    return Donor(
        prompt=prediction.prompt,
        changed=changed,
        features=features,
        expected_token=prediction.token,
        probability=prediction.probability,
    )


def counterpart(
    tools: CaseTools, facts: GraphFacts, members: Sequence[FeatureNode], prompt: str, settings: DonorSettings
) -> tuple[FeatureAt, ...]:
    """Features of a donor prompt of the same length that stand where the members stand here.

    Raises:
        PromptError: the model cannot read the prompt.
        BudgetExceededError: the forward passes are used up.
    """
    graph = tools.trace(prompt)
    other = graph_facts(graph)
    places = {(node.layer, node.position) for node in members}
    nodes = [node for node in other.row_of if (node.layer, node.position) in places]
    if not nodes:
        return ()
    rows, mine = [other.row_of[node] for node in nodes], [facts.row_of[node] for node in members]
    likeness = cross_similarity(
        (other.profiles.inputs[rows], other.profiles.destinations[rows]),
        (facts.profiles.inputs[mine], facts.profiles.destinations[mine]),
    ).max(axis=1)
    influence = node_influence(graph)[other.profiles.nodes[rows]]
    alike = likeness >= settings.min_likeness
    if not alike.any():
        return ()
    floor = settings.min_counterpart_share * float(influence[alike].max())
    kept = [node for node, a, i in zip(nodes, alike, influence, strict=True) if a and i >= floor]
    return tuple(FeatureAt.of(node) for node in sorted(kept))
