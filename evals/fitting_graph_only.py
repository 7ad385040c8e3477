"""Fit the two models for graphs that come alone on circuits that people labelled, and measure them on those left out.

    python -m tracescribe.evals.fitting_graph_only FOLDER [--write]

Agents read the fitted weights alone (`agents/grouping/graph_only.json`), never a circuit. What is told of their worth is
told of families left out: circuits of one family, and circuits whose prompts share half of their words, are left out
together.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.grouping.feature_links import feature_links
from tracescribe.agents.grouping.graph_facts import GraphFacts, graph_facts
from tracescribe.agents.grouping.graph_only import (
    MAX_GROUPED,
    SCHEMA,
    WEIGHTS_FILE,
    GraphOnlyModel,
    clusters_without_evidence,
    importance_without_evidence,
    most_important,
)
from tracescribe.agents.grouping.node_evidence import NODE_EVIDENCE, node_evidence
from tracescribe.agents.grouping.pair_evidence import PAIR_EVIDENCE, pair_evidence
from tracescribe.agents.grouping.supernodes import GroupSettings, says_a_word
from tracescribe.agents.survey import Survey, make_survey
from tracescribe.agents.toolbox import Toolbox
from tracescribe.evals.gold import GoldCircuit, read_gold_folder
from tracescribe.evals.prediction import PredictedSupernode, Prediction
from tracescribe.evals.scores import score_prediction
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.graph_json import read_graph
from tracescribe.tracer.provenance import version, write_json_atomic

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph

PAIR_STRENGTH = 0.01
"""Inverse strength of the ridge penalty of the pair model, per standardised column."""
NODE_STRENGTH = 0.002
"""The same of the node model: weak evidence of one kind of graph must not outweigh what holds for all."""
PAIR_TOTAL = 3000.0
NODE_TOTAL = 1000.0
"""Total weight of the examples, against which the penalties stand."""
LEAST = 0.25
"""Mean probability from which clusters merge: the middle of a range over which the scores of circuits left out are flat."""
SHARED_WORDS = 0.5
"""Prompts that share this part of their words are left out together."""
SHOWN = ("grouping.ari", "grouping.b3_f1", "selection.auc", "selection.rprec", "selection.f1")


@dataclass(frozen=True, eq=False)
class Example:
    """One labelled circuit.

    Attributes:
        pairs: evidence of the grouped features' pairs, `[n_pairs, len(PAIR_EVIDENCE)]`; empty where gold groups nothing.
        together: whether gold puts a pair into one supernode, `[n_pairs]`.
        nodes: evidence of every feature node, `[n_features, len(NODE_EVIDENCE)]`.
        kept: whether gold selects it, `[n_features]`; empty where gold does not select.
    """

    gold: GoldCircuit
    graph: AttributionGraph
    facts: GraphFacts
    survey: Survey
    pairs: NDArray[np.float64]
    together: NDArray[np.bool_]
    nodes: NDArray[np.float64]
    kept: NDArray[np.bool_]


def read_examples(folder: Path) -> list[Example]:
    """Every circuit of a folder that can be scored for selection or grouping, with its evidence.

    Raises:
        GoldFormatError, GraphFormatError: the folder does not hold gold, or a graph cannot be read.
    """
    gold = read_gold_folder(folder)
    found = []
    for circuit in gold:
        path = gold.graph_path(circuit)
        if path is not None and {"selection", "grouping"} & set(circuit.can_score):
            found.append(_example(circuit, read_graph(path)))
    return found


def _example(gold: GoldCircuit, graph: AttributionGraph) -> Example:
    tools = Toolbox().open(InterpretationCase(gold.gold_id, graph=graph), Budget())
    survey = make_survey(tools)
    facts = graph_facts(survey.full)
    name = {node: graph.node_ids[index] for node, index in graph.node_of_feature.items()}
    groups = [set(s.members) for s in gold.supernodes] if "grouping" in gold.can_score else []
    pairs, together = _pairs(facts, survey, name, groups)
    selected = set(gold.selected)
    # the tools sort a graph anew: nodes are found by what they are, not by where they stand
    names = [name[facts.graph.feature_node(int(i))] for i in facts.profiles.nodes]
    kept = np.array([i in selected for i in names]) if "selection" in gold.can_score else np.zeros(0, dtype=bool)
    return Example(gold, graph, facts, survey, pairs, together, node_evidence(facts, survey.influence), kept)


def _pairs(
    facts: GraphFacts, survey: Survey, name: Mapping[FeatureNode, str], groups: Sequence[set[str]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Evidence of all pairs of features that people grouped, and whether they put both into one group.

    Evidence depends on what stands beside a pair: all features of the graph, or as many as an agent groups.
    """
    ordered = sorted(survey.influence, key=lambda node: (-survey.influence[node], node))
    beside = [n for place, n in enumerate(ordered) if place < MAX_GROUPED or any(name[n] in g for g in groups)]
    links = feature_links(facts, beside)
    rows = [row for row, node in enumerate(links.features) if any(name[node] in group for group in groups)]
    first, second = np.triu_indices(len(rows), 1)
    member = np.array([[name[links.features[row]] in group for group in groups] for row in rows], dtype=np.int64)
    if not len(first):
        return np.zeros((0, len(PAIR_EVIDENCE))), np.zeros(0, dtype=bool)
    at = np.ix_(rows, rows)
    pairs = np.stack([values[at][first, second] for _, values in pair_evidence(links)], axis=1)
    return pairs, (member @ member.T > 0)[first, second]


