"""Builds and reads the compiled suite: one folder a program, with weights, evidence and gold.

Source: Lindner et al. 2023, "Tracr"; Gupta et al. 2024, "InterpBench"; Geiger et al. 2021, "Causal abstractions of
neural networks" (interchange interventions).
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from tracescribe.evals.compiled.circuit import CircuitBuilder
from tracescribe.evals.compiled.compiling import compile_program, draw_prompts
from tracescribe.evals.compiled.folders import (
    CORPUS,
    EVIDENCE,
    GOLD,
    MODEL,
    TRANSCODERS,
    corpus_sentences,
    write_corpus,
    write_weights,
)
from tracescribe.evals.compiled.programs.all import BUILDERS
from tracescribe.evals.compiled.running import CompiledModel
from tracescribe.evals.gold import GoldSet, ModelStamp, read_gold
from tracescribe.tracer.errors import GoldFormatError, InputError, OutputError, SettingError, UnknownIdError
from tracescribe.tracer.provenance import sha256_files, version, write_json_atomic, write_text_atomic

MANIFEST = "compiled.json"
MANIFEST_SCHEMA = "tracescribe-compiled/1"
DEFAULT_SEED = 11
"""Of tables, splits, distractors, bases and prompts."""
_ORIGIN = (
    "an algorithm compiled into the weights of a transformer; members and edges known by construction, and measured"
)
_WEIGHT_FILES = ("*.safetensors", "config.json")
"""What the tracer takes the hash of a model from; loading it only for that would take seconds a program."""


@dataclass(frozen=True)
class CompiledSettings:
    """What is built.

    Attributes:
        seed: decides everything that is drawn.
        prompts: gold circuits of each program.
        sentences: of the corpus that evidence is scanned from; fewer where a program has fewer. 0 builds no evidence.
        programs: names; empty for all.

    Raises:
        SettingError: a number below its least.
        UnknownIdError: no program has a name.
    """

    seed: int = DEFAULT_SEED
    prompts: int = 8
    sentences: int = 400
    programs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.sentences < 0:
            raise SettingError(
                f"compiled suite: prompts must be at least 1 and sentences 0 or more, found {self.prompts} and "
                f"{self.sentences}"
            )
        unknown = [name for name in self.programs if name not in BUILDERS]
        if unknown:
            raise UnknownIdError(f"no program {unknown[0]!r}; programs are {', '.join(BUILDERS)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The programs that are built."""
        return self.programs or tuple(BUILDERS)


@dataclass(frozen=True)
class CompiledProgram:
    """One program on disk.

    Attributes:
        gold: its circuits.
        model, transcoders: folders.
        evidence: a folder; None where none was built.
        corpus: the sentences that the evidence was scanned from.
    """

    name: str
    gold: GoldSet
    model: Path
    transcoders: Path
    evidence: Path | None
    corpus: Path


class BuildProgress(Protocol):
    """Told how many programs of how many are done."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`text` names the program."""
        ...


def _silent(done: int, total: int, text: str) -> None:
    """A `BuildProgress` that tells nobody."""


def build_compiled(
    folder: Path, settings: CompiledSettings | None = None, progress: BuildProgress = _silent
) -> tuple[CompiledProgram, ...]:
    """Build the suite into a folder; a suite that lies there and was built in the same way is taken as it is.

    Everything is written beside the folder and moved there when it is whole, so that no half of a suite is ever found.

    Args:
        folder: a suite of other settings or of another version is replaced; anything else is left alone.
        settings: None builds everything.
        progress: told after every program.

    Raises:
        WorkError: a model does not do what was planted in it.
        OutputError: the folder cannot be written to, or holds something else.
    """
    settings = settings or CompiledSettings()
    described = _described(settings)
    if _is_built(folder, described):
        return read_compiled(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            building = Path(temporary) / "new"
            for number, name in enumerate(settings.names, start=1):
                _build_program(building / name, name, settings)
                progress(number, len(settings.names), name)
            write_json_atomic(building / MANIFEST, described)
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            building.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error}; choose a folder that you can write to") from error
    return read_compiled(folder)


