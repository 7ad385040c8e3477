"""Scorers: one module a score, each with its `METRICS` and one function.

In: a prediction (see `evals.prediction`), a gold circuit, and the matching of their supernodes. Out: a `Tally` for every
metric. A scorer never looks at who predicted, and never turns a missing answer into a number.

To add one: write the module, and list it in `evals.scores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracescribe.evals.scorers.metric import NOTHING, Metric, Tally

if TYPE_CHECKING:
    from tracescribe.evals.scorers.calibration import score_calibration
    from tracescribe.evals.scorers.causal import score_causal
    from tracescribe.evals.scorers.edges import score_edges
    from tracescribe.evals.scorers.grouping import score_grouping
    from tracescribe.evals.scorers.labels import score_labels
    from tracescribe.evals.scorers.node_labels import score_node_labels
    from tracescribe.evals.scorers.selection import score_selection

__all__ = [
    "NOTHING",
    "Metric",
    "Tally",
    "score_calibration",
    "score_causal",
    "score_edges",
    "score_grouping",
    "score_labels",
    "score_node_labels",
    "score_selection",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"tracescribe.evals.scorers.{name.removeprefix('score_')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
