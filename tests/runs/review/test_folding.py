"""What a review comes to: whatever people do in whatever order, the state is what its acts say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.review.made_reports import ENDS, made_report
from tracescribe.agents.report import CircuitReport
from tracescribe.runs.review import acts
from tracescribe.runs.review.drafts import GraphNodes
from tracescribe.runs.review.errors import ActRefusedError
from tracescribe.runs.review.folding import Course, fold
from tracescribe.runs.review.states import DoneAct, EdgeState, ReviewState

NODES = sorted(ENDS.features)


def done(version: int, act: acts.Act, actor: str = "rosa") -> DoneAct:
    return DoneAct(version=version, at=f"2026-01-01T00:00:00.{version:06}Z", actor=actor, act=act, why="", undone=False)


def after(*every: acts.Act, report: CircuitReport | None = None) -> ReviewState:
    """The state after some acts, each of which is allowed."""
    course = Course(report or made_report())
    for act in every:
        course.go_on(done(course.version + 1, act), ENDS)
    return state_of(course)


def state_of(course: Course) -> ReviewState:
    return course.state(case_id="j.0", report_sha256="0" * 64, reviewer="rosa", review_id="r1")


def supernode(state: ReviewState, name: str) -> Any:
    return next(one for one in state.supernodes if one.supernode_id == name)


def refusal(*every: acts.Act, report: CircuitReport | None = None) -> str:
    """Why the last of some acts is refused."""
    course = Course(report or made_report())
    for act in every[:-1]:
        course.go_on(done(course.version + 1, act), ENDS)
    before = state_of(course)
    with pytest.raises(ActRefusedError) as caught:
        course.go_on(done(course.version + 1, every[-1]), ENDS)
    assert state_of(course) == before, "a refused act changes nothing"
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- any acts -----------------------------------------------------------------------------------------------------------

ids = st.sampled_from(["s1", "s2", "s3", "n1", "n2", "n3", "n4"])
some_nodes = st.lists(st.sampled_from([*NODES, "9_9_9"]), min_size=1, max_size=4).map(tuple)
targets = st.sampled_from(
    ["report", "label:0/1", "label:2/3", "supernode:s1", "supernode:n2", "claim:c1", "claim:c9", "edge:s1>s2"]
)
any_act = st.one_of(
    st.builds(acts.Judge, target=targets, decision=st.sampled_from(["accepted", "rejected", "open"])),
    st.builds(acts.Comment, target=targets, text=st.just("why?")),
    st.builds(acts.RelabelFeature, layer=st.integers(0, 2), feature=st.integers(0, 6), text=st.sampled_from("ab")),
    st.builds(acts.RenameSupernode, supernode=ids, text=st.sampled_from("ab")),
    st.builds(acts.SetRole, supernode=ids, role=st.sampled_from(["input", "output"])),
    st.builds(acts.MoveNodes, nodes=some_nodes, to=st.one_of(st.none(), ids)),
    st.builds(acts.MergeSupernodes, supernodes=st.lists(ids, min_size=1, max_size=2).map(tuple), into=ids),
    st.builds(acts.SplitSupernode, supernode=ids, nodes=some_nodes, label=st.just("part")),
    st.builds(acts.AddSupernode, nodes=some_nodes, label=st.just("new"), role=st.just("other")),
    st.builds(
        acts.SetEdge,
        source=st.sampled_from(["s1", "s2", "n1", "E_7_2", "4_9_3"]),
        destination=st.sampled_from(["s1", "s3", "n1", "4_9_3", "E_5_1"]),
        sign=st.sampled_from([1, -1]),
    ),
    st.builds(acts.MarkUndecided, nodes=some_nodes, undecided=st.booleans()),
    st.just(acts.Undo()),
    st.just(acts.Redo()),
    st.builds(acts.Close, status=st.sampled_from(["accepted", "rejected"])),
    st.just(acts.Reopen()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(any_act, max_size=25))
def test_any_acts_leave_a_state_that_holds_together(tried: list[acts.Act]) -> None:
    report = made_report()
    before = report.model_copy(deep=True)
    course, kept = Course(report), []
    for act in tried:
        one = done(course.version + 1, act)
        try:
            course.go_on(one, ENDS)
        except ActRefusedError:
            continue
        kept.append(one)
    state = state_of(course)
    assert report == before, "the report is never altered"
    assert fold(report, "j.0", "0" * 64, "rosa", "r1", kept) == state, "stored acts give the same state again"
    assert fold(report, "j.0", "0" * 64, "rosa", "r1", state.history) == state
    members = [node for one in state.supernodes for node in one.members]
    assert len(members) == len(set(members)), "every node is in at most one supernode"
    assert not set(members) & set(state.undecided)
    assert set(members) <= ENDS.features
    assert all(one.gone == (not one.members) for one in state.supernodes)
    assert [one.version for one in state.history] == list(range(1, state.version + 1))
    names = [one.supernode_id for one in state.supernodes]
    assert len(names) == len(set(names))


@settings(max_examples=40, deadline=None)
@given(st.lists(any_act, max_size=12), any_act)
def test_undo_takes_one_act_back_and_redo_brings_it_again(tried: list[acts.Act], last: acts.Act) -> None:
    course = Course(made_report())
    for act in [*tried, acts.Reopen()]:
        try:
            course.go_on(done(course.version + 1, act), ENDS)
        except ActRefusedError:
            continue
    before = course.copy()
    try:
        course.go_on(done(course.version + 1, last), ENDS)
    except ActRefusedError:
        return
    if isinstance(last, acts.Undo | acts.Redo | acts.Close | acts.Reopen):
        return
    acted = state_of(course)
    course.go_on(done(course.version + 1, acts.Undo()), ENDS)
    assert drawn(state_of(course)) == drawn(state_of(before))
    assert state_of(course).can_redo
    course.go_on(done(course.version + 1, acts.Redo()), ENDS)
    assert drawn(state_of(course)) == drawn(acted)


def drawn(state: ReviewState) -> dict[str, Any]:
    """A state without its history."""
    return state.model_dump(exclude={"version", "history", "can_undo", "can_redo"})


# -- single acts --------------------------------------------------------------------------------------------------------


def test_a_supernode_that_an_undone_act_made_is_gone_again() -> None:
    split = acts.SplitSupernode(supernode="s1", nodes=(NODES[0],), label="part")
    state = after(split)
    assert supernode(state, "n1").members == (NODES[0],)
    assert supernode(state, "n1").role == "intermediate"
    assert supernode(state, "s1").members == (NODES[1], NODES[2])
    state = after(split, acts.Undo())
    assert [one.supernode_id for one in state.supernodes] == ["s1", "s2", "s3"]
    assert state.history[0].undone
    # another act takes redo's place, and the number of the one that was undone is not given again
    state = after(split, acts.Undo(), split)
    assert state.supernodes[-1].supernode_id == "n3"
    assert not state.can_redo


def test_a_merge_empties_and_keeps_the_order_of_the_report() -> None:
    state = after(acts.MergeSupernodes(supernodes=("s3", "s1"), into="s2"))
    assert supernode(state, "s1").gone
    assert supernode(state, "s3").gone
    own = (NODES[3], NODES[4])
    assert supernode(state, "s2").members == (*own, NODES[5], *NODES[:3])
    links = {(edge.source, edge.destination): edge for edge in state.edges}
    assert links["s1", "s2"].stale, "links to what is gone are told even so"


def test_the_last_member_that_leaves_takes_its_supernode_along() -> None:
    state = after(acts.MoveNodes(nodes=(NODES[5],), to="s1"))
    assert supernode(state, "s3").gone
    assert "gone" in refusal(acts.MoveNodes(nodes=(NODES[5],), to="s1"), acts.RenameSupernode(supernode="s3", text="x"))


def test_undecided_nodes_are_in_no_supernode() -> None:
    state = after(acts.MarkUndecided(nodes=(NODES[0], NODES[9])))
    assert state.undecided == (NODES[0], NODES[9])
    assert NODES[0] not in supernode(state, "s1").members
    state = after(acts.MarkUndecided(nodes=(NODES[9],)), acts.MoveNodes(nodes=(NODES[9],), to="s1"))
    assert state.undecided == ()
    assert supernode(state, "s1").members[-1] == NODES[9]


def test_other_words_of_a_label_have_to_be_judged_anew() -> None:
    accepted = acts.Judge(target="label:0/1", decision="accepted")
    state = after(accepted, acts.RelabelFeature(layer=0, feature=1, text="better"))
    label = next(one for one in state.labels if one.feature == 1)
    assert (label.text, label.text_before, label.decision) == ("better", "word 1", "open")
    state = after(acts.RelabelFeature(layer=2, feature=4, text="mine"))
    assert (state.labels[-1].text, state.labels[-1].text_before) == ("mine", None)


def test_a_link_is_added_turned_and_taken_back() -> None:
    state = after(acts.SetEdge(source="E_7_2", destination="s2", sign=-1))
    assert (state.edges[-1].weight, state.edges[-1].sign, state.edges[-1].sign_before) == (None, -1, None)
    before = next(edge for edge in made_report().edges if (edge.source, edge.destination) == ("s1", "s2"))
    reject = acts.Judge(target="edge:s1>s2", decision="rejected")
    turned = acts.SetEdge(source="s1", destination="s2", sign=-1 if before.weight > 0 else 1)
    edge = next(one for one in after(reject, turned).edges if (one.source, one.destination) == ("s1", "s2"))
    assert (edge.weight, edge.sign, edge.decision) == (before.weight, turned.sign, "open")


def test_a_link_that_somebody_drew_holds_no_longer_once_an_end_is_gone() -> None:
    drawn = acts.SetEdge(source="E_7_2", destination="s2", sign=-1)
    merged = after(drawn, acts.MergeSupernodes(supernodes=("s2",), into="s3"))
    assert [one.stale for one in merged.edges if one.source == "E_7_2"] == [True]
    assert [one.stale for one in after(drawn).edges if one.source == "E_7_2"] == [False]


def test_comments_tell_who_and_when_and_go_only_when_undone_themselves() -> None:
    said = acts.Comment(target="claim:c1", text="how so?")
    rename = acts.RenameSupernode(supernode="s1", text="other")
    state = after(said, rename, acts.Undo())
    assert [(one.version, one.actor, one.text) for one in state.comments] == [(1, "rosa", "how so?")]
    assert after(said, rename, acts.Undo(), acts.Undo()).comments == ()


def test_a_closed_review_takes_nothing_but_to_be_reopened() -> None:
    rename, close = acts.RenameSupernode(supernode="s1", text="x"), acts.Close(status="accepted")
    state = after(rename, close)
    assert (state.status, state.can_undo, state.can_redo) == ("accepted", False, False)
    for act in (rename, acts.Undo(), close, acts.Comment(target="report", text="late")):
        assert "reopen it" in refusal(rename, close, act)
    state = after(rename, close, acts.Reopen(), acts.Undo())
    assert state.status == "open"
    assert supernode(state, "s1").label == "step 1", "undo skips the end and the reopening"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (acts.Judge(target="supernode:s9", decision="accepted"), "no supernode s9"),
        (acts.Judge(target="claim:c77", decision="accepted"), "no claim c77"),
        (acts.Judge(target="label:2/5", decision="accepted"), "no label to judge"),
        (acts.Judge(target="edge:s3>s1", decision="accepted"), "no link s3>s1"),
        (acts.Judge(target="report", decision="open"), "so already"),
        (acts.Comment(target="label:7/7", text="x"), "does not fire"),
        (acts.RelabelFeature(layer=7, feature=7, text="x"), "does not fire"),
        (acts.RelabelFeature(layer=0, feature=1, text="word 1"), "so already"),
        (acts.MoveNodes(nodes=("9_9_9",), to="s1"), "no feature node"),
        (acts.MoveNodes(nodes=("E_5_1",), to="s1"), "no feature node"),
        (acts.MoveNodes(nodes=(NODES[0],), to="s1"), "so already"),
        (acts.MoveNodes(nodes=(NODES[9],), to=None), "in no supernode"),
        (acts.MergeSupernodes(supernodes=("s1",), into="s1"), "into itself"),
        (acts.MergeSupernodes(supernodes=("s1", "s1"), into="s2"), "named twice"),
        (acts.SplitSupernode(supernode="s1", nodes=tuple(NODES[:3]), label="x"), "nothing would stay"),
        (acts.SplitSupernode(supernode="s1", nodes=(NODES[5],), label="x"), "not in supernode s1"),
        (acts.SetEdge(source="4_9_3", destination="s1", sign=1), "can be no source"),
        (acts.SetEdge(source="s1", destination="E_5_1", sign=1), "can be no destination"),
        (acts.SetEdge(source="s1", destination="s1", sign=1), "to itself"),
        (acts.MarkUndecided(nodes=("1_1_1",)), "no feature node"),
        (acts.Undo(), "nothing to undo"),
        (acts.Redo(), "nothing to redo"),
        (acts.Reopen(), "nothing to reopen"),
    ],
)
def test_what_cannot_be_is_refused_in_words(act: acts.Act, told: str) -> None:
    assert told in refusal(act)


# -- links of supernodes with other members -------------------------------------------------------------------------------

OF_NODES = {(NODES[0], NODES[3]): 2.0, (NODES[1], NODES[3]): -0.5, (NODES[3], NODES[5]): 1.0, (NODES[5], "4_9_3"): 3.0}
SPLIT = acts.MoveNodes(nodes=(NODES[0],), to="s3")


def effects(groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], float]:
    """Sums over `OF_NODES`, without a least share."""
    end_of = {node: name for name, members in groups.items() for node in members}
    summed: dict[tuple[str, str], float] = {}
    for (source, destination), weight in OF_NODES.items():
        ends = (end_of.get(source, source), end_of.get(destination, destination))
        if ends[0] != ends[1]:
            summed[ends] = summed.get(ends, 0.0) + weight
    return summed


def regrouped(*every: acts.Act) -> dict[tuple[str, str], EdgeState]:
    course = Course(made_report(), effects)
    for act in every:
        course.go_on(done(course.version + 1, act), ENDS)
    return {(edge.source, edge.destination): edge for edge in state_of(course).edges}


def test_links_follow_the_nodes_into_other_supernodes() -> None:
    before, now = regrouped(), regrouped(SPLIT)
    assert {edge.origin for edge in before.values()} == {"report"}
    told = {ends: (edge.weight, edge.sign, edge.origin) for ends, edge in now.items()}
    assert told == {
        ("s1", "s2"): (-0.5, -1, "graph"),
        ("s3", "s2"): (2.0, 1, "graph"),
        ("s2", "s3"): (1.0, 1, "graph"),
        ("s3", "4_9_3"): (3.0, 1, "graph"),
    }, "and E_5_1 -> s1, of which the graph knows nothing, is no more"
    assert now["s1", "s2"].weight_before == before["s1", "s2"].weight
    assert regrouped(SPLIT, acts.Undo()) == before
    assert regrouped(SPLIT, acts.MoveNodes(nodes=(NODES[0],), to="s1")) == before


def test_what_a_reviewer_said_of_a_link_outlasts_regrouping() -> None:
    rejected = acts.Judge(target="edge:s3>s2", decision="rejected")
    assert regrouped(SPLIT, rejected)["s3", "s2"].decision == "rejected"
    assert "no link s3>s2" in refusal(rejected), "before, there is none to judge"
    drawn = regrouped(acts.SetEdge(source="E_7_2", destination="s1", sign=-1), SPLIT)["E_7_2", "s1"]
    assert (drawn.weight, drawn.sign, drawn.origin) == (None, -1, "reviewer")
    turned = regrouped(SPLIT, acts.SetEdge(source="s3", destination="s2", sign=-1))["s3", "s2"]
    assert (turned.weight, turned.sign, turned.sign_before, turned.origin) == (2.0, -1, 1, "graph")


def test_stored_acts_about_links_of_the_graph_fold_once_the_graph_is_deleted() -> None:
    every: list[acts.Act] = [
        SPLIT,
        acts.Judge(target="edge:s3>s2", decision="rejected"),
        acts.Comment(target="edge:s3>s2", text="no"),
    ]
    kept = [done(number, act) for number, act in enumerate(every, start=1)]
    with_graph = fold(made_report(), "j.0", "0" * 64, "rosa", "r1", kept, effects)
    without = fold(made_report(), "j.0", "0" * 64, "rosa", "r1", kept)
    assert (with_graph.graph_kept, without.graph_kept) == (True, False)
    assert [(edge.source, edge.stale) for edge in without.edges] == [
        ("E_5_1", True),
        ("s1", True),
        ("s2", True),
        ("s3", True),
    ]
    assert without.comments == with_graph.comments


def test_without_a_graph_a_reviewer_can_say_that_a_link_still_holds() -> None:
    holds = acts.SetEdge(source="s1", destination="s2", sign=1)
    state = after(SPLIT, holds)
    link = next(edge for edge in state.edges if (edge.source, edge.destination) == ("s1", "s2"))
    assert (link.origin, link.stale, link.sign) == ("reviewer", False, 1)
    assert "it is so already" in refusal(SPLIT, holds, holds)


def test_undo_goes_back_as_far_as_the_review_does() -> None:
    """Only the last drafts are kept; earlier ones are made again."""
    course, said = Course(made_report()), [f"comment {number}" for number in range(150)]

    def texts() -> list[str]:
        return [one.text for one in state_of(course).comments]

    for text in said:
        course.go_on(done(course.version + 1, acts.Comment(target="report", text=text)), ENDS)
    for left in reversed(range(len(said))):
        course.go_on(done(course.version + 1, acts.Undo()))
        assert texts() == said[:left]
    for _ in said:
        course.go_on(done(course.version + 1, acts.Redo()))
    assert texts() == said


def test_many_nodes_are_moved_in_one_go() -> None:
    """Ten thousand, as many as an act may name: each looked up in a list would take a minute."""
    nodes = tuple(f"0_{number}_1" for number in range(100, 100 + acts.MAX_MEMBERS))
    ends = GraphNodes(ENDS.features | set(nodes), ENDS.sources, ENDS.destinations)
    course = Course(made_report())
    for act in (
        acts.AddSupernode(nodes=nodes, label="many"),
        acts.MoveNodes(nodes=nodes, to="s1"),
        acts.MarkUndecided(nodes=nodes),
        acts.MoveNodes(nodes=nodes[:5], to="s2"),
    ):
        course.go_on(done(course.version + 1, act), ends)
    state = state_of(course)
    assert len(state.undecided) == len(nodes) - 5
    assert set(nodes[:5]) <= set(supernode(state, "s2").members)