def families(examples: Sequence[Example]) -> list[int]:
    """A number for each example; equal ones are left out together."""
    words = [set(re.findall(r"\w+", e.gold.prompt.lower())) for e in examples]
    number = list(range(len(examples)))
    for i, first in enumerate(examples):
        for j, second in enumerate(examples[:i]):
            shared = len(words[i] & words[j]) / max(1, min(len(words[i]), len(words[j])))
            if first.gold.family == second.gold.family or shared > SHARED_WORDS:
                old, new = number[i], number[j]
                number = [new if n == old else n for n in number]
    return number


def fit(examples: Sequence[Example], least: float) -> GraphOnlyModel:
    """Both models, fitted to some examples; circuits weigh by the root of their pairs, and equally for single nodes."""
    grouped = [e for e in examples if len(e.together)]
    chosen = [e for e in examples if e.kept.any() and not e.kept.all()]
    pairs = np.concatenate([e.pairs for e in grouped])
    size = np.concatenate([np.full(len(e.together), len(e.together) ** -0.5) for e in grouped])
    intercept, weights = _ridge(
        pairs, np.concatenate([e.together for e in grouped]), PAIR_TOTAL * size / size.sum(), PAIR_STRENGTH
    )
    # a circuit's level says how much was pruned by hand, not what matters in it
    nodes = np.concatenate([e.nodes - e.nodes.mean(axis=0) for e in chosen])
    size = np.concatenate([np.where(e.kept, 0.5 / e.kept.sum(), 0.5 / (~e.kept).sum()) for e in chosen])
    _, node_weights = _ridge(
        nodes, np.concatenate([e.kept for e in chosen]), NODE_TOTAL * size / size.sum(), NODE_STRENGTH
    )
    return GraphOnlyModel(
        pair_intercept=intercept,
        pair_weights=dict(zip(PAIR_EVIDENCE, weights, strict=True)),
        least=least,
        node_weights=dict(zip(NODE_EVIDENCE, node_weights, strict=True)),
    )


