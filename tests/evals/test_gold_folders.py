"""Folders of gold: nothing of a published circuit is lost, and hostile files are refused with one line."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracescribe.evals.gold import CANARY, GoldCircuit, GoldSet, read_gold_folder
from tracescribe.evals.gold.checking import check_gold
from tracescribe.evals.gold.reading import MAX_GOLD_BYTES
from tracescribe.tracer.errors import GoldFormatError, TracescribeError

TOKENS = ["<bos>", "x", "y"]


def node(node_id: str, kind: str, **more: object) -> dict[str, Any]:
    layer, _, position = node_id.split("_")
    row = {"node_id": node_id, "feature_type": kind, "layer": layer, "ctx_idx": int(position), "clerp": ""}
    return row | {"feature": None, "jsNodeId": f"{node_id}-0", "activation": 1.0, "influence": 0.5} | more


def published_graph() -> dict[str, Any]:
    """Four features, a token, an output; written in the order of layers and positions."""
    feature = "cross layer transcoder"
    nodes = [
        node("E_7_1", "embedding", activation=None),
        *(node(i, feature) for i in ("0_1_1", "0_2_1", "1_3_2", "1_4_2")),
        node("3_9_2", "logit", activation=None, token_prob=0.8, clerp='Output " z" (p=0.800)'),
    ]
    links = [
        {"source": "0_1_1", "target": "1_3_2", "weight": 1.0},
        {"source": "1_3_2", "target": "3_9_2", "weight": 2.0},
    ]
    metadata = {"slug": "s", "scan": "m", "prompt": "<bos>xy", "prompt_tokens": TOKENS}
    return {"metadata": metadata, "qParams": {}, "nodes": nodes, "links": links}


def published_circuit(**changes: object) -> dict[str, Any]:
    """A circuit with one of everything that the layout knows."""
    circuit: dict[str, Any] = {
        "schema": "gold-circuit/1",
        "circuit_id": "Case-1",
        "source": {"repo": "a/b", "commit": "c" * 40, "path": "x.json", "licence": "MIT"},
        "label_source": {"repo": "a/c", "commit": "d" * 40, "path": "y.ipynb", "licence": "MIT", "cell": 3},
        "model": "m",
        "transcoder_set": "t",
        "transcoder_kind": "PLT",
        "prompt": "<bos>xy",
        "prompt_tokens": TOKENS,
        "expected": "x y -> z",
        "target_logits": [{"node_id": "3_9_2", "text": 'Output " z" (p=0.800)', "prob": 0.8}],
        "label_provenance": {"supernodes": "human: somebody"},
        "supernodes": [
            {"label": "first", "members": ["0_1_1", "0_2_1", "0_1_1", "E_7_1"]},
            {"label": None, "members": ["1_3_2", "0_2_1"]},
            {"label": "empty", "members": []},
        ],
        "selected": ["0_1_1", "1_3_2", "E_7_1", "3_9_2", "0_1_1"],
        "feature_labels": {"0_1_1": "one", "1_4_2": ""},
        "label_targets": {"0_1_1": ["one", "first"]},
        "interventions": [
            {
                "id": "i1",
                "source": {"repo": "a/c"},
                "ops": [
                    {"supernode": "first", "op": "scale", "multiplier": -2},
                    {"features": [[0, 1, 1]], "op": "zero"},
                ],
                "prompt": "x y",
                "before": [["z", 0.8]],
                "after": [["q", 0.6]],
                "supernode_activation_after": {"first": "10%"},
            }
        ],
        "flags": {
            "family": "small",
            "sensitive": True,
            "stale_ids": ["9_9_9"],
            "selection_degenerate": False,
            "overlapping_members": ["0_2_1"],
            "no_influence_or_activation": True,
        },
        "graph": "graphs/case.json",
        "can_score": {"selection": True, "grouping": True, "labels": False, "interventions": True},
    }
    return circuit | changes


def write_folder(folder: Path, *circuits: dict[str, Any]) -> Path:
    (folder / "circuits").mkdir(parents=True)
    (folder / "graphs").mkdir()
    (folder / "graphs" / "case.json").write_text(json.dumps(published_graph()))
    (folder / "index.json").write_text("[]")
    for number, circuit in enumerate(circuits):
        (folder / "circuits" / f"{number}.json").write_text(json.dumps(circuit))
    return folder


def test_nothing_of_a_published_circuit_is_lost(tmp_path: Path) -> None:
    folder = read_gold_folder(write_folder(tmp_path / "gold", published_circuit()))
    (circuit,) = folder
    assert (circuit.gold_id, circuit.family, circuit.source.kind, circuit.source.licence) == (
        "Case-1",
        "small",
        "human",
        "MIT",
    )
    assert circuit.tags == ("plt", "sensitive") and folder.sensitive == {"Case-1"}
    assert [s.members for s in circuit.supernodes] == [("0_1_1", "0_2_1", "E_7_1"), ("1_3_2", "0_2_1"), ()]
    assert [s.label for s in circuit.supernodes] == ["first", "", "empty"]
    assert circuit.selected == ("0_1_1", "1_3_2", "E_7_1", "3_9_2")
    assert circuit.targets[0].token == " z" and circuit.targets[0].probability == 0.8
    # labels of nodes are scored wherever there are targets, whatever the flag says
    assert circuit.can_score == ("selection", "grouping", "node_labels")
    assert circuit.node_labels == {"0_1_1": ("one", "first")} and circuit.other_labels == {"0_1_1": "one"}
    (intervention,) = circuit.interventions
    assert intervention.edits[0].multiplier == -2 and intervention.edits[1].features == ("0_1_1",)
    assert intervention.after == (("q", 0.6),) and intervention.activations_after == {"first": "10%"}
    assert circuit.dropped == ("9_9_9",)
    notes = "\n".join(circuit.notes)
    for told in ("human: somebody", "a/c@dddddddddddd y.ipynb (MIT)", "x y -> z", "overlapping_members: 0_2_1"):
        assert told in notes
    assert folder.graph_path(circuit) == (tmp_path / "gold" / "graphs" / "case.json").resolve()


def test_a_circuit_without_a_graph_is_read_and_scores_nothing_but_labels(tmp_path: Path) -> None:
    bare = published_circuit(graph=None, prompt_tokens=None, target_logits=None, can_score={"selection": None})
    (circuit,) = read_gold_folder(write_folder(tmp_path, bare))
    assert (circuit.tokens, circuit.targets, circuit.graph, circuit.answer) == ((), (), None, "")
    assert circuit.can_score == ("node_labels",)


def test_gold_files_of_our_own_are_read_wherever_they_lie_in_a_folder(tmp_path: Path, small_gold: GoldCircuit) -> None:
    with_graph = GoldCircuit.model_validate(small_gold.model_dump() | {"graph": {"path": "g/x.json"}})
    other = with_graph.model_copy(update={"gold_id": "small-02"})
    (tmp_path / "a.json").write_text(GoldSet(name="a", circuits=(with_graph,)).model_dump_json())
    (tmp_path / "sub" / "g").mkdir(parents=True)
    with gzip.open(tmp_path / "sub" / "b.json.gz", "wt", encoding="utf-8") as handle:
        handle.write(other.model_dump_json())
    (tmp_path / "notes.json").write_text('{"schema_id": "something else"}')
    (tmp_path / "read.me").write_text("not looked at")
    found = read_gold_folder(tmp_path)
    assert {c.gold_id: c.graph.path for c in found if c.graph} == {"small-01": "g/x.json", "small-02": "sub/g/x.json"}
    assert len(read_gold_folder(tmp_path / "a.json")) == 1
    assert found.gold_set.circuit("small-02").prompt == "x y z"
    assert read_gold_folder(tmp_path / "sub" / "b.json.gz").circuits[0].graph == other.graph


def test_both_layouts_may_share_a_folder_but_not_an_id(tmp_path: Path, small_gold: GoldCircuit) -> None:
    folder = write_folder(tmp_path, published_circuit())
    (folder / "own.json").write_text(small_gold.model_dump_json())
    assert {circuit.gold_id for circuit in read_gold_folder(folder)} == {"Case-1", "small-01"}
    (folder / "circuits" / "again.json").write_text(json.dumps(published_circuit()))
    with pytest.raises(GoldFormatError, match="id Case-1 is used twice"):
        read_gold_folder(folder)


@pytest.mark.parametrize("path", ["../secret.json", "/etc/passwd", "graphs/../../x", "..\\x", "C:/x", ".", "a\0b"])
def test_a_graph_may_not_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(GoldFormatError, match="leads out of the gold's folder"):
        read_gold_folder(write_folder(tmp_path, published_circuit(graph=path)))


def test_links_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps(published_circuit()))
    folder = write_folder(tmp_path / "gold", published_circuit())
    os.symlink(outside, folder / "circuits" / "link.json")
    with pytest.raises(GoldFormatError, match="leads out of the gold's folder"):
        read_gold_folder(folder)
    (folder / "circuits" / "link.json").unlink()
    (folder / "graphs" / "case.json").unlink()
    os.symlink(outside, folder / "graphs" / "case.json")
    with pytest.raises(GoldFormatError, match="leads out of the gold's folder"):
        read_gold_folder(folder)
    findings, _ = check_gold(folder)
    assert any("leads out" in one.message and one.level == "error" for one in findings)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, published_circuit())
    filler = b" " * (1 << 20)
    with gzip.open(folder / "circuits" / "bomb.json.gz", "wb") as handle:
        for _ in range((MAX_GOLD_BYTES >> 20) + 1):
            handle.write(filler)
    assert (folder / "circuits" / "bomb.json.gz").stat().st_size < 1 << 20
    with pytest.raises(GoldFormatError, match="unpacks to"):
        read_gold_folder(folder)


HOSTILE = [
    b"",
    b"{",
    b"[" * 1_000_000,
    b'{"a":' * 1_000_000,
    b"\x1f\x8b\x08damaged",
    b"\xff\xfe\x00",
    b"null",
    b"NaN",
    b'{"schema": "gold-circuit/1"}',
    b'{"schema": "gold-circuit/9", "circuit_id": "x"}',
    b'{"schema_id": "tracescribe-gold/2"}',
    b'{"schema_id": "tracescribe-gold-set/2", "name": 3, "circuits": [7]}',
    b'{"schema": "gold-circuit/1", "schema": "gold-circuit/1"}',
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    folder = write_folder(tmp_path, published_circuit())
    (folder / "circuits" / "bad.json").write_bytes(content)
    with pytest.raises(GoldFormatError) as caught:
        read_gold_folder(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500
    findings, n_circuits = check_gold(folder)
    assert n_circuits == 1 and any(one.level == "error" and "bad.json" in one.where for one in findings)


def _damaged(rng: np.random.Generator, value: Any) -> Any:
    """A JSON value with one part replaced by something of another type."""
    strange: list[Any] = [None, -1, 1e308, "", "x" * 5000, [], {}, [[[]]], {"a": 1}, True, "\ud800", "../x"]
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = sorted(value)[int(rng.integers(len(value)))]
        if rng.random() < 0.15:
            return {name: one for name, one in value.items() if name != key}
        return value | {key: _damaged(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = int(rng.integers(len(value)))
        return [_damaged(rng, one) if number == place else one for number, one in enumerate(value)]
    return strange[int(rng.integers(len(strange)))]


def test_damaged_files_give_typed_errors_and_nothing_else(tmp_path: Path, small_gold: GoldCircuit) -> None:
    rng = np.random.default_rng(6)
    folder = write_folder(tmp_path, published_circuit())
    target, own = folder / "circuits" / "0.json", folder / "own.json"
    whole = json.dumps(published_circuit()).encode()
    refused = 0
    for number in range(250):
        if number % 5 == 0:
            target.write_bytes(whole[: int(rng.integers(len(whole)))])
        else:
            target.write_text(json.dumps(_damaged(rng, published_circuit())))
            own.write_text(json.dumps(_damaged(rng, small_gold.model_dump(mode="json"))))
        try:
            for circuit in read_gold_folder(folder):
                assert isinstance(circuit, GoldCircuit)
        except TracescribeError as error:
            refused += 1
            assert "\n" not in str(error)
        check_gold(folder)
    assert 50 < refused < 250


def test_every_gold_file_that_is_written_carries_the_canary(small_gold: GoldCircuit) -> None:
    assert CANARY in small_gold.model_dump_json()
    assert CANARY in GoldSet(name="x", circuits=(small_gold,)).model_dump_json()


def test_the_shared_circuits_are_read_whole(shared_folder: Path) -> None:
    if not (shared_folder / "gold" / "circuits").is_dir():
        pytest.skip("no human-labelled circuits in the shared folder")
    found = read_gold_folder(shared_folder / "gold")
    for circuit in found:
        original = json.loads((shared_folder / "gold" / "circuits" / f"{circuit.gold_id}.json").read_text())
        assert [list(s.members) for s in circuit.supernodes] == [s["members"] for s in original["supernodes"]]
        assert list(circuit.selected) == original["selected"]
        assert {k: list(v) for k, v in circuit.node_labels.items()} == original["label_targets"]
        assert len(circuit.interventions) == len(original["interventions"])
        for kind in ("selection", "grouping"):
            assert (kind in circuit.can_score) == bool(original["can_score"][kind])
        path = found.graph_path(circuit)
        assert path is not None and path.is_file()
    findings, _ = check_gold(shared_folder / "gold")
    assert not [one for one in findings if one.level == "error"]
