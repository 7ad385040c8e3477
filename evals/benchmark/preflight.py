"""Gold held against its graphs before the first case: what is found later would cost a run in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp, stale_ids
from tracescribe.evals.gold.folders import graph_path
from tracescribe.tracer.errors import InputError, TracescribeError

SHOWN = 5
"""Ids that one line names; the rest are counted."""


@dataclass(frozen=True)
class Held:
    """Suites that can be run to their end.

    Attributes:
        left_out: circuits that cannot be run, and why.
        stale: circuits that name nodes which their graphs do not have: they are run all the same.
    """

    suites: tuple[Suite, ...]
    left_out: tuple[str, ...]
    stale: tuple[str, ...]


def hold_against_graphs(suites: Sequence[Suite]) -> Held:
    """Hold circuits that come with graphs against them; circuits that are traced are not looked at.

    A published circuit that does not fit its graph is left out: it is somebody else's, and nobody here can mend it.

    Raises:
        GoldFormatError: gold that is not published does not fit its graph.
        GraphFormatError: its graph cannot be read.
        InputError: nothing is left to run.
    """
    left_out: list[str] = []
    stale: list[str] = []
    kept: list[Suite] = []
    for suite in suites:
        parts: list[SuitePart] = []
        for part in suite.parts:
            fitting = tuple(gold for gold in part.circuits if _fits(part, gold, left_out, stale))
            if fitting:
                parts.append(SuitePart(fitting, part.folder, part.toolbox))
        if parts:
            kept.append(Suite(suite.name, tuple(parts)))
    if not kept:
        raise InputError(f"no circuit fits its graph, so that nothing can be run; {left_out[0]}")
    return Held(tuple(kept), tuple(left_out), tuple(stale))


def _fits(part: SuitePart, gold: GoldCircuit, left_out: list[str], stale: list[str]) -> bool:
    from tracescribe.tracer.graph_files import read_graph_file

    if part.folder is None or gold.graph is None:
        return True
    path = graph_path(part.folder, gold)
    assert path is not None, "a circuit with a graph has a path"
    try:
        graph = read_graph_file(path)
        check_stamp(gold, *(graph.provenance.get(name) for name in ("model_sha256", "transcoders_sha256")))
        check_circuit(gold, graph, stale=True)
    except TracescribeError as error:
        if gold.source.kind != "human":
            raise
        left_out.append(f"{gold.gold_id}: {error}")
        return False
    gone = stale_ids(gold, graph) if gold.source.kind == "human" else ()
    if gone:
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        stale.append(
            f"{gold.gold_id}: its graph lacks {len(gone)} of the nodes that it names ({', '.join(gone[:SHOWN])}{more}); "
            "they are not asked of a selection, and stay members of their supernodes"
        )
    return True