def _ridge(
    rows: NDArray[np.float64], answer: NDArray[np.bool_], weight: NDArray[np.float64], strength: float
) -> tuple[float, list[float]]:
    """Logistic regression on standardised columns; weights are given per unit of the columns as they are."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = np.average(rows, axis=0, weights=weight), rows.std(axis=0) + 1e-9
    found = LogisticRegression(C=strength, max_iter=1000).fit((rows - mean) / spread, answer, sample_weight=weight)
    weights = found.coef_[0] / spread
    return round(float(found.intercept_[0] - mean @ weights), 6), [round(float(w), 6) for w in weights]


def predict(example: Example, model: GraphOnlyModel) -> Prediction:
    """What the agent would say of a circuit."""
    graph = example.graph

    def name(node: FeatureNode) -> str:
        return graph.node_ids[graph.node_of_feature[node]]

    score = importance_without_evidence(example.facts, example.survey.influence, model)
    nodes = most_important(score)
    saying = {node for node in nodes if says_a_word(example.facts, node, GroupSettings())}
    clusters = clusters_without_evidence(example.facts, nodes, saying, model)
    supernodes = tuple(
        PredictedSupernode(f"s{number}", "unnamed", "other", tuple(name(node) for node in cluster))
        for number, cluster in enumerate(clusters, start=1)
    )
    return Prediction(supernodes, {name(node): value for node, value in score.items()})


def measure(example: Example, model: GraphOnlyModel) -> dict[str, float | None]:
    """Scores of one circuit, by metric name."""
    scores = score_prediction(predict(example, model), example.gold, example.graph)
    return {metric: scores.value(metric) for metric in SHOWN}


def held_out(examples: Sequence[Example], least: float = LEAST) -> dict[str, dict[str, float | None]]:
    """Scores of every circuit by a model that was fitted without its family, by gold id."""
    numbers = families(examples)
    found = {}
    for left_out in sorted(set(numbers)):
        inside = [e for e, n in zip(examples, numbers, strict=True) if n != left_out]
        model = fit(inside, least)
        for example in (e for e, n in zip(examples, numbers, strict=True) if n == left_out):
            found[example.gold.gold_id] = measure(example, model)
    return {e.gold.gold_id: found[e.gold.gold_id] for e in examples}


def as_json(model: GraphOnlyModel, examples: Sequence[Example]) -> dict[str, Any]:
    """The file that ships."""
    return {
        "schema": SCHEMA,
        "fitted": {
            "by": f"tracescribe.evals.fitting_graph_only of tracescribe {version()}",
            "circuits": len(examples),
            "pairs": sum(len(e.together) for e in examples),
            "nodes": sum(len(e.kept) for e in examples),
        },
        "pairs": {"least": model.least, "intercept": model.pair_intercept, "weights": dict(model.pair_weights)},
        "nodes": {"weights": dict(model.node_weights)},
    }


def table(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """Scores as text, one circuit a line, and their means."""

    def cell(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.3f}"

    lines = [f"{'circuit':36s} " + " ".join(name.split(".")[1][:6].rjust(6) for name in SHOWN)]
    lines += [f"{name:36s} " + " ".join(cell(row[m]) for m in SHOWN) for name, row in rows.items()]
    known = {m: [row[m] for row in rows.values() if row[m] is not None] for m in SHOWN}
    means = [
        cell(float(np.mean([v for v in values if v is not None])) if values else None) for values in known.values()
    ]
    return "\n".join([*lines, f"{'mean':36s} " + " ".join(means)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print the scores of circuits left out, and with `--write` renew the file that ships."""
    parser = argparse.ArgumentParser(prog="python -m tracescribe.evals.fitting_graph_only", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of gold circuits with their graphs")
    parser.add_argument("--write", action="store_true", help="renew the weights that agents read")
    told = parser.parse_args(arguments)
    examples = read_examples(told.folder)
    print(table(held_out(examples)))
    if told.write:
        import tracescribe.agents.grouping.graph_only as module

        path = Path(module.__file__).with_name(WEIGHTS_FILE)
        write_json_atomic(path, as_json(fit(examples, LEAST), examples))
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
