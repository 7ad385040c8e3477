"""Labels by a language model: one question for each feature, and one more for a label that scored poorly."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.agent import PoorLabel, Proposal
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.labelling.predicates import in_words
from tracescribe.agents.llm.answers import FeatureLabelAnswer
from tracescribe.agents.llm.base import LlmProposerBase
from tracescribe.agents.llm.case_view import CaseView, Json, fitting
from tracescribe.agents.llm.evidence_view import context_ids, feature_inputs
from tracescribe.agents.llm.feature_labels import feature_label
from tracescribe.agents.llm.told import told
from tracescribe.agents.llm.words import vocabulary_of
from tracescribe.prompts.library import render
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import WorkError
from tracescribe.tracer.graph import FeatureNode, FeatureRef

LABEL_TEMPLATE, RELABEL_TEMPLATE = "label_feature", "relabel_feature"
MAX_COUNTER_CHARS = 6000
"""Of missed contexts, and of false alarms, as the template has room for."""
Places = Sequence[FeatureNode]
"""The nodes of one feature, most influential first."""


def places_of(view: CaseView) -> dict[FeatureRef, list[FeatureNode]]:
    """The surveyed features, most influential first, each with its nodes."""
    places: dict[FeatureRef, list[FeatureNode]] = {}
    for node in view.survey.features:
        places.setdefault(node.ref, []).append(node)
    return places


def label_prompts(view: CaseView, chosen: Sequence[Places]) -> list[RenderedPrompt]:
    """The questions for these features."""
    return [render(LABEL_TEMPLATE, **feature_inputs(view, places)) for places in chosen]


def make_labels(asker: LlmProposerBase, view: CaseView, chosen: Sequence[Places]) -> Proposal[FeatureLabel]:
    """A label for each feature; a question that fails leaves its feature unlabelled, and is told."""
    return _asked(asker, view, chosen, label_prompts(view, chosen), LABEL_TEMPLATE)


def make_better_labels(asker: LlmProposerBase, view: CaseView, poor: Sequence[PoorLabel]) -> Proposal[FeatureLabel]:
    """New labels in place of poor ones, from the contexts that these got wrong."""
    places = places_of(view)
    known = [p for p in poor if FeatureRef(p.label.layer, p.label.feature) in places]
    chosen = [places[FeatureRef(p.label.layer, p.label.feature)] for p in known]
    prompts = [
        render(RELABEL_TEMPLATE, **feature_inputs(view, nodes), **_counter_examples(p))
        for p, nodes in zip(known, chosen, strict=True)
    ]
    return _asked(asker, view, chosen, prompts, RELABEL_TEMPLATE)


def _counter_examples(poor: PoorLabel) -> dict[str, Json]:
    label = poor.label
    return {
        "label": {
            "text": label.text,
            "reads": label.reads,
            "predicate": "none" if label.predicate is None else in_words(label.predicate),
        },
        "missed": fitting(poor.missed, MAX_COUNTER_CHARS),
        "false_alarms": fitting(poor.false_alarms, MAX_COUNTER_CHARS),
    }


def _asked(
    asker: LlmProposerBase,
    view: CaseView,
    chosen: Sequence[Places],
    prompts: Sequence[RenderedPrompt],
    template: str,
) -> Proposal[FeatureLabel]:
    vocabulary = vocabulary_of(view.tools, view.survey)
    labels: list[FeatureLabel] = []
    faults: list[str] = []
    answers = asker.session.ask_all(prompts, FeatureLabelAnswer, view.tools.meter)
    for places, answer in zip(chosen, answers, strict=True):
        if isinstance(answer, WorkError):
            faults.append(f"feature {places[0].ref}: {answer}")
            continue
        label, wrong = feature_label(
            places[0].ref, answer, vocabulary, asker.signed(template), context_ids(view, places[0])
        )
        labels.append(label)
        faults += wrong
    return Proposal(tuple(labels), told("label", faults, most=len(chosen)))
