"""The suites of a benchmark by name: the oracle's, the compiled one, gold files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs.workspace import DEFAULT_WORKSPACE
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.evals.benchmark.suites import Suite, SuitePart, ToolboxSpec
    from tracescribe.evals.compiled.building import CompiledProgram
    from tracescribe.evals.gold import GoldCircuit

ORACLE, COMPILED = "oracle", "compiled"
COMPILED_FOLDER = DEFAULT_WORKSPACE / COMPILED
COMPILED_MARK = "compiled.json"
"""What a folder of compiled programs holds."""


@dataclass(frozen=True)
class Weights:
    """Weights for gold that comes without graphs; None leaves that to what the gold says.

    Attributes:
        model, transcoders: names or folders, both or neither.
        evidence: folder of a scan.
    """

    model: str | None = None
    transcoders: str | None = None
    evidence: Path | None = None

    def spec(self) -> ToolboxSpec | None:
        """The toolbox, or None where nothing was named.

        Raises:
            InputError: only some of them are named.
        """
        from tracescribe.evals.benchmark.suites import ToolboxSpec
        from tracescribe.runs.loading import named_or_path

        if self.model is None and self.transcoders is None and self.evidence is None:
            return None
        if self.model is None or self.transcoders is None:
            raise InputError("--model and --transcoders belong together; give both, or leave both out")
        evidence = "embedded" if self.model == "embedded" and self.evidence is None else self.evidence
        model, transcoders = named_or_path(self.model), named_or_path(self.transcoders)
        return ToolboxSpec(str(model), str(transcoders), None if evidence is None else str(evidence))


@dataclass(frozen=True)
class OpenedSuites:
    """Suites, and what of their gold cannot be run, in words."""

    suites: tuple[Suite, ...]
    left_out: tuple[str, ...]


def open_suites(names: Sequence[str], weights: Weights) -> OpenedSuites:
    """Suites by name.

    Args:
        names: `oracle`, `compiled`, gold files and folders; empty for the oracle's.

    Raises:
        InputError: no such suite, or one that is named twice.
        GoldFormatError: gold that cannot be read, or of other weights.
    """
    names = tuple(names) or (ORACLE,)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"suite {twice[0]!r} is named twice; name each once")
    suites: list[Suite] = []
    left_out: list[str] = []
    for name in names:
        if name == ORACLE:
            suites.append(_oracle())
        elif name == COMPILED:
            suites.append(_compiled(COMPILED, _built()))
        elif (Path(name).expanduser() / COMPILED_MARK).is_file():
            from tracescribe.evals.compiled.building import read_compiled

            free = _free_name(Path(name).expanduser().resolve().name, {suite.name for suite in suites})
            suites.append(_compiled(free, read_compiled(Path(name).expanduser())))
        else:
            suite, told = _of_path(Path(name).expanduser(), weights.spec(), taken={suite.name for suite in suites})
            suites.append(suite)
            left_out += told
    return OpenedSuites(tuple(suites), tuple(left_out))


def _oracle() -> Suite:
    from tracescribe.evals.benchmark.suites import Suite, SuitePart, ToolboxSpec
    from tracescribe.evals.oracle.building import load_oracle_gold

    return Suite(ORACLE, (SuitePart(load_oracle_gold().circuits, toolbox=ToolboxSpec()),))


def _built() -> Sequence[CompiledProgram]:
    """The compiled suite in the workspace; built unless it lies there as this version builds it."""
    from tracescribe.evals.compiled.building import build_compiled
    from tracescribe.runs import terminal

    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)

        def progress(done: int, total: int, text: str) -> None:
            stage("compiled", done, total, text)

        return build_compiled(COMPILED_FOLDER, progress=progress)


def _compiled(name: str, programs: Sequence[CompiledProgram]) -> Suite:
    from tracescribe.evals.benchmark.suites import Suite, SuitePart, ToolboxSpec

    parts: list[SuitePart] = []
    for one in programs:
        evidence = None if one.evidence is None else str(one.evidence.absolute())
        toolbox = ToolboxSpec(str(one.model.absolute()), str(one.transcoders.absolute()), evidence)
        parts.append(SuitePart(one.gold.circuits, toolbox=toolbox))
    return Suite(name, tuple(parts))


def _of_path(path: Path, given: ToolboxSpec | None, taken: set[str]) -> tuple[Suite, list[str]]:
    """A suite of a gold file or folder, and what of it cannot be run."""
    from tracescribe.evals.benchmark.suites import Suite
    from tracescribe.evals.gold import read_gold_folder

    if not path.exists():
        raise InputError(f"no suite {path}; give {ORACLE}, {COMPILED}, a gold file, or a folder of gold")
    gold = read_gold_folder(path)
    parts: dict[tuple[bool, ToolboxSpec | None], list[GoldCircuit]] = {}
    left_out: list[str] = []
    for circuit in gold.circuits:
        toolbox = given or _own_weights(circuit)
        if not circuit.can_score:
            left_out.append(f"{circuit.gold_id}: its gold can score nothing")
        elif circuit.graph is None and toolbox is None:
            left_out.append(f"{circuit.gold_id}: it has no graph, and no weights were named")
        else:
            parts.setdefault((circuit.graph is not None, toolbox), []).append(circuit)
    if not parts:
        why = f"; {left_out[0]}" if left_out else ""
        raise InputError(f"suite {path}: none of its {len(gold.circuits)} circuits can be run{why}")
    name = _free_name(gold.name, taken)
    return Suite(name, tuple(_part(gold.folder, *key, circuits) for key, circuits in parts.items())), left_out


def _part(folder: Path, has_graph: bool, toolbox: ToolboxSpec | None, circuits: Sequence[GoldCircuit]) -> SuitePart:
    from tracescribe.evals.benchmark.suites import SuitePart

    return SuitePart(tuple(circuits), folder.absolute() if has_graph else None, toolbox)


def _own_weights(circuit: GoldCircuit) -> ToolboxSpec | None:
    """The embedded model's weights, for gold that says it is true of them."""
    from tracescribe.evals.benchmark.suites import ToolboxSpec
    from tracescribe.tracer import embedded

    stamp = circuit.stamp
    return ToolboxSpec() if stamp.model == embedded.MODEL_ID and stamp.model_sha256 is not None else None


def _free_name(name: str, taken: set[str]) -> str:
    number = 2
    found = name or "gold"
    if found in (ORACLE, COMPILED):
        found = f"{found}-file"
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found
