"""Suites: gold circuits that are run together, with the graphs or weights that agents get for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tracescribe.evals.gold import GoldCircuit
from tracescribe.tracer.errors import SettingError

SENSITIVE = "sensitive"
"""The tag of circuits whose prompts are about harm; tables show averages with and without them."""


@dataclass(frozen=True)
class ToolboxSpec:
    """Weights and evidence by name, as `agents.toolbox.load_toolbox` takes them; every worker loads its own.

    Attributes:
        model, transcoders: `embedded` or folders.
        evidence: `embedded`, a folder, or None for none.
    """

    model: str = "embedded"
    transcoders: str = "embedded"
    evidence: str | None = "embedded"


@dataclass(frozen=True)
class SuitePart:
    """Circuits that share weights, or a folder of graphs.

    Attributes:
        circuits: their gold.
        folder: what `circuit.graph.path` is relative to; None where prompts are traced.
        toolbox: None where agents get graphs alone.
    """

    circuits: tuple[GoldCircuit, ...]
    folder: Path | None = None
    toolbox: ToolboxSpec | None = None


@dataclass(frozen=True)
class Suite:
    """A named set of parts; gold ids are unique in it.

    Raises:
        SettingError: no circuits, a gold id that occurs twice, or a circuit with neither weights nor a graph.
    """

    name: str
    parts: tuple[SuitePart, ...]

    def __post_init__(self) -> None:
        if not self.circuits:
            raise SettingError(f"suite {self.name} has no circuits; nothing can be run")
        counts = Counter(circuit.gold_id for circuit in self.circuits)
        twice = sorted(gold_id for gold_id, count in counts.items() if count > 1)
        if twice:
            raise SettingError(
                f"suite {self.name}: gold id {twice[0]} is used {counts[twice[0]]} times; give each its own"
            )
        for part in self.parts:
            bare = [
                c.gold_id for c in part.circuits if part.toolbox is None and (c.graph is None or part.folder is None)
            ]
            if bare:
                raise SettingError(
                    f"suite {self.name}: {bare[0]} has neither weights nor a graph; agents would have nothing to look at"
                )

    @property
    def circuits(self) -> tuple[GoldCircuit, ...]:
        """All circuits, part after part."""
        return tuple(circuit for part in self.parts for circuit in part.circuits)

    @property
    def families(self) -> tuple[str, ...]:
        """Families in the order in which they first occur."""
        return tuple(dict.fromkeys(circuit.family for circuit in self.circuits))


@dataclass(frozen=True)
class Choice:
    """Which circuits of a suite are run.

    Attributes:
        tasks: families; empty for all. One that no suite has is an error, one that this suite lacks is not.
        limit: most circuits of each family, in the suite's order; None for all.
        sensitive: whether circuits with harmful prompts are run.

    Raises:
        SettingError: a limit below 1.
    """

    tasks: tuple[str, ...] = ()
    limit: int | None = None
    sensitive: bool = True

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"limit is {self.limit}, but a benchmark needs at least 1 circuit per task")


def choose(suites: Sequence[Suite], choice: Choice) -> tuple[Suite, ...]:
    """The suites with the circuits that are run; suites of which nothing is left are left out.

    Raises:
        SettingError: a task that no circuit belongs to, or no circuit left.
    """
    known = tuple(dict.fromkeys(family for suite in suites for family in suite.families))
    unknown = [task for task in choice.tasks if task not in known]
    if unknown:
        raise SettingError(f"no gold circuit belongs to task {unknown[0]!r}; tasks are {', '.join(known)}")
    chosen: list[Suite] = []
    for suite in suites:
        taken: Counter[str] = Counter()
        parts: list[SuitePart] = []
        for part in suite.parts:
            kept: list[GoldCircuit] = []
            for circuit in part.circuits:
                if choice.tasks and circuit.family not in choice.tasks:
                    continue
                if not choice.sensitive and SENSITIVE in circuit.tags:
                    continue
                if choice.limit is not None and taken[circuit.family] >= choice.limit:
                    continue
                taken[circuit.family] += 1
                kept.append(circuit)
            if kept:
                parts.append(SuitePart(tuple(kept), part.folder, part.toolbox))
        if parts:
            chosen.append(Suite(suite.name, tuple(parts)))
    if not chosen:
        raise SettingError("no circuit is left to run; give another suite, or leave out --no-sensitive")
    return tuple(chosen)
