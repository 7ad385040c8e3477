"""Gold from what people saved: every spelling of an id finds its node, and what is dropped is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.evals.test_gold_folders import published_circuit, published_graph, write_folder
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.report import CircuitReport
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.gold import CANARY, GoldCircuit, check_circuit, read_gold_folder
from tracescribe.evals.gold.checking import check_gold
from tracescribe.evals.gold.importing import Imported, ImportRequest, import_gold
from tracescribe.evals.gold.pins import NodeNames
from tracescribe.evals.gold.reviewed import Corrections, gold_of_report
from tracescribe.evals.gold.writing import graph_page_form, write_gold
from tracescribe.tracer.errors import GoldFormatError, TracescribeError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import parse_graph, read_graph

SUPERNODES = [["first", "0_1_1", "0_2_1"], ["second", "1_3_2"]]
PINS = ["0_1_1", "0_2_1", "1_3_2", "3_9_2"]


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(published_graph()))
    return path


def one(source: object, **more: Any) -> Imported:
    (found,) = import_gold(ImportRequest(source=str(source), **more))
    return found


def groups(circuit: GoldCircuit) -> dict[str, tuple[str, ...]]:
    return {supernode.label: supernode.members for supernode in circuit.supernodes}


EXPECTED = {"first": ("0_1_1", "0_2_1"), "second": ("1_3_2",)}


def address(**parameters: object) -> str:
    told = "&".join(f"{key}={quote(str(value))}" for key, value in parameters.items())
    return f"https://www.neuronpedia.org/some-model/graph?slug=some-slug&{told}"


@pytest.mark.parametrize("as_text", [False, True], ids=["lists", "texts"])
def test_a_graph_file_with_pins_and_supernodes(tmp_path: Path, as_text: bool) -> None:
    document = published_graph()
    saved: dict[str, Any] = {"pinnedIds": PINS, "supernodes": SUPERNODES}
    document["qParams"] = {"pinnedIds": ",".join(PINS), "supernodes": json.dumps(SUPERNODES)} if as_text else saved
    document["nodes"][1]["clerp"] = "by nobody knows whom"
    path = tmp_path / "g.json"
    path.write_text(json.dumps(document))
    circuit = one(path, licence="MIT", origin="a talk").circuit
    assert groups(circuit) == EXPECTED and circuit.selected == tuple(PINS)
    assert (circuit.source.licence, circuit.source.origin, circuit.stamp.model) == ("MIT", "a talk", "m")
    assert circuit.other_labels == {"0_1_1": "by nobody knows whom"} and not circuit.node_labels
    assert circuit.can_score == ("selection", "grouping")
    assert circuit.targets[0].token == " z" and circuit.tokens == ("<bos>", "x", "y")


def test_an_address_is_read_as_text_against_its_graph(graph_file: Path, tmp_path: Path) -> None:
    text = address(pinnedIds=",".join(PINS), supernodes=json.dumps(SUPERNODES), clerps=json.dumps([["0_1_1", "mine"]]))
    circuit = one(text, graph=graph_file).circuit
    assert groups(circuit) == EXPECTED and circuit.selected == tuple(PINS)
    assert circuit.gold_id == "some-slug" and circuit.stamp.model == "some-model"
    assert circuit.node_labels == {"0_1_1": ("mine",)} and "node_labels" in circuit.can_score
    (tmp_path / "address.txt").write_text(text + "\n")
    assert groups(one(tmp_path / "address.txt", graph=graph_file).circuit) == EXPECTED
    # without its graph nothing can be scored, and nothing is made up
    bare = one(text).circuit
    assert (bare.can_score, bare.tokens, bare.graph) == ((), (), None) and groups(bare) == EXPECTED


def test_a_saved_subgraph(graph_file: Path, tmp_path: Path) -> None:
    body = {"modelId": "m2", "slug": "s", "displayName": "My view!", "pinnedIds": PINS, "supernodes": SUPERNODES}
    (tmp_path / "one.json").write_text(json.dumps(body))
    circuit = one(tmp_path / "one.json", graph=graph_file).circuit
    assert groups(circuit) == EXPECTED and circuit.gold_id == "My-view" and circuit.stamp.model == "m2"
    (tmp_path / "several.json").write_text(json.dumps({"subgraphs": [body, body]}))
    found = import_gold(ImportRequest(str(tmp_path / "several.json"), graph_file))
    assert [each.circuit.gold_id for each in found] == ["My-view", "My-view-2"]


def test_stale_and_unpinned_ids_are_told(graph_file: Path) -> None:
    text = address(
        pinnedIds="0_1_1,9_9_9,0_1_1",
        supernodes=json.dumps([["a", "0_1_1", "1_3_2", "8_8_8"]]),
        clerps='[["7_7_7","x"]]',
    )
    circuit = one(text, graph=graph_file).circuit
    assert circuit.selected == ("0_1_1",) and circuit.supernodes[0].members == ("0_1_1", "1_3_2")
    assert circuit.dropped == ("9_9_9", "8_8_8")
    told = "\n".join(circuit.notes)
    for expected in ("dropped 9_9_9: not in the graph", "8_8_8", "label of 7_7_7 dropped", "not pinned: 1_3_2"):
        assert expected in told
    assert "grouping_degenerate" in circuit.tags and "grouping" not in circuit.can_score


def test_a_selection_of_nearly_everything_is_no_test(graph_file: Path) -> None:
    circuit = one(address(pinnedIds="0_1_1,0_2_1,1_3_2,1_4_2"), graph=graph_file).circuit
    assert circuit.tags == ("selection_degenerate",) and circuit.can_score == ()


def test_every_spelling_of_an_id_finds_its_node() -> None:
    document = published_graph()
    rows = {row["node_id"]: row for row in document["nodes"]}
    rows["1_3_2"] |= {"feature": 100003, "jsNodeId": "1_100003-0"}  # layer * 100000 + index
    rows["0_1_1"] |= {"feature": 1, "jsNodeId": "0_1_-4"}
    # an error under its old id, which is also what a feature of layer 0 is called
    document["nodes"] += [
        {"node_id": "0_2_1", "feature_type": "mlp reconstruction error", "layer": "2", "ctx_idx": 1, "jsNodeId": "x"}
    ]
    names = NodeNames(parse_graph(json.dumps(document).encode()))
    for told in ("1_3_2", "1_100003_2", "1_100003-0", "1_3-2", "1_3"):
        assert names.find(told) == ("1_3_2", ""), told
    assert names.find("0_1_-4") == ("0_1_1", "") and names.find("E_7_1")[0] == "E_7_1"
    assert names.find("0_2_1") == (None, "could mean several nodes")
    assert names.find("5_5_5") == (None, "not in the graph")
    assert names.resolve(["1_3_2", "1_3", "no"]).node_ids == ["1_3_2"]


def notebook(*cells: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]}


READ = f"""
url = {address(pinnedIds=",".join(PINS), supernodes=json.dumps(SUPERNODES))!r}
features = extract_supernode_features(url)
"""
DRAW = """
if True:
    out = Supernode(name="say z", features=[Feature(layer=1, pos=2, feature_idx=4)])
