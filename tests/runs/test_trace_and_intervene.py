"""Tracing to a file and changing features by hand, on the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.tracer.attribution import AttributionSettings
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.graph_json import read_graph
from tracescribe.tracer.prune import PruneSettings

Run = Callable[..., Any]
DALLAS = "the capital of the state containing Dallas is"
OAKLAND = "the capital of the state containing Oakland is"


def test_trace_writes_the_pruned_graph_and_tells_what_it_is(run: Run, tmp_path: Path) -> None:
    done = run("trace", "-p", DALLAS, "--out", "graph.json", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["graph"] == str(tmp_path / "graph.json")
    assert told["targets"][0]["token"].strip() == "Austin"
    assert told["targets"][0]["probability"] > 0.5
    graph = read_graph(tmp_path / "graph.json")
    assert (graph.n_nodes, len(graph.edges)) == (told["nodes"], told["edges"])
    assert told["nodes"] < told["nodes_before_pruning"]
    assert 0 < told["replacement_score"] <= told["completeness_score"] <= 1


def test_trace_without_pruning_writes_all_of_it(run: Run, tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    done = run("trace", "-p", DALLAS, "--no-prune", "--out", "graph.json.gz")
    assert done.code == 0, done.err
    assert read_graph(tmp_path / "graph.json.gz").node_ids == dallas_graph.node_ids
    assert "'Austin' 1.000" in done.out or "'Austin' 0.9" in done.out


def test_trace_goes_to_the_workspace_when_nobody_says(run: Run, tmp_path: Path) -> None:
    done = run("trace", "-p", DALLAS)
    assert done.code == 0, done.err
    (written,) = (tmp_path / "tracescribe-workspace" / "graphs").iterdir()
    assert written.name.startswith("the-capital-of-the-state-containing-dallas-is-")
    assert str(written) in done.out.replace("\n", "")


def test_trace_takes_targets_and_a_budget(run: Run, tmp_path: Path) -> None:
    done = run(
        "trace", "-p", DALLAS, "--target", "Sacramento", "--target", "Austin", "--max-feature-nodes", "3",
        "--no-prune", "--out", "graph.json", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert {t["token"].strip() for t in done.json["targets"]} == {"Sacramento", "Austin"}
    assert len(read_graph(tmp_path / "graph.json").of_kind(NodeKind.FEATURE)) == 3


def test_the_defaults_of_trace_are_those_of_the_tracer(run: Run) -> None:
    """Help shows numbers; they must be the tracer's own."""
    import inspect

    from tracescribe.runs.commands.trace import trace

    shown = {name: parameter.default for name, parameter in inspect.signature(trace).parameters.items()}
    settings, pruning = AttributionSettings(), PruneSettings()
    assert shown["max_logits"] == settings.max_n_logits
    assert shown["logit_probability"] == settings.desired_logit_probability
    assert shown["batch_size"] == settings.batch_size
    assert shown["max_feature_nodes"] == settings.max_feature_nodes
    assert (shown["node_threshold"], shown["edge_threshold"]) == (pruning.node_threshold, pruning.edge_threshold)


def test_a_donors_word_gives_the_donors_answer(run: Run) -> None:
    done = run("intervene", "-p", DALLAS, "--swap-from", OAKLAND, "--json")
    assert done.code == 0, done.err
    assert (done.json["answer_before"].strip(), done.json["answer_after"].strip()) == ("Austin", "Sacramento")
    assert {edit["token"].strip() for edit in done.json["edits"]} == {"Dallas"}


def test_a_swap_may_name_one_layer(run: Run) -> None:
    """The first layer at the city is where this model holds the state; the last layer there holds nothing of it."""
    first = run("intervene", "-p", DALLAS, "--swap-from", OAKLAND, "--swap", "0@Dallas", "--json").json
    assert first["answer_after"].strip() == "Sacramento"
    assert {edit["feature"].split("/")[0] for edit in first["edits"]} == {"0"}


def _state_feature(run: Run) -> str:
    """The feature that is active at the city in the first layer, strongest first."""
    edits = run("intervene", "-p", DALLAS, "--swap-from", OAKLAND, "--swap", "0@Dallas", "--json").json["edits"]
    strongest = max(edits, key=lambda edit: float(edit["before"]))
    return f"{strongest['feature']}@Dallas"


def test_ablating_doubling_and_setting_one_feature(run: Run) -> None:
    node = _state_feature(run)
    ablated = run("intervene", "-p", DALLAS, "--ablate", node, "--json").json
    assert ablated["edits"][0]["after"] == 0
    gone = next(t for t in ablated["tokens"] if t["token"].strip() == "Austin")
    assert gone["before"] - gone["after"] > 0.3
    activation = ablated["edits"][0]["before"]
    doubled = run("intervene", "-p", DALLAS, "--scale", f"{node}=2", "--json").json
    assert doubled["edits"][0]["after"] == pytest.approx(2 * activation)
    as_it_was = run("intervene", "-p", DALLAS, "--set", f"{node}={activation!r}", "--json").json
    for token in as_it_was["tokens"]:
        assert token["after"] == pytest.approx(token["before"], abs=1e-4)


