"""Score proposed labels on sentences that the labeller never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.label_tests import score_predicate
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools


def score_labels(
    tools: CaseTools, labels: Sequence[FeatureLabel], settings: ExperimentSettings
) -> tuple[FeatureLabel, ...]:
    """The same labels, with a detection score where there is evidence enough for one."""
    store = tools.store
    if store is None:
        return tuple(labels)
    scored = []
    for label in labels:
        if label.predicate is None:
            scored.append(label)
            continue
        ref = FeatureRef(label.layer, label.feature)
        try:
            score = score_predicate(store, ref, label.predicate, settings, tools.rng("label score", str(ref)))
            scored.append(label.model_copy(update={"score": score}))
        except EvidenceError:  # too few unseen sentences: a label without a score, not a score of 0
            scored.append(label)
    return tuple(scored)
