"""Evidence and graphs as they may be shown: what is cut is in none of their texts, and numbers stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.evidence import load_embedded_evidence
from tracescribe.tracer.evidence_redaction import RedactedSource, redacted_store
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.graph import AttributionGraph, FeatureRef, NodeKind
from tracescribe.tracer.graph_json import to_json
from tracescribe.tracer.graph_redaction import redacted_graph
from tracescribe.tracer.models import load_model
from tracescribe.tracer.redaction import redactor_of
from tracescribe.tracer.transcoders import load_transcoders

MAIL = redactor_of(("email",), None, {"A_KEY": "planted-secret-1"})


@pytest.fixture(scope="module")
def store() -> EvidenceStore:
    """The embedded scan."""
    return load_embedded_evidence(load_model("embedded"), load_transcoders("embedded"))


@pytest.fixture(scope="module")
def planted(store: EvidenceStore) -> tuple[EvidenceStore, int]:
    """The scan, in which four tokens of one sentence make an address, and one frequent token is a secret; the sentence."""
    number = next(n for n in range(store.n_sentences) if store.span(n).stop - store.span(n).start >= 7)
    ids = [int(token) for token in store.token_ids[store.span(number)]]
    free = max(store.token_texts) + 1
    token_ids = store.token_ids.copy()
    token_ids[store.span(number).start + 2 : store.span(number).start + 6] = range(free, free + 4)
    texts = {**store.token_texts, free: "eve", free + 1: "@", free + 2: "example", free + 3: ".org"}
    texts[ids[1]] = "planted-secret-1"
    corpus = list(store.corpus)
    corpus[number] = "planted-secret-1 eve@example.org " + " ".join(texts[i] for i in ids[6:])
    return replace(store, token_texts=texts, corpus=tuple(corpus), token_ids=token_ids), number


def live(store: EvidenceStore) -> Iterator[FeatureRef]:
    """Some features of every layer."""
    for layer in range(len(store.n_features)):
        yield from (FeatureRef(layer, int(feature)) for feature in store.live(layer)[:4])


def test_clean_evidence_is_left_alone(store: EvidenceStore) -> None:
    assert redacted_store(store, MAIL) is store
    toolbox = Toolbox(evidence=store)
    assert toolbox.redacted(MAIL) is toolbox


def test_contexts_lose_what_spans_tokens_and_keep_activations(planted: tuple[EvidenceStore, int]) -> None:
    before, number = planted
    after = redacted_store(before, MAIL)
    shown = after.sentence_tokens(number)
    assert list(shown[1:6]) == ["[redacted secret]", *["[redacted email]"] * 4]
    assert shown[6:] == tuple(MAIL.text(token) for token in before.sentence_tokens(number)[6:])
    assert "eve@" not in after.corpus[number]
    told = json.dumps([*after.token_texts.values(), *after.corpus])
    assert "planted-secret" not in told and "eve@example" not in told
    assert int(after.token_ids.max()) <= int(before.token_ids.max())  # whoever runs ids through the model still can
    for ref in live(before):
        old, new = before.context(number, ref, "top"), after.context(number, ref, "top")
        assert new.activations == old.activations and len(new.tokens) == len(old.tokens)
        assert np.array_equal(before.dense(ref), after.dense(ref)) and before.density(ref) == after.density(ref)


def test_any_source_shows_the_same_numbers_without_the_words(planted: tuple[EvidenceStore, int]) -> None:
    before, _ = planted
    source = RedactedSource(before, MAIL)
    for ref in live(before):
        old, new = before.feature(ref), source.feature(ref)
        assert [c.activations for c in new.contexts] == [c.activations for c in old.contexts]
        assert [e.effect for e in new.promoted] == [e.effect for e in old.promoted]
        rng = (np.random.default_rng(3), np.random.default_rng(3))
        tests = source.test_contexts(ref, 3, 3, rng[0])
        assert [c.context_id for c in tests] == [c.context_id for c in before.test_contexts(ref, 3, 3, rng[1])]
        told = repr((new, tests))
        assert "planted-secret" not in told and "eve@" not in told and "'eve', '@'" not in told


@pytest.fixture(scope="module")
def graph() -> AttributionGraph:
    """A traced graph."""
    from tracescribe.tracer.attribution import attribute

    prompt = "the capital of the state containing Dallas is"
    return attribute(load_model("embedded"), load_transcoders("embedded"), prompt)


def test_graphs_lose_it_everywhere(graph: AttributionGraph) -> None:
    assert redacted_graph(graph, MAIL) is graph
    tokens = list(graph.tokens)
    tokens[2:6] = ["eve", "@", "example", ".org"]
    place = next(
        i for i in range(graph.n_nodes) if graph.nodes.kind[i] == NodeKind.EMBEDDING and graph.nodes.position[i] == 2
    )
    labels = [f"mail eve@example.org {i}" if i == 0 else label for i, label in enumerate(graph.labels)]
    labels[place] = 'Emb: "eve"'
    ids = list(graph.node_ids)
    ids[1] = "eve@example.org"
    extra = {
        "metadata": {"by": "eve@example.org", "password": "x", "prompt_tokens": ["a ", "eve", "@example", ".org"]},
        "eve@example.org": [1, {"deep": ["planted-secret-1", 2.5]}],
    }
    dirty = replace(
        graph,
        prompt="the eve@example.org containing Dallas is",
        tokens=tuple(tokens),
        labels=tuple(labels),
        node_ids=tuple(ids),
        provenance={**graph.provenance, "note": "by eve@example.org"},
        extra=extra,
    )
    clean = redacted_graph(dirty, MAIL)
    told = json.dumps(to_json(clean)) + repr(clean)
    found = [told[max(0, hit.start() - 40) : hit.end() + 40] for hit in re.finditer(r"\beve\b|planted-secret", told)]
    assert not found
    assert clean.tokens[2:6] == ("[redacted email]",) * 4 and clean.tokens[6:] == dirty.tokens[6:]
    assert clean.labels[place] == 'Emb: "[redacted email]"' and len(set(clean.node_ids)) == clean.n_nodes
    assert clean.extra["metadata"]["prompt_tokens"] == ["a ", *["[redacted email]"] * 3]
    assert clean.extra["[redacted email]"] == [1, {"deep": ["[redacted secret]", 2.5]}]
    assert clean.nodes is dirty.nodes and clean.edges is dirty.edges
    assert redacted_graph(clean, MAIL) is clean
