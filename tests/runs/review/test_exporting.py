"""What a review gives to others is what the reviewer saw: gold that scores, graphs that read back, a page that runs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.conftest import Done
from tests.runs.review.conftest import ROLF, ROSA, Doing, Folder
from tests.runs.review.made_reports import ENDS, made_report
from tests.runs.review.test_folding import any_act, done, state_of
from tracescribe.agents.claims import supernodes_of
from tracescribe.agents.findings import Supernode
from tracescribe.agents.grouping.circuit_edges import circuit_edges
from tracescribe.evals.gold.importing import ImportRequest, import_gold
from tracescribe.evals.gold.neuronpedia import saved_in_graph
from tracescribe.evals.gold.reviewed import Corrections
from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review import acts, loading, stored
from tracescribe.runs.review.agreement import agreement_of, pair_of
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.corrections import corrections_of, stands
from tracescribe.runs.review.errors import ActRefusedError, ReviewUnfinishedError
from tracescribe.runs.review.exporting import (
    _members,
    circuit_svg,
    drawn_report,
    gold_circuit,
    gold_json,
    gold_of_state,
    graph_document,
    neuronpedia_json,
    review_html,
)
from tracescribe.runs.review.folding import Course, fold
from tracescribe.runs.review.loading import list_reviews, load_review
from tracescribe.runs.review.saving import save_act
from tracescribe.runs.review.states import ReviewState
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.tables import review_acts
from tracescribe.tracer.errors import GoldFormatError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_json import parse_graph

ACCEPT = acts.Close(status="accepted")


def test_gold_is_the_report_as_the_reviewer_has_it(
    store: Store, case_id: str, do: Doing, folder: Folder, graph: AttributionGraph
) -> None:
    before = load_review(store, case_id, None, ROSA.name)
    with pytest.raises(ReviewUnfinishedError, match="still open; close it as accepted"):
        gold_json(store, case_id, None, ROSA.name)
    assert gold_of_state(folder.report, do(ROSA, ACCEPT)).tags == ("accepted",)
    spare = before.supernodes[-1].members[0]
    first, second = before.supernodes[:2]
    layer, feature, _ = map(int, first.members[0].split("_"))
    edge = next(one for one in before.edges if one.source == first.supernode_id)
    state = do(
        ROSA,
        acts.Reopen(),
        acts.RenameSupernode(supernode=first.supernode_id, text="the right name"),
        acts.SetRole(supernode=first.supernode_id, role="relation"),
        acts.Judge(target=f"supernode:{second.supernode_id}", decision="rejected"),
        acts.AddSupernode(nodes=(spare,), label="what was missed", role="input"),
    )
    new = state.supernodes[-1].supernode_id
    state = do(
        ROSA,
        acts.SetEdge(source=new, destination=first.supernode_id, sign=-1),
        acts.Judge(target=f"edge:{edge.source}>{edge.destination}", decision="rejected"),
        acts.RelabelFeature(layer=layer, feature=feature, text="a better label"),
        acts.Comment(target="claim:c1", text="twice looked at"),
        ACCEPT,
    )
    gold = gold_circuit(store, case_id, None, ROSA.name, licence="CC0-1.0")
    assert gold.tags == ("corrected",)
    assert gold.source.licence == "CC0-1.0"
    assert ROSA.name in gold.source.origin
    assert gold.notes == ("claim c1: twice looked at",)
    labels = {one.label: one for one in gold.supernodes}
    assert second.label not in labels
    assert labels["the right name"].role == "relation"
    assert labels["what was missed"].members == (spare,)
    assert gold.node_labels[first.members[0]] == ("a better label",)
    links = {(one.source, one.destination, one.sign) for one in gold.edges}
    assert (labels["what was missed"].supernode_id, labels["the right name"].supernode_id, -1) in links
    names = {one.supernode_id: one.label for one in before.supernodes}
    end = labels[names[edge.destination]].supernode_id if edge.destination in names else edge.destination
    assert not {(labels["the right name"].supernode_id, end, sign) for sign in (1, -1)} & links
    assert do(ROSA, acts.Reopen()).status == "open"
    assert folder.report.supernodes[0].label == first.label


def test_what_can_be_no_gold_is_refused_in_one_line(store: Store, case_id: str, do: Doing, folder: Folder) -> None:
    """A report may be of no prompt; gold is not."""
    accepted = do(ROSA, ACCEPT)
    with pytest.raises(GoldFormatError, match="can be no gold: prompt: ") as refused:
        gold_of_state(folder.report.model_copy(update={"prompt": ""}), accepted)
    assert "\n" not in str(refused.value)


def test_an_exported_gold_scores_a_report(
    run: Callable[..., Done], store: Store, case_id: str, do: Doing, folder: Folder, tmp_path: Path
) -> None:
    rejected = folder.report.supernodes[0]
    do(ROSA, acts.Judge(target=f"supernode:{rejected.supernode_id}", decision="rejected"), ACCEPT)
    (tmp_path / "gold.json").write_bytes(gold_json(store, case_id, None, ROSA.name))
    (tmp_path / "report.json").write_bytes(folder.report_bytes)
    (tmp_path / "graph.json").write_bytes(folder.graph_bytes)
    assert run("gold", "check", str(tmp_path / "gold.json")).code == 0
    scores = run("score", str(tmp_path), str(tmp_path / "gold.json"), "--json").json["values"]
    selected = {member.node_id for one in folder.report.supernodes for member in one.members}
    right = selected - {member.node_id for member in rejected.members}
    assert scores["selection.recall"]["value"] == 1.0
    assert scores["selection.precision"]["value"] == pytest.approx(len(right) / len(selected))
    assert scores["grouping.supernode_f1"]["value"] < 1.0


def test_a_moved_feature_takes_its_links_along_into_everything_that_is_exported(
    store: Store, case_id: str, do: Doing, folder: Folder, graph: AttributionGraph
) -> None:
    first, second = folder.report.supernodes[:2]
    moved = first.members[0].node_id
    state = do(ROSA, acts.MoveNodes(nodes=(moved,), to=second.supernode_id), ACCEPT)
    groups = tuple(
        Supernode.model_construct(supernode_id=one.supernode_id, members=_members(one.members))
        for one in state.supernodes
        if not one.gone
    )
    regrouped = {one.supernode_id for one in state.supernodes if one.changed}
    assert regrouped == {first.supernode_id, second.supernode_id}
    expected = {(e.source, e.destination): e.weight for e in circuit_edges(graph, groups)}
    expected = {ends: weight for ends, weight in expected.items() if regrouped & set(ends)}
    found = {(e.source, e.destination): e for e in state.edges if e.origin == "graph"}
    assert {ends: edge.weight for ends, edge in found.items()} == pytest.approx(expected)
    assert {ends for ends in ((e.source, e.destination) for e in state.edges) if regrouped & set(ends)} == set(expected)
    assert any(edge.weight != edge.weight_before for edge in found.values())
    gold = gold_circuit(store, case_id, None, ROSA.name)
    assert len(gold.edges) == len(state.edges)
    assert "edges" in gold.can_score
    drawn = drawn_report(folder.report, state)
    assert {one.supernode_id for one in drawn.supernodes if one.influence is None} == regrouped
    assert not any(regrouped & set(supernodes_of(claim)) for claim in drawn.claims if claim.kind != "sufficiency")
    assert b"of the influence" in circuit_svg(store, case_id, None, ROSA.name)
    page = review_html(store, case_id, None, ROSA.name).decode()
    assert "were measured of the members that they had in the report" in page
    assert ", by the graph" in page


def test_without_a_graph_links_of_regrouped_supernodes_are_not_in_gold(store: Store, folder: Folder) -> None:
    case = bring_in(store, folder.report_bytes, None, "no graph")
    first, second = folder.report.supernodes[:2]
    act = acts.MoveNodes(nodes=(first.members[0].node_id,), to=second.supernode_id)
    save_act(store, ROSA, case, None, 0, act)
    state = save_act(store, ROSA, case, None, 1, ACCEPT)
    known = [edge for edge in folder.report.edges if not {edge.source, edge.destination} & {"s1", "s2"}]
    gold = gold_of_state(folder.report, state)
    assert len(gold.edges) == len(known)
    assert "edges" not in gold.can_score, "whoever draws the links that nobody knows would be charged for them"


def test_the_graph_reads_back_to_the_same_circuit(
    store: Store, case_id: str, do: Doing, folder: Folder, graph: AttributionGraph
) -> None:
    before = load_review(store, case_id, None, ROSA.name)
    spare = before.supernodes[-1].members[0]
    layer, feature, _ = map(int, spare.split("_"))
    state = do(
        ROSA,
        acts.MoveNodes(nodes=(spare,), to=before.supernodes[0].supernode_id),
        acts.RelabelFeature(layer=layer, feature=feature, text="</script><img src=x onerror=alert(1)>"),
    )
    read = parse_graph(neuronpedia_json(store, case_id, None, ROSA.name))
    saved = saved_in_graph(read, "x")
    standing = [one for one in state.supernodes if not one.gone]
    assert [(one.label, one.members) for one in saved.groups] == [(one.label, one.members) for one in standing]
    assert dict(saved.labels)[spare] == "</script><img src=x onerror=alert(1)>"
    assert graph.node_ids == read.node_ids
    alone = bring_in(store, folder.report_bytes + b"\n", None, "no graph")
    with pytest.raises(UnknownIdError, match="no graph was kept"):
        neuronpedia_json(store, alone, None, ROSA.name)


def test_the_graph_is_imported_as_the_gold_that_is_exported(
    store: Store, case_id: str, do: Doing, graph: AttributionGraph, tmp_path: Path
) -> None:
    """But for roles, links, undecided nodes and comments, which graph pages have no place for."""
    before = load_review(store, case_id, None, ROSA.name)
    moved, judged = before.supernodes[-1].members[0], before.labels[0]
    assert len(before.labels) > 1, "labels that nobody judges are no gold"
    do(
        ROSA,
        acts.MoveNodes(nodes=(moved,), to=before.supernodes[0].supernode_id),
        acts.Judge(target=f"label:{judged.layer}/{judged.feature}", decision="accepted"),
        ACCEPT,
    )
    content = neuronpedia_json(store, case_id, None, ROSA.name)
    (tmp_path / "graph.json").write_bytes(content)
    gold = gold_circuit(store, case_id, None, ROSA.name)
    (imported,) = (one.circuit for one in import_gold(ImportRequest(str(tmp_path / "graph.json"))))
    assert imported.selected == gold.selected
    assert imported.node_labels == gold.node_labels
    assert gold.node_labels
    assert [(one.label, one.members) for one in imported.supernodes] == [
        (one.label, one.members) for one in gold.supernodes
    ]
    assert (imported.prompt, imported.tokens, imported.dropped) == (gold.prompt, gold.tokens, ())
    pinned = json.loads(content)["qParams"]["pinnedIds"]
    ends = {graph.node_ids[int(i)] for kind in (NodeKind.EMBEDDING, NodeKind.LOGIT) for i in graph.of_kind(kind)}
    assert set(pinned) - set(gold.selected) <= ends
    assert set(pinned) & ends, "graph pages show the links of pinned nodes alone"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_review_of_a_graph_reads_back(graph: AttributionGraph, folder: Folder, data: st.DataObject) -> None:
    """Groupings of any features of a real graph, through the graph file and back."""
    features = [graph.node_ids[int(index)] for index in graph.of_kind(NodeKind.FEATURE)]
    course = Course(folder.report)
    for label in data.draw(st.lists(st.text(min_size=1, max_size=20).map(str.strip).filter(bool), max_size=4)):
        nodes = data.draw(st.lists(st.sampled_from(features), min_size=1, max_size=6, unique=True))
        course.go_on(done(course.version + 1, acts.AddSupernode(nodes=tuple(nodes), label=label)))
    state = state_of(course)
    document = json.loads(json.dumps(graph_document(graph, state)))
    saved = saved_in_graph(parse_graph(json.dumps(document).encode()), "x")
    standing = [one for one in state.supernodes if stands(one)]
    assert [(one.label, one.members) for one in saved.groups] == [(one.label, one.members) for one in standing]


@settings(max_examples=40, deadline=None)
@given(st.lists(any_act, max_size=20))
def test_corrections_say_what_the_review_says(tried: list[acts.Act]) -> None:
    report = made_report(rejected=2)
    course = Course(report)
    for act in tried:
        try:
            course.go_on(done(course.version + 1, act), ENDS)
        except ActRefusedError:
            continue
    state = state_of(course)
    corrections = corrections_of(state)
    standing = {one.supernode_id: one for one in state.supernodes if stands(one)}
    told = {one.supernode_id: one.members for one in corrections.new}
    for one in report.supernodes:
        if one.supernode_id in corrections.removed or (one.rejected and one.supernode_id not in corrections.members):
            continue
        told[one.supernode_id] = corrections.members.get(
            one.supernode_id, tuple(member.node_id for member in one.members)
        )
    assert told == {name: one.members for name, one in standing.items()}
    assert Corrections.model_validate_json(corrections.model_dump_json()) == corrections
    drawn = drawn_report(report, state)
    assert [one.supernode_id for one in drawn.supernodes] == list(standing)


def test_the_page_tells_the_review_and_runs_nothing(store: Store, case_id: str, do: Doing) -> None:
    hostile = "</style><script>alert(1)</script> \u202e {{7*7}}"
    name = load_review(store, case_id, None, ROSA.name).supernodes[0].supernode_id
    do(
        ROSA,
        acts.Comment(target=f"supernode:{name}", text=hostile),
        acts.RenameSupernode(supernode=name, text=hostile),
        acts.Undo(),
        acts.RenameSupernode(supernode=name, text=f"x {hostile}"),
        why=hostile,
    )
    page = review_html(store, case_id, None, ROSA.name).decode()
    assert "<script" not in page
    assert page.count("</style>") == page.count("<style>") == 1
    assert "{{7*7}}" in page
    assert "\u202e" not in page
    assert ROSA.name in page
    assert "review-undone" in page
    assert 'href="#review"' in page
    assert "still open" in page
    untouched = review_html(store, case_id, None, ROLF.name).decode()
    assert "Nobody has reviewed this report yet" in untouched
    svg = circuit_svg(store, case_id, None, ROSA.name).decode()
    assert svg.startswith("<svg")
    assert "<script" not in svg


def test_agreement_is_what_sklearn_says(store: Store, case_id: str, do: Doing) -> None:
    from sklearn.metrics import cohen_kappa_score

    names = [f"supernode:{one.supernode_id}" for one in load_review(store, case_id, None, ROSA.name).supernodes]
    do(ROSA, *(acts.Judge(target=name, decision="accepted") for name in names))
    assert agreement_of(store, case_id).pairs == ()
    do(ROLF, acts.Judge(target=names[0], decision="rejected"))
    do(ROLF, *(acts.Judge(target=name, decision="accepted") for name in names[1:]))
    pair = agreement_of(store, case_id).pairs[0]
    assert (pair.first_reviewer, pair.second_reviewer) == (ROSA.name, ROLF.name)
    assert pair.labels.n == len(names)
    ones, others = ["accepted"] * len(names), ["rejected"] + ["accepted"] * (len(names) - 1)
    assert pair.labels.value == pytest.approx(cohen_kappa_score(ones, others))
    assert pair.claims.value is None
    assert "no claims were judged by both" in pair.claims.why_not
    assert names[0] in [one.target for one in pair.disagreements]


def test_agreement_tells_who_else_decided_in_a_review(store: Store, case_id: str, do: Doing) -> None:
    one, other = (f"supernode:{name}" for name in ("s1", "s2"))
    for person in (ROSA, ROLF):
        do(person, acts.Judge(target=one, decision="accepted"))
    own = next(review for review in list_reviews(store, case_id) if review.reviewer == ROSA.name)

    def helped(act: acts.Act) -> tuple[tuple[str, ...], tuple[str, ...]]:
        state = load_review(store, case_id, own.review_id, ROSA.name)
        save_act(store, ROLF, case_id, own.review_id, state.version, act)
        pair = agreement_of(store, case_id).pairs[0]
        return pair.first_others, pair.second_others

    assert helped(acts.Comment(target=one, text="are you sure?")) == ((), ())
    assert helped(acts.Judge(target=other, decision="rejected")) == ((ROLF.name,), ())


def test_a_damaged_review_is_left_out_of_the_agreement_and_told(
    store: Store, case_id: str, do: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (ROSA, ROLF, Principal("token:rita", "reviewer")):
        do(person, acts.Judge(target="supernode:s1", decision="accepted"))
    damaged = next(review for review in list_reviews(store, case_id) if review.reviewer == ROLF.name)
    where = review_acts.c.review_id == damaged.review_id
    store.write(lambda connection: connection.execute(sa.update(review_acts).where(where).values(act="{}")))
    monkeypatch.setattr(loading, "_courses", stored.Kept(1))  # as after a restart
    found = agreement_of(store, case_id)
    assert [(one.review_id, one.reviewer) for one in found.unreadable] == [(damaged.review_id, ROLF.name)]
    assert [(pair.first_reviewer, pair.second_reviewer) for pair in found.pairs] == [(ROSA.name, "token:rita")]


def test_agreement_on_groups() -> None:
    from sklearn.metrics import adjusted_rand_score

    report, nodes = made_report(), sorted(ENDS.features)

    def review(*every: acts.Act) -> object:
        return fold(report, "j.0", "0" * 64, "rosa", "r1", [done(n, act) for n, act in enumerate(every, start=1)])

    same, moved = review(ACCEPT), review(acts.MoveNodes(nodes=(nodes[0],), to="s2"))
    whole = pair_of(same, same)  # type: ignore[arg-type]
    assert (whole.groups.value, whole.disagreements) == (1.0, ())
    assert whole.labels.value is None
    assert whole.labels.observed == 1.0
    apart = pair_of(same, moved)  # type: ignore[arg-type]
    expected = adjusted_rand_score([1, 1, 1, 2, 2, 3], [2, 1, 1, 2, 2, 3])
    assert apart.groups.value == pytest.approx(expected)
    assert [(one.target, one.first, one.second) for one in apart.disagreements] == [
        (
            f"node:{nodes[0]}",
            f"in s1 “step 1”, with {nodes[1]}, {nodes[2]}",
            f"in s2 “step 2”, with {nodes[3]}, {nodes[4]}",
        )
    ]
    fallen = pair_of(same, review(acts.Judge(target="supernode:s1", decision="rejected")))  # type: ignore[arg-type]
    assert {one.second for one in fallen.disagreements if one.target == f"node:{nodes[0]}"} == {
        "in none, as s1 “step 1” was rejected"
    }
    untouched = pair_of(same, review(acts.Comment(target="report", text="hm")))  # type: ignore[arg-type]
    assert untouched.groups.value is None
    assert "judged or changed no supernode" in untouched.groups.why_not


def test_agreement_on_labels_counts_what_somebody_said() -> None:
    report = made_report(rejected=3)

    def review(*every: acts.Act) -> ReviewState:
        return fold(report, "j.0", "0" * 64, "rosa", "r1", [done(n, act) for n, act in enumerate(every, start=1)])

    def labelled(text: str) -> ReviewState:
        return review(acts.RelabelFeature(layer=2, feature=5, text=text), ACCEPT)

    pair = pair_of(labelled("a city"), labelled("a state"))
    assert ("label:2/5", "changed to “a city”", "changed to “a state”") in [
        (one.target, one.first, one.second) for one in pair.disagreements
    ], "a label where the report has none is compared"
    assert pair.labels.n == len(report.labels) + 1 + 2, "nobody said anything of s3, which the report itself gave up"
    merged = review(acts.MergeSupernodes(supernodes=("s1",), into="s2"), ACCEPT)
    assert pair_of(merged, labelled("a city")).labels.n == len(report.labels) + 1, "nor of the label of what is gone"
