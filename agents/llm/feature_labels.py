"""From a language model's words on one feature to a typed label whose predicate code can check."""

from __future__ import annotations

from collections.abc import Sequence

from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.llm.actions import LabelFeature
from tracescribe.agents.llm.answers import FeatureLabelAnswer, OneShotLabelAnswer
from tracescribe.agents.llm.words import Vocabulary
from tracescribe.tracer.graph import FeatureRef


def feature_label(
    ref: FeatureRef,
    answer: FeatureLabelAnswer | OneShotLabelAnswer | LabelFeature,
    vocabulary: Vocabulary,
    proposed_by: str,
    evidence: Sequence[str] = (),
) -> tuple[FeatureLabel, tuple[str, ...]]:
    """The label, and what was wrong with it: words of its predicate that the model does not have.

    Args:
        evidence: ids of the contexts that the label rests on.
    """
    words, unknown = vocabulary.split(answer.predicate.words)
    label = FeatureLabel(
        layer=ref.layer,
        feature=ref.feature,
        text=answer.text,
        reads=answer.reads,
        here=answer.here,
        predicate=Predicate(on=answer.predicate.on, words=words) if words else None,
        evidence=tuple(evidence),
        proposed_by=proposed_by,
    )
    if not unknown:
        return label, ()
    told = ", ".join(word[:20] for word in unknown)
    return label, (f"feature {ref}: words that no token is, dropped: {told}",)
