"""`tracescribe graph`: faults with their place and exit code, conversion, and what a graph holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tracer.graph_examples import published_graph, random_graph, same_graph
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_files import read_graph_file, write_graph_file
from tracescribe.tracer.graph_json import to_json

Run = Callable[..., Any]


def test_check_of_a_good_file(run: Run, tmp_path: Path) -> None:
    write_graph_file(tmp_path / "g.json.gz", published_graph(0))
    done = run("graph", "check", "g.json.gz")
    assert (done.code, done.err) == (0, "")
    assert "valid: 20 nodes" in done.out and "does not say which weights" in done.out
    told = run("graph", "check", "g.json.gz", "--json").json
    assert told["valid"] and told["faults"] == [] and told["largest_activation_difference"] is None


def test_check_lists_every_fault_with_its_place(run: Run, tmp_path: Path) -> None:
    document = to_json(random_graph(0))
    document["nodes"][3]["layer"] = "77\x1b[31m"
    document["links"][1]["weight"] = "1"
    (tmp_path / "g.json").write_text(json.dumps(document))
    done = run("graph", "check", "g.json")
    assert done.code == 1 and "links[1].weight: Input should be a valid number, found '1'" in done.out
    assert "\x1b" not in done.out and "cannot be used" in done.out
    document["links"][1]["weight"] = 1
    (tmp_path / "g.json").write_text(json.dumps(document))
    told = run("graph", "check", "g.json", "--json")
    assert told.code == 1 and told.json["faults"][0].startswith("nodes[3].layer: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "none.json"), "cannot read graph file none.json: no such file"),
        (("check", "g.pt"), "which format? expected a name that ends in .json"),
        (("check", "g.tsgraph", "--model", "embedded"), "--transcoders is missing"),
        (("convert", "g.tsgraph", "g.pt"), "which format?"),
        (("show", "none.graphml"), "cannot read graph file none.graphml"),
    ],
)
def test_wrong_calls_are_told_on_one_line(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    write_graph_file(tmp_path / "g.tsgraph", random_graph(0))
    done = run("graph", *arguments)
    assert done.code == 2 and done.err.count("\n") == 1 and message in done.err


def test_convert_loses_nothing_and_blinds_when_asked(run: Run, tmp_path: Path) -> None:
    graph = published_graph(0)
    write_graph_file(tmp_path / "g.json", graph)
    for name in ("a.tsgraph", "b.graphml", "c.json.gz"):
        done = run("graph", "convert", "g.json", name, "--json")
        assert done.code == 0, done.err
        assert done.json["links"] == len(graph.edges)
        same_graph(read_graph_file(tmp_path / "g.json"), read_graph_file(tmp_path / name))
    done = run("graph", "convert", "g.json", "blind.json", "--blind")
    assert done.code == 0 and "blinded" in done.out
    told = (tmp_path / "blind.json").read_text()
    assert "a label" in (tmp_path / "g.json").read_text()
    assert "a label" not in told and "vendor" not in told


def test_show_tells_what_a_graph_holds(run: Run, tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    write_graph_file(tmp_path / "g.tsgraph", dallas_graph)
    told = run("graph", "show", "g.tsgraph", "--json").json
    assert told["prompt"] == dallas_graph.prompt and told["format"] == "native"
    assert sum(told["nodes"].values()) == dallas_graph.n_nodes
    assert "Austin" in told["outputs"][0]["label"] and told["model"] == "embedded"
    influence = [row["influence"] for row in told["top_features"]]
    assert influence == sorted(influence) and len(influence) > 0
    done = run("graph", "show", "g.tsgraph")
    assert done.code == 0 and "most influential features" in done.out
    write_graph_file(tmp_path / "p.json", published_graph(0))
    assert "supernode a label: " in run("graph", "show", "p.json").out


def test_check_compares_with_weights(run: Run, tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    write_graph_file(tmp_path / "g.json", dallas_graph)
    weights = ("--model", "embedded", "--transcoders", "embedded")
    done = run("graph", "check", "g.json", *weights, "--json")
    assert done.code == 0, done.err
    assert done.json["hashes_agree"] is True and done.json["largest_activation_difference"] < 1e-4
    document = to_json(dallas_graph)
    del document["metadata"]["tracescribe"]
    for row in document["nodes"]:
        if row["activation"]:
            row["activation"] *= 1.5
    (tmp_path / "h.json").write_text(json.dumps(document))
    done = run("graph", "check", "h.json", *weights)
    assert done.code == 2 and "was not traced from these weights" in done.err
