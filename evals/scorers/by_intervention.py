"""Every score that runs the model on a report: faithfulness, size-controlled effects, interchangeability. None needs gold.

They speak of a report and its model alone, so they are given for any prompt, of any agent, with the same edits and the
same random sets for the same seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.evals.scorers import edge_faithfulness, faithfulness, interchange, sized_controls
from tracescribe.evals.scorers.circuit_runs import open_runs
from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

if TYPE_CHECKING:
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.graph import AttributionGraph

METRICS: tuple[Metric, ...] = (
    *faithfulness.METRICS,
    *edge_faithfulness.METRICS,
    *sized_controls.METRICS,
    *interchange.METRICS,
)


def score_by_intervention(
    report: CircuitReport, toolbox: Toolbox, graph: AttributionGraph, *, seed: int
) -> Mapping[str, Tally]:
    """Run the model on a report's circuit, and score what happens.

    Args:
        report: about `graph`.
        toolbox: with the model that the graph was traced from; without it edges alone are scored, which need the graph only.
        graph: unpruned.
        seed: of the random sets, rankings and features that the circuit is compared with.

    Returns:
        A tally for every metric of `METRICS`; `NOTHING` where there was nothing to score.

    Raises:
        InterventionError: the model computes numbers that are not finite.
        GraphFormatError: the graph has no output token of the model.
    """
    edges = edge_faithfulness.score_edge_faithfulness(report, graph, _rng(seed, "edges"))
    runs = open_runs(report, toolbox, graph)
    if runs is None:
        return {**{metric.name: NOTHING for metric in METRICS}, **edges}
    return {
        **edges,
        **faithfulness.score_faithfulness(report, graph, runs, _rng(seed, "rankings")),
        **sized_controls.score_sized(runs, _rng(seed, "sized")),
        **interchange.score_interchange(report, runs, _rng(seed, "interchange")),
    }


def _rng(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose, so that no score's draws depend on another's."""
    digest = hashlib.sha256(f"{seed}\0{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
