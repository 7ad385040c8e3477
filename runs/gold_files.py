"""Gold files: open, check, import and export them; build the oracle's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracescribe.runs import terminal
from tracescribe.runs.workspace import prepare_file, prepare_folder
from tracescribe.tracer.errors import OutputError, SettingError

if TYPE_CHECKING:
    from tracescribe.evals.compiled.building import CompiledProgram
    from tracescribe.evals.gold import GoldCircuit, GoldSet
    from tracescribe.evals.gold.importing import ImportRequest


def open_gold(source: Path | None) -> GoldSet:
    """A gold file or a folder of gold; None opens the oracle gold that ships.

    Raises:
        GoldFormatError: the source is missing or malformed, or the oracle gold belongs to other weights.
    """
    from tracescribe.evals.gold import read_gold_folder
    from tracescribe.evals.oracle.building import load_oracle_gold

    return load_oracle_gold() if source is None else read_gold_folder(source).gold_set


def some_of(gold: GoldSet, kinds: Sequence[str], families: Sequence[str], tags: Sequence[str]) -> GoldSet:
    """The circuits of a set that are of the given kinds and families and have one of the tags; nothing given is no limit.

    Raises:
        SettingError: no circuit is left; the message says what there is.
    """
    chosen = tuple(
        circuit
        for circuit in gold.circuits
        if (not kinds or circuit.source.kind in kinds)
        and (not families or circuit.family in families)
        and (not tags or set(tags) & set(circuit.tags))
    )
    if not chosen:
        there: dict[str, list[str]] = {
            "kinds": sorted({circuit.source.kind for circuit in gold.circuits}),
            "families": sorted({circuit.family for circuit in gold.circuits}),
            "tags": sorted({tag for circuit in gold.circuits for tag in circuit.tags}),
        }
        told = "; ".join(f"{name}: {', '.join(found) or 'none'}" for name, found in there.items())
        raise SettingError(f"no circuit of {gold.name} is of that kind, family and tag; there are {told}")
    return gold.model_copy(update={"circuits": chosen})


def gold_for(prompt: str) -> GoldCircuit | None:
    """The oracle's circuit of a prompt, or None where it has none."""
    return open_gold(None).of_prompt(prompt)


def import_to(request: ImportRequest, out: Path) -> tuple[GoldSet, Path]:
    """Import gold and write it, with blinded graphs beside it.

    Args:
        request: what to import.
        out: a file that ends in `.json`, or a folder.

    Raises:
        OutputError: the file cannot be written, or is there already; found out before any work.
    """
    from tracescribe.evals.gold.importing import import_gold
    from tracescribe.evals.gold.writing import write_gold

    file = _new_gold_file(out)
    return write_gold(import_gold(request), file, name=out.expanduser().resolve().stem)


def export_to(source: Path | None, gold: GoldSet, form: str, out: Path) -> Path:
    """Write gold in our own form, with its graphs, or one circuit as graph pages save it.

    Args:
        source: where the gold was opened.
        gold: what of it to write.
        form: `tracescribe` or `neuronpedia`.
        out: a file that ends in `.json`; in our own form a folder too.

    Raises:
        SettingError: a graph page holds one circuit, and there are several.
        OutputError: the file cannot be written, or is there already.
    """
    from tracescribe.evals.gold.importing import with_graphs
    from tracescribe.evals.gold.writing import as_text, graph_page_form, write_gold
    from tracescribe.tracer.provenance import write_text_atomic

    if form == "neuronpedia":
        if len(gold.circuits) != 1:
            raise SettingError(
                f"a graph page holds one circuit, {gold.name} has {len(gold.circuits)}; name one by its id"
            )
        path = prepare_file(out)
        write_text_atomic(path, as_text(graph_page_form(gold.circuits[0])))
        return path
    file = _new_gold_file(out)
    folder = None if source is None else source.expanduser()
    folder = folder.parent if folder is not None and folder.is_file() else folder
    return write_gold(with_graphs(gold.circuits, folder), file, gold.name)[1]


def _new_gold_file(out: Path) -> Path:
    """The gold file of an `--out`, which must not be there yet.

    Raises:
        OutputError: it is there already, or cannot be written; found out before any work.
    """
    from tracescribe.evals.gold.writing import GOLD_FILE

    path = out.expanduser()
    file = path if path.suffix == ".json" else path / GOLD_FILE
    if file.exists():
        raise OutputError(f"{file} is there already; give another --out, or remove it first")
    prepare_folder(file.parent)
    return file


def build_compiled_gold(out: Path | None, seed: int | None) -> tuple[tuple[CompiledProgram, ...], Path]:
    """Build the compiled suite, or take the one that lies there if it is the same.

    Args:
        out: its folder; None for the one in the workspace.
        seed: of every draw; the suite's own if None.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from tracescribe.evals.compiled.building import CompiledSettings, build_compiled
    from tracescribe.runs.bench_suites import COMPILED_FOLDER

    folder = prepare_folder(COMPILED_FOLDER if out is None else out)
    settings = CompiledSettings() if seed is None else CompiledSettings(seed=seed)
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)

        def progress(done: int, total: int, text: str) -> None:
            stage("compiled suite", done, total, text)

        return build_compiled(folder, settings, progress), folder


def build_gold(out: Path | None, seed: int | None) -> tuple[GoldSet, Path]:
    """Build the oracle gold and write it.

    Args:
        out: the file; None renews the one that ships.
        seed: of prompts and donors; the one that it ships with if None.

    Raises:
        OutputError: the file cannot be written; found out before any work.
    """
    from tracescribe.evals.oracle.building import OracleSettings, build_oracle_gold, oracle_path

    settings = OracleSettings() if seed is None else OracleSettings(seed=seed)
    path = prepare_file(oracle_path() if out is None else out)
    from tracescribe.runs.loading import choose_threads
    from tracescribe.tracer.models import load_model

    choose_threads(load_model("embedded"))
    with terminal.progress_bars() as bars:
        stage = terminal.StageBars(bars)

        def progress(done: int, total: int, text: str) -> None:
            stage("oracle gold", done, total, text)

        return build_oracle_gold(settings, out=path, progress=progress), path
