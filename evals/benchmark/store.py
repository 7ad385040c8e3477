"""The folder of a benchmark: what was asked for, every graph, every report, every result.

DIR/lock                                    held by the process that works here; its process id, for people
DIR/bench.json                              what the last call asked for
DIR/graphs/SUITE/GOLD.tsgraph               prompts as they were traced
DIR/cases/SUITE/AGENT/seed-N/GOLD.json      one result
DIR/cases/SUITE/AGENT/seed-N/GOLD.report.json, GOLD.calls.jsonl
DIR/leaderboard.json, leaderboard.md        tables, written when a run ends
"""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.agents.durable.folder_lock import hold_folder
from tracescribe.evals.benchmark.results import CaseResult
from tracescribe.evals.benchmark.suites import Suite, SuitePart
from tracescribe.evals.gold import GoldCircuit, graph_path
from tracescribe.tracer.errors import InputError, OutputError
from tracescribe.tracer.provenance import sha256_json, version, write_json_atomic

MANIFEST, BOARD, MARKDOWN = "bench.json", "leaderboard.json", "leaderboard.md"
CASES, GRAPHS = "cases", "graphs"
MAX_RESULT_BYTES = 4 << 20
"""A result has some ten thousand bytes; a larger file is not ours."""
_MAX_NAME = 60


class ManifestCircuit(BaseModel):
    """One circuit of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gold_id: str
    family: str
    tags: tuple[str, ...] = ()


class ManifestSuite(BaseModel):
    """One suite of a run, with what its gold can score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    circuits: tuple[ManifestCircuit, ...]


class Manifest(BaseModel):
    """What the last call in a folder asked for: what a table is to hold, and what is still missing.

    Attributes:
        settings: of the run, for people: budget, interventions, shufflings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_id: Literal["tracescribe-bench/1"] = "tracescribe-bench/1"
    product: str = Field(default_factory=version)
    agents: tuple[str, ...]
    seeds: tuple[int, ...]
    suites: tuple[ManifestSuite, ...]
    settings: dict[str, object] = Field(default_factory=dict)

    @property
    def total(self) -> int:
        """Cases that were asked for."""
        return len(self.agents) * len(self.seeds) * sum(len(suite.circuits) for suite in self.suites)


def manifest_of(suites: tuple[Suite, ...], agents: tuple[str, ...], seeds: tuple[int, ...]) -> Manifest:
    """A manifest without settings."""
    told = tuple(
        ManifestSuite(
            name=suite.name,
            circuits=tuple(ManifestCircuit(gold_id=c.gold_id, family=c.family, tags=c.tags) for c in suite.circuits),
        )
        for suite in suites
    )
    return Manifest(agents=agents, seeds=seeds, suites=told)


def folder_name(name: str) -> str:
    """The name of an agent or a suite as the name of a folder; names that had to be changed carry a hash, so that no
    two names share a folder."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:_MAX_NAME].strip("-.")
    return plain if plain and plain == name else f"{plain or 'agent'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class BenchStore:
    """A benchmark's folder.

    Attributes:
        folder: absolute or relative to the working directory.
    """

    folder: Path

    # -- places -------------------------------------------------------------------------------------------------------

    def result_path(self, suite: str, agent: str, seed: int, gold_id: str) -> Path:
        """Where a result lies."""
        return self.folder / CASES / folder_name(suite) / folder_name(agent) / f"seed-{seed}" / f"{gold_id}.json"

    def report_path(self, suite: str, agent: str, seed: int, gold_id: str) -> Path:
        """Where the report behind a result lies."""
        return self.result_path(suite, agent, seed, gold_id).with_name(f"{gold_id}.report.json")

    def calls_path(self, suite: str, agent: str, seed: int, gold_id: str) -> Path:
        """Where the record of calls to a language model lies."""
        return self.result_path(suite, agent, seed, gold_id).with_name(f"{gold_id}.calls.jsonl")

    def graph_file(self, suite: str, part: SuitePart, gold: GoldCircuit) -> Path:
        """Where the graph of a circuit lies: the gold's own, or the trace of its prompt.

        Raises:
            GoldFormatError: the gold's path leads out of its folder.
        """
        given = None if part.folder is None else graph_path(part.folder, gold)
        if given is not None:
            return given
        weights = None if part.toolbox is None else vars(part.toolbox)
        mark = sha256_json([gold.prompt, gold.stamp.model_dump(mode="json"), weights])[:12]
        return self.folder / GRAPHS / folder_name(suite) / f"{gold.gold_id}.{mark}.tsgraph"

    # -- reading and writing --------------------------------------------------------------------------------------------

    def read_manifest(self) -> Manifest:
        """What was asked for.

        Raises:
            InputError: the folder holds no benchmark, or its `bench.json` cannot be read.
        """
        path = self.folder / MANIFEST
        try:
            return Manifest.model_validate_json(_text(path))
        except OSError as error:
            raise InputError(
                f"cannot read {path}: {error.strerror}; give a folder that 'tracescribe bench run' wrote"
            ) from error
        except ValueError as error:
            raise InputError(f"{path} is damaged ({_first(error)}); run the benchmark in this folder again") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep what is asked for.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_json_atomic(self.folder / MANIFEST, manifest.model_dump(mode="json"))

    def read_result(self, suite: str, agent: str, seed: int, gold_id: str) -> CaseResult | str | None:
        """A result; why it cannot be used, in words; or None where there is none."""
        path = self.result_path(suite, agent, seed, gold_id)
        try:
            found = CaseResult.model_validate_json(_text(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        except ValueError as error:
            told = _first(error)
            if "schema_id" in told:
                return f"{path} was written by another version of this product ({told})"
            return f"{path} is damaged ({told})"
        if (found.suite, found.agent, found.seed, found.gold_id) != (suite, agent, seed, gold_id):
            return f"{path} is the result of another case"
        return found

    def write_result(self, result: CaseResult) -> None:
        """Keep a result.

        Raises:
            OutputError: the folder cannot be written to.
        """
        path = self.result_path(result.suite, result.agent, result.seed, result.gold_id)
        write_json_atomic(path, result.model_dump(mode="json"))

    def relative(self, path: Path) -> str:
        """A path as results tell it."""
        return path.relative_to(self.folder).as_posix()

    def clear(self) -> None:
        """Throw away results and graphs of earlier runs; records of calls to language models stay.

        Raises:
            OutputError: they cannot be removed.
        """
        try:
            for path in (self.folder / CASES).rglob("*.json"):
                path.unlink()
            shutil.rmtree(self.folder / GRAPHS, ignore_errors=True)
            for name in (BOARD, MARKDOWN):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot clear {self.folder}: {error.strerror}; choose another folder with --out"
            ) from error

    # -- one at a time ------------------------------------------------------------------------------------------------

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for this process until the `with` block ends; a kill frees it too.

        Raises:
            RunLockedError: another process works here.
            OutputError: the folder cannot be written to.
        """
        return hold_folder(self.folder)


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > MAX_RESULT_BYTES:
        raise ValueError(f"{size} bytes, the limit is {MAX_RESULT_BYTES}")
    return path.read_text(encoding="utf-8")


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        return f"{where}: {fault['msg']}" if where else fault["msg"]
    return " ".join(str(error).split())[:200]