def test_a_supernode_is_edited_as_one_and_measured(run: Run) -> None:
    first, second = _state_feature(run), "0/3@Dallas"
    together = run("intervene", "-p", DALLAS, "--ablate", f"{first},{second}", "--read", first, "--json").json
    apart = run("intervene", "-p", DALLAS, "--ablate", first, "--ablate", second, "--json").json
    assert together["tokens"] == apart["tokens"] and together["edits"] == apart["edits"]
    assert together["readings"][0]["after"] == pytest.approx(together["readings"][0]["before"])
    tokens = {token["token"].strip(): token for token in together["tokens"]}
    assert tokens["Austin"]["rank_before"] == 1


def test_adding_errors_and_directions(run: Run) -> None:
    node = _state_feature(run)
    plain = run("intervene", "-p", DALLAS, "--add", f"{node}=0", "--json").json
    activation = plain["edits"][0]["before"]
    for token in plain["tokens"]:
        assert token["after"] == pytest.approx(token["before"], abs=1e-5)
    added = run("intervene", "-p", DALLAS, "--add", f"{node}={-activation!r}", "--json").json
    ablated = run("intervene", "-p", DALLAS, "--ablate", node, "--json").json
    assert added["answer_after"] == ablated["answer_after"]
    kept = run("intervene", "-p", DALLAS, "--error", "0@Dallas=1", "--json").json
    assert kept["edits"][0]["feature"] == "error of layer 0"
    assert kept["tokens"][0]["after"] == pytest.approx(kept["tokens"][0]["before"], abs=1e-5)
    pushed = run("intervene", "-p", DALLAS, "--direction", "3/resid_post@-1=Sacramento=60", "--json").json
    assert pushed["answer_after"].strip() == "Sacramento"
    cleared = run("intervene", "-p", DALLAS, "--direction", "3/resid_post@-1=Austin=0", "--how", "set", "--json").json
    assert cleared["edits"][0]["after"] == 0.0 and cleared["answer_after"].strip() != "Austin"


def test_generation_beside_the_unedited_text(run: Run) -> None:
    push = ("--direction", "3/resid_post@9:=Sacramento=60")
    done = run("intervene", "-p", DALLAS, *push, "--generate", "3", "--json").json
    assert done["answer_after"] == done["answer_before"], "the edit acts behind the prompt alone"
    assert done["text_before"]["tokens"][0] == done["text_after"]["tokens"][0]
    assert [token.strip() for token in done["text_after"]["tokens"][1:]] == ["Sacramento", "Sacramento"]
    again = ("--generate", "4", "--temperature", "2", "--seed", "3")
    drawn = [run("intervene", "-p", DALLAS, *push, *again, "--json").json["text_before"] for _ in range(2)]
    assert drawn[0] == drawn[1]
    shown = run("intervene", "-p", DALLAS, *push, "--generate", "2")
    assert "without the edits: Austin" in shown.out and "with the edits: Austin" in shown.out


@pytest.mark.parametrize(
    "mode", [("constrained",), ("constrained", "--constrain", "0"), ("direct",), ("open", "--freeze-attention")]
)
def test_every_mode_runs(mode: tuple[str, ...], run: Run) -> None:
    done = run("intervene", "-p", DALLAS, "--ablate", _state_feature(run), "--mode", *mode)
    assert done.code == 0, done.err
    assert "next token" in done.out
    assert "The answer" in done.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ablate", "0/1@Houston"), "the word 'Houston' stands nowhere in the prompt"),
        (("--ablate", "0/999999@Dallas"), "no feature 0/999999"),
        (("--ablate", "99/0@Dallas"), "no layer 99"),
        (("--ablate", "0/1@0"), "position 0"),
        (("--error", "9@Dallas=0"), "layer 9 does not exist"),
        (("--error", "0@Dallas"), "write LAYER@POSITION=NUMBER"),
        (("--direction", "1/resid_post@-1=3"), "names no token"),
        (("--direction", "1/resid_post@-1=Nowhereville=3"), "Nowhereville"),
        (("--direction", "1/mlp@-1=Austin=3"), "resid_pre, resid_mid or resid_post"),
        (("--add", "0/1@Dallas=inf"), "gives no number"),
        (("--add", "0/1@Dallas=1", "--temperature", "1"), "give --generate too"),
        (("--add", "0/1@Dallas=1", "--generate", "500"), "the model has 64"),
        ((), "nothing to edit; give --ablate"),
        (("--swap", "@Dallas"), "give the donor prompt with --swap-from"),
        (("--swap-from", DALLAS), "the donor prompt is the prompt itself"),
        (("--swap-from", "the opposite of hot is"), "give a donor of the same length"),
        (("--swap-from", OAKLAND, "--swap", "7@Dallas"), "layer 7 does not exist"),
        (("--ablate", "0/1@Dallas", "--constrain", "1"), "--constrain belongs to --mode constrained"),
        (
            ("--ablate", "0/1@Dallas", "--freeze-attention", "--mode", "direct"),
            "--freeze-attention belongs to --mode open",
        ),
    ],
)
def test_edits_that_cannot_be_made(options: tuple[str, ...], told: str, run: Run) -> None:
    done = run("intervene", "-p", DALLAS, *options)
    assert done.code in (1, 2)
    assert done.out == ""
    error = done.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error
