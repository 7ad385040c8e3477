"""Score proposed labels on sentences that the labeller never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.agents.experiment_settings import ExperimentSettings
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.label_test_settings import LabelTestSettings
from tracescribe.agents.label_tests import score_predicate
from tracescribe.agents.report import StepFailure
from tracescribe.tracer.errors import EvidenceError
from tracescribe.tracer.graph import FeatureRef

if TYPE_CHECKING:
    from tracescribe.agents.agent import Proposer
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.survey import Survey


@dataclass(frozen=True)
class TestedLabels:
    """Labels after their tests.

    Attributes:
        labels: one for each label given, in their order, with scores where there is evidence for them.
        failures: what went wrong on the way.
        cut_short: why the tests ended early (a budget is used up); None where they did not.
    """

    labels: tuple[FeatureLabel, ...]
    failures: tuple[StepFailure, ...] = ()
    cut_short: str | None = None


def test_labels(
    tools: CaseTools,
    survey: Survey,
    proposer: Proposer,
    labels: Sequence[FeatureLabel],
    settings: ExperimentSettings,
    judging: LabelTestSettings | None = None,
) -> TestedLabels:
    """Score labels on sentences that the labeller never saw, and send poor ones back once.

    Args:
        settings: of every test.
        judging: of detection and fuzzing; None for the defaults.
    """
    return TestedLabels(score_labels(tools, labels, settings))


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
