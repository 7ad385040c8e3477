"""Labels that scored poorly are sent back once, and the better one stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.agents.conftest import DALLAS
from tests.agents.label_rig import (
    SETTINGS,
    Changing,
    features,
    label,
    right,
    run,
)
from tracescribe.agents.agent import PoorLabel
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.case_tools import CaseTools
from tracescribe.agents.claims import Predicate
from tracescribe.agents.findings import FeatureLabel
from tracescribe.agents.labelling.corpus_facts import CorpusFacts
from tracescribe.agents.labelling.label_judging import (
    JudgeJob,
    answer_by_predicate,
)
from tracescribe.agents.offline import OfflineProposer
from tracescribe.agents.survey import make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import BudgetExceededError, ProviderError
from tracescribe.tracer.graph import FeatureRef


@pytest.fixture(scope="module")
def corpus(embedded_toolbox: Toolbox) -> CorpusFacts:
    assert embedded_toolbox.corpus is not None
    return embedded_toolbox.corpus


@pytest.fixture
def tools(embedded_toolbox: Toolbox) -> CaseTools:
    return embedded_toolbox.open(InterpretationCase("x", prompt=DALLAS), Budget())


def test_a_poor_label_is_sent_back_once_and_the_better_one_stays(tools: CaseTools, corpus: CorpusFacts) -> None:
    proposer = Changing(again=right)
    tested = run(tools, proposer)
    assert len(proposer.asked) == 1 and not tested.failures
    replaced = [one for one in tested.labels if one.earlier]
    assert len(replaced) == len(proposer.asked[0]) >= 2
    for one in replaced:
        assert one.earlier == ("wrong",) and one.proposed_by == "again" and one.here
        assert all(score.balanced_accuracy > 0.9 for score in one.judged) and one.score is not None
    for poor in proposer.asked[0]:
        assert poor.missed and not poor.false_alarms and all("<<" in text for text in poor.missed)
        ref = FeatureRef(poor.label.layer, poor.label.feature)
        fresh = corpus.unseen.pools(ref, "rescore", 3)
        shown = {int(i.removeprefix("s")) for i in poor.missed_ids}
        assert shown <= set(corpus.unseen.pools(ref, "score", 3)[0].tolist())
        assert not shown & {int(s) for pool in fresh for s in pool}


@pytest.mark.parametrize("again", [None, "same", "worse"])
def test_a_label_that_is_no_better_replaces_nothing(tools: CaseTools, again: str | None) -> None:
    def make(tools: CaseTools, poor: FeatureLabel) -> FeatureLabel | None:
        if again is None:
            return None
        other = Predicate(on="token", words=("nowhere", "either"))
        return poor if again == "same" else poor.model_copy(update={"predicate": other, "text": "other"})

    before = run(tools, Changing())
    assert run(tools, Changing(again=make)) == before
    assert all(not one.earlier and one.text == "wrong" for one in before.labels)


def test_labels_of_features_that_were_not_sent_back_are_ignored(tools: CaseTools) -> None:
    def stranger(tools: CaseTools, poor: FeatureLabel) -> FeatureLabel:
        return right(tools, poor).model_copy(update={"feature": poor.feature + 1})

    assert all(one.text == "wrong" for one in run(tools, Changing(again=stranger)).labels)


def test_a_proposer_that_fails_or_runs_out_leaves_the_labels_scored(tools: CaseTools) -> None:
    def failing(tools: CaseTools, poor: FeatureLabel) -> FeatureLabel:
        raise ProviderError("no answer")

    def spent(tools: CaseTools, poor: FeatureLabel) -> FeatureLabel:
        raise BudgetExceededError("the calls are used up")

    failed, cut = run(tools, Changing(again=failing)), run(tools, Changing(again=spent))
    assert [f.error for f in failed.failures] == ["poor labels were not made again: no answer"]
    assert (failed.cut_short, cut.cut_short) == (None, "the calls are used up")
    assert failed.labels == cut.labels and all(one.text == "wrong" for one in cut.labels)
    assert any(one.judged for one in cut.labels)


def test_no_more_labels_are_sent_back_than_set(tools: CaseTools) -> None:
    proposer = Changing(again=right)
    run(tools, proposer, replace(SETTINGS, max_relabelled=1))
    assert [len(poor) for poor in proposer.asked] == [1]
    unasked = Changing(again=right)
    run(tools, unasked, replace(SETTINGS, max_relabelled=0))
    assert not unasked.asked


def test_the_offline_agent_makes_a_poor_label_again_from_its_counterexamples(
    corpus: CorpusFacts, tools: CaseTools
) -> None:
    """Given sentences that a predicate is wrong on, the next-best predicate tells more of them right."""
    proposer, better = OfflineProposer(), 0
    for ref, windows in features(corpus, 15):
        poor = label(ref, Predicate(on="token", words=("nowhere",)))
        ids = tuple(f"s{w.sentence}" for w in windows if w.kind == "positive")[:5]
        proposal = proposer.relabel(tools, make_survey(tools), (PoorLabel(poor, (), (), ids, ()),))
        for new in proposal.items:
            assert new.predicate is not None and (new.layer, new.feature) == (ref.layer, ref.feature)
            shown = tuple(w for w in windows if f"s{w.sentence}" in ids)
            told = answer_by_predicate(corpus, new.predicate, JudgeJob(new, "detection", shown))
            assert any(told)
            better += 1
    assert better > 10