top = Supernode(name="renamed", features=features["first"], children=[out])
emb = Supernode(name="Emb: x", features=None, children=[top])
lost = Supernode(name="lost", features=compute())
prompt = "xy"
"""
INTERVENE = """
edits = [(1, 2, 3, 0), (0, 1, 1, 4.5)]
logits, _ = model.feature_intervention(prompt, edits)
steer = [Intervention(top, -2)]
"""
CELLS = ("!pip install something\n%matplotlib inline\nimport os\n", READ, DRAW, INTERVENE, "this is no python (")


def test_a_notebook_is_read_and_never_run(graph_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "demo.ipynb"
    trap = tmp_path / "ran"
    path.write_text(json.dumps(notebook(*CELLS, f"open({str(trap)!r}, 'w')\n")))
    circuit = one(path, graph=graph_file, licence="MIT").circuit
    assert not trap.exists()
    assert groups(circuit) == {"say z": ("1_4_2",), "renamed": ("0_1_1", "0_2_1"), "second": ("1_3_2",)}
    # the same members under another name are one supernode with two names
    assert circuit.supernodes[1].accepted_labels == ("renamed", "first")
    told = "\n".join(circuit.notes)
    for expected in ("drawn edge: renamed -> say z", "'Emb: x' has no features", "'lost'", "cell 4 is no Python"):
        assert expected in told
    # the list of edits stands where it is written and where it is used
    by_value, used, by_factor = circuit.interventions
    assert by_value.edits == used.edits and by_value.edits[0].action == "zero" and by_value.edits[1].multiplier == 4.5
    assert by_factor.edits[0].supernode == "renamed" and by_factor.edits[0].multiplier == -2
    assert circuit.prompt == "xy"


def test_a_notebook_of_several_prompts_gives_several_circuits(tmp_path: Path) -> None:
    path = tmp_path / "two.ipynb"
    first = "prompt = 'a'\nx = Supernode('p', [Feature(0, 1, 1), Feature(0, 1, 2)])\n"
    path.write_text(json.dumps(notebook(first, "prompt_2 = 'b'\ny = [(1, 2, 3), (1, 2, 4)]\n")))
    found = import_gold(ImportRequest(str(path), name="mine"))
    assert [(each.circuit.gold_id, each.circuit.prompt) for each in found] == [("mine-1", "a"), ("mine-2", "b")]
    assert groups(found[0].circuit) == {"p": ("0_1_1", "0_2_1")} and groups(found[1].circuit) == {
        "y": ("1_3_2", "1_4_2")
    }


def test_of_a_notebook_only_what_is_of_the_graph_is_taken(graph_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.ipynb"
    other = "prompt_2 = 'b'\ny = [(0, 1, 1), (9, 2, 3), (9, 2, 4)]\n"
    first = "prompt = 'a'\nx = Supernode('p', [Feature(0, 1, 1), Feature(0, 1, 2)])\nz = Supernode('q', [Feature(8, 1, 2)])\n"
    path.write_text(json.dumps(notebook(first, other)))
    circuit = one(path, graph=graph_file).circuit
    assert groups(circuit) == {"p": ("0_1_1", "0_2_1")} and circuit.prompt == "a"
    told = "\n".join(circuit.notes)
    assert "left out, as most of their ids are not in the graph: two-2" in told
    assert "supernode 'q' dropped: none of its members is in the graph" in told


@pytest.mark.parametrize(
    "cell",
    [
        "x = " + "[" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x = [1]\n" + "x = x + x\n" * 200 + "y = Supernode('a', x)",
        "x = 'a'\n" + "x = x + x\n" * 200,
        "x = " + "+".join(["1"] * 20_000),
        "Supernode(**{'name': 'x'})\nSupernode()\nFeature(1)\nSupernode(name=3, features=[Feature('a', None, 2)])",
        "\x00",
        "x: int\nx, *y = 1, 2\n(a, b), c = 1, 2\nx[0] = 3\nx.y = 4",
    ],
    ids=range(8),
)
def test_hostile_notebooks_give_a_typed_error(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_text(json.dumps(notebook(cell)))
    with pytest.raises(GoldFormatError, match="no Supernode, no Feature"):
        import_gold(ImportRequest(str(path)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ipynb", "{}", "no list of cells"),
        ("a.json", "[1]", "expected saved subgraphs"),
        ("a.json", "3", "the document is a int"),
        ("a.json", "{}", "no gold and nothing that it could be made of"),
        ("a.json", json.dumps({"pinnedIds": 3}), "pinnedIds: found int"),
        ("a.json", json.dumps({"supernodes": "[["}), "supernodes: cannot be read"),
        ("a.json", json.dumps({"pinnedIds": [], "clerps": "[["}), "clerps: not JSON"),
        ("a.txt", "https://x.org/graph?slug=a", "neither pinnedIds nor supernodes"),
        ("a.json", json.dumps(published_graph()), "neither pinned ids nor supernodes"),
        ("a.json", '{"schema_id": "tracescribe-report/2"}', "not a circuit report"),
    ],
    ids=range(10),
)
def test_sources_of_no_use_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TracescribeError, match=message) as caught:
        import_gold(ImportRequest(str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_what_is_written_is_blind_checked_and_read_back(tmp_path: Path) -> None:
    document = published_graph()
    document["qParams"] = {"pinnedIds": PINS, "supernodes": SUPERNODES}
    document["nodes"][1]["clerp"] = "first"
    document["metadata"]["title"] = "the circuit of second"
    (tmp_path / "g.json").write_text(json.dumps(document))
    gold, path = write_gold(import_gold(ImportRequest(str(tmp_path / "g.json"), licence="MIT")), tmp_path / "out", "x")
    (again,) = read_gold_folder(path)
    assert again == gold.circuits[0] and again.graph is not None and again.graph.sha256 is not None
    text = (tmp_path / "out" / again.graph.path).read_text()
    assert "first" not in text and "second" not in text
    graph = read_graph(tmp_path / "out" / again.graph.path)
    check_circuit(again, graph)
    findings, n_circuits = check_gold(tmp_path / "out")
    assert n_circuits == 1 and not findings
    # any change of the graph is noticed
    (tmp_path / "out" / again.graph.path).write_text(text + " ")
    assert any("sha256 differs" in finding.message for finding in check_gold(path)[0])


def check_gold_of(tmp_path: Path, document: dict[str, Any], /, **changes: object) -> tuple[list[str], list[str]]:
    """Errors and warnings of a published folder with this graph and a circuit that was changed."""
    folder = write_folder(tmp_path / f"gold{len(list(tmp_path.iterdir()))}", published_circuit(**changes))
    (folder / "graphs" / "case.json").write_text(json.dumps(document))
    findings, _ = check_gold(folder)
    told: dict[str, list[str]] = {"error": [], "warning": []}
    for finding in findings:
        told[finding.level].append(finding.message)
    return told["error"], told["warning"]


def test_a_sound_circuit_has_warnings_but_no_errors(tmp_path: Path) -> None:
    errors, warnings = check_gold_of(tmp_path, published_graph())
    assert errors == []
    told = "\n".join(warnings)
    for expected in (
        "in two supernodes: 0_2_1",
        "have no name",
        "without members: g3",
        "grouped but not selected",
        "stale",
    ):
        assert expected in told


def _leaky(change: str) -> dict[str, Any]:
    document = published_graph()
    if change == "labels":
        document["nodes"][1]["clerp"] = "first"
    elif change == "pins":
        document["qParams"] = {"pinnedIds": "0_1_1"}
    elif change == "groups":
        document["qParams"] = {"supernodes": [["a", "0_1_1"]]}
    elif change == "page labels":
        document["qParams"] = {"clerps": [["0_1_1", "a"]]}
    elif change == "title":
        document["metadata"]["info"] = {"description": "shows First, then more"}
    elif change == "link":
        document["metadata"]["info"] = {"link": "https://x.org/graph?pinnedIds=0_1_1"}
    elif change == "canary":
        document["metadata"]["info"] = {"note": CANARY}
    elif change == "duplicate":
        document["nodes"].append(document["nodes"][1] | {"feature_type": "mlp reconstruction error", "layer": "1"})
    elif change == "tokens":
        document["metadata"]["prompt_tokens"] = ["<bos>", "x", "other"]
    return document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("labels", "1 feature nodes carry labels (clerp), 1 of them the gold's"),
        ("pins", "qParams names 1 pinned nodes"),
        ("groups", "qParams names 1 supernodes"),
        ("page labels", "qParams carries labels"),
        ("title", "metadata names the gold's label 'first'"),
        ("link", "address of a page with pins"),
        ("canary", "holds the canary"),
        ("duplicate", "0_1_1 is listed by the gold and is the id of two nodes"),
        ("tokens", "tokens: gold has 3"),
    ],
)
def test_what_a_graph_gives_away_is_an_error(tmp_path: Path, change: str, message: str) -> None:
    errors, _ = check_gold_of(tmp_path, _leaky(change))
    assert any(message in error for error in errors), errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selected": ["0_1_1", "5_5_5"]}, "selected: 5_5_5 is not in the graph"),
        ({"supernodes": [{"label": "a", "members": ["6_6_6"]}]}, "supernodes[0].members: 6_6_6 is not in the graph"),
        ({"label_targets": {"7_7_7": ["a"]}}, "node_labels: 7_7_7 is not in the graph"),
        ({"label_targets": {"E_7_1": ["a"]}}, "node_labels of nodes that are no features: E_7_1"),
        ({"graph": None}, "no graph, but can_score"),
        ({"graph": "graphs/none.json"}, "the graph cannot be read"),
        ({"selected": []}, "can_score names selection, but there is nothing"),
        ({"selected": ["E_7_1"]}, "no feature node is selected"),
        ({"selected": ["0_1_1", "0_2_1", "1_3_2", "1_4_2"]}, "every feature node is selected"),
        ({"supernodes": []}, "can_score names grouping"),
        ({"flags": {"automated_labels": True}}, "its labels come from a program"),
    ],
    ids=range(11),
)
def test_what_a_circuit_cannot_bear_is_an_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    errors, _ = check_gold_of(tmp_path, published_graph(), **changes)
    assert any(message in error for error in errors), errors


def test_an_order_of_nodes_that_betrays_the_groups_is_an_error(tmp_path: Path) -> None:
    feature = "cross layer transcoder"
    ids = [f"{layer}_{10 * layer + k}_1" for layer in range(6) for k in range(4)]
    rows = {i: {"node_id": i, "feature_type": feature, "layer": i[0], "ctx_idx": 1} for i in ids}
    by_group = [[i for i in ids if int(i.split("_")[1]) % 4 == k % 4] for k in range(4)]
    supernodes = [{"label": f"group {k}", "members": members} for k, members in enumerate(by_group)]
    graph = published_graph() | {"links": []}
    circuit = {"supernodes": supernodes, "selected": ids, "label_targets": {}, "feature_labels": {}}
    tidy = graph | {"nodes": [rows[i] for i in sorted(ids)]}
    assert not [e for e in check_gold_of(tmp_path, tidy, **circuit)[0] if "order" in e]
    telling = graph | {"nodes": [rows[i] for members in by_group for i in reversed(members)]}
    assert any("betrays the supernodes" in e for e in check_gold_of(tmp_path, telling, **circuit)[0])


def test_the_page_form_comes_back_as_the_same_circuit(graph_file: Path, tmp_path: Path) -> None:
    text = address(pinnedIds=",".join(PINS), supernodes=json.dumps(SUPERNODES), clerps='[["0_1_1","mine"]]')
    circuit = one(text, graph=graph_file, name="same").circuit
    (tmp_path / "page.json").write_text(json.dumps(graph_page_form(circuit)))
    again = one(tmp_path / "page.json", graph=graph_file, name="same").circuit
    for name in ("supernodes", "selected", "node_labels", "can_score", "tokens"):
        assert getattr(again, name) == getattr(circuit, name), name


def test_a_report_that_a_person_accepts_becomes_gold(dallas: tuple[CircuitReport, AttributionGraph]) -> None:
    report, graph = dallas
    gold = gold_of_report(report, "A. Reader", "CC0-1.0")
    check_circuit(gold, graph)
    standing = [supernode for supernode in report.supernodes if not supernode.rejected]
    assert [s.label for s in gold.supernodes] == [s.label for s in standing]
    assert gold.source.kind == "reviewed" and "A. Reader" in gold.source.origin
    assert gold.tags == ("accepted",) and set(gold.can_score) == {"selection", "grouping", "labels", "edges"}
    assert not gold.effects and gold.stamp.model_sha256 == report.provenance.model_sha256


def test_what_the_reviewer_changes_is_what_counts(dallas: tuple[CircuitReport, AttributionGraph]) -> None:
    report, graph = dallas
    first, second = [s.supernode_id for s in report.supernodes if not s.rejected][:2]
    keep = report.supernodes[1].members[0].node_id
    changed = Corrections.model_validate(
        {
            "labels": {first: "better"},
            "also_accepted": {first: ["fine too"]},
            "removed": [second],
            "added": {"missed": [keep]},
            "notes": ["checked twice"],
        }
    )
    gold = gold_of_report(report, "A. Reader", "CC0-1.0", changed, gold_id="mine")
    check_circuit(gold, graph)
    assert gold.gold_id == "mine" and gold.tags == ("corrected",) and gold.notes == ("checked twice",)
    assert gold.supernodes[0].accepted_labels == ("better", "fine too")
    assert gold.supernodes[-1].label == "missed" and gold.supernodes[-1].members == (keep,)
    names = {s.supernode_id for s in gold.supernodes}
    ends = {end for edge in gold.edges for end in (edge.source, edge.destination)}
    assert all(end in names or end in graph.index_of for end in ends)
    with pytest.raises(UnknownIdError, match="supernode 's99'"):
        gold_of_report(report, "A", "CC0-1.0", Corrections(removed=("s99",)))
    with pytest.raises(GoldFormatError, match="needs the reviewer's name"):
        gold_of_report(report, " ", "CC0-1.0")
    with pytest.raises(GoldFormatError, match="nothing of it was accepted"):
        gold_of_report(report, "A", "CC0-1.0", Corrections(removed=tuple(s.supernode_id for s in report.supernodes)))


@pytest.fixture(scope="module")
def dallas(dallas_graph: AttributionGraph) -> tuple[CircuitReport, AttributionGraph]:
    """The offline agent's report on a graph alone, with the graph."""
    report = offline_agent().interpret(InterpretationCase("dallas", graph=dallas_graph), Toolbox(), Budget())
    return report, dallas_graph