def _is_built(folder: Path, described: Mapping[str, object]) -> bool:
    """Whether a suite of this description lies there.

    Raises:
        OutputError: something lies there that is no suite.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        schema = found.get("schema_id")
    except (OSError, ValueError, AttributeError):
        found, schema = None, None
    if schema != MANIFEST_SCHEMA:
        raise OutputError(f"{folder} is not empty and holds no compiled suite; give another folder")
    if found != described:
        return False
    try:
        read_compiled(folder)
    except InputError:
        return False  # damaged: built again
    return True


def read_compiled(folder: Path) -> tuple[CompiledProgram, ...]:
    """Read a suite that `build_compiled` wrote.

    Raises:
        GoldFormatError: no suite there, one that is not whole, or gold of other weights than those beside it.
    """
    again = "build it with `tracescribe gold build --compiled`"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = manifest["programs"]
        known = manifest["schema_id"] == MANIFEST_SCHEMA and names and all(name in BUILDERS for name in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GoldFormatError(f"{folder} is no compiled suite ({MANIFEST}: {error}); {again}") from error
    if not known:
        raise GoldFormatError(f"{folder / MANIFEST}: not a {MANIFEST_SCHEMA} document of known programs; {again}")
    return tuple(_read_program(folder / name, name, again) for name in names)


def _read_program(folder: Path, name: str, again: str) -> CompiledProgram:
    gold = read_gold(folder / GOLD)
    stamp = _stamp(folder, name, again)
    if not gold.circuits or any(circuit.stamp != stamp for circuit in gold.circuits):
        raise GoldFormatError(f"{folder / GOLD} belongs to other weights than those beside it; {again}")
    evidence = folder / EVIDENCE
    return CompiledProgram(
        name=name,
        gold=gold,
        model=folder / MODEL,
        transcoders=folder / TRANSCODERS,
        evidence=evidence if evidence.is_dir() else None,
        corpus=folder / CORPUS,
    )


def _stamp(folder: Path, name: str, again: str) -> ModelStamp:
    """Hashes of weights as graphs and reports carry them; nothing is loaded."""
    from tracescribe.tracer.fingerprints import sha256_folder
    from tracescribe.tracer.transcoders import load_transcoders

    missing = [one for one in (MODEL, TRANSCODERS) if not (folder / one).is_dir()]
    if missing:
        raise GoldFormatError(f"{folder}: no folder {missing[0]}; {again}")
    return ModelStamp(
        model=f"compiled {name}",
        model_sha256=sha256_folder(folder / MODEL, _WEIGHT_FILES),
        transcoder=f"compiled {name}",
        transcoder_sha256=load_transcoders(folder / TRANSCODERS).sha256,
    )


def _build_program(folder: Path, name: str, settings: CompiledSettings) -> None:
    program, compiled = compile_program(name, settings.seed)
    write_weights(folder, program, compiled)
    write_corpus(folder, corpus_sentences(program, random.Random(f"{settings.seed} {name} corpus"), settings.sentences))
    builder = CircuitBuilder(
        compiled,
        CompiledModel.load(folder / MODEL, folder / TRANSCODERS),
        _stamp(folder, name, "this is a fault of the build"),
        _ORIGIN,
    )
    circuits = [
        builder.build(f"{name}-{number:02d}", prompt)
        for number, prompt in enumerate(draw_prompts(program, settings.seed, settings.prompts), start=1)
    ]
    built_with: dict[str, str | int | float] = {"seed": settings.seed, "product_version": version()}
    gold = GoldSet(name=f"compiled {name}", built_with=built_with, circuits=tuple(circuits))
    write_text_atomic(folder / GOLD, gold.model_dump_json(indent=1) + "\n")
    if settings.sentences:
        _write_evidence(folder)


def _write_evidence(folder: Path) -> None:
    from tracescribe.tracer.evidence import read_corpus, scan
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import load_transcoders

    model, transcoders = load_model(folder / MODEL), load_transcoders(folder / TRANSCODERS)
    scan(model, transcoders, read_corpus(folder / CORPUS)).save(folder / EVIDENCE)


def _described(settings: CompiledSettings) -> dict[str, object]:
    told: dict[str, object] = {**asdict(settings), "programs": list(settings.names)}
    sources: Sequence[Path] = sorted(Path(__file__).parent.rglob("*.py"))
    return {"schema_id": MANIFEST_SCHEMA, "version": version(), "code": sha256_files(sources), **told}
