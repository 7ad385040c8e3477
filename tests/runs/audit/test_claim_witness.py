"""What a run registers is in the audit log before it is tested, once, whatever kills come in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.agents.test_durable_registry import work
from tracescribe.agents.durable.run_store import REGISTRY, RunStore
from tracescribe.agents.registration import RegistryUnheardError
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.registry_log import LogLine, RegistryMark
from tracescribe.runs.audit.claim_witness import ClaimWitness
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import StoreReadOnlyError

ACTS = {
    "defined": "supernode defined",
    "registered": "claim registered",
    "planned": "experiment planned",
    "measured": "experiment run",
    "reported": "report sealed",
}


def run_to_end(folder: Path, witness: ClaimWitness) -> list[LogLine]:
    """Do all the work in a folder, as far as it is not done; returns the registry's lines."""
    with RunStore(folder, listener=witness).open() as run:
        registry = run.registry()
        registry.go_on_from(RegistryMark())
        work(registry)
        registry.settle()
    return lines_of(folder)


def lines_of(folder: Path) -> list[LogLine]:
    """The registry's lines on disk."""
    return [LogLine.model_validate_json(line) for line in (folder / REGISTRY).read_bytes().splitlines()]


def audited(store: Store, case_id: str) -> list[tuple[str, str]]:
    """Acts and chain hashes that the audit log tells of a case, in order."""
    entries = find_entries(store, Wanted(subjects=(case_id,)))
    return [(entry.act, json.loads(entry.details)["chain"]) for entry in entries]


def expected(lines: list[LogLine]) -> list[tuple[str, str]]:
    """What the audit log must tell of these lines."""
    return [(ACTS[line.entry.event], line.entry.chain) for line in lines]


def test_every_line_is_logged_once_wherever_the_run_was_killed(either_store: Store, tmp_path: Path) -> None:
    whole = run_to_end(tmp_path / "whole", ClaimWitness(either_store, "j", "whole", "w"))
    assert audited(either_store, "whole") == expected(whole)
    text = (tmp_path / "whole" / REGISTRY).read_bytes().splitlines(keepends=True)
    for kept in range(len(whole) + 1):
        told = max([n + 1 for n in range(kept - 1) if whole[n].entry.event == "planned"], default=0)
        for n_told in {told, kept}:  # the kill came before the last lines were told, or after
            case = f"c{kept}.{n_told}"
            folder = tmp_path / case
            folder.mkdir()
            (folder / REGISTRY).write_bytes(b"".join(text[:kept]))
            ClaimWitness(either_store, "j", case, "killed")(whole[:n_told])
            run_to_end(folder, ClaimWitness(either_store, "j", case, "next"))
            assert audited(either_store, case) == expected(whole)


def test_a_claim_and_its_plan_are_logged_before_the_test_runs(store: Store, tmp_path: Path) -> None:
    seen: list[int] = []

    class Watched(ClaimRegistry):
        """Looks into the audit log at the moment at which an experiment runs: after its plan, before its result."""

        def measure(self, plan, measurement):  # type: ignore[no-untyped-def]
            told = {json.loads(e.details)["id"] for e in find_entries(store, Wanted(acts=("claim registered",)))}
            planned = {json.loads(e.details)["id"] for e in find_entries(store, Wanted(acts=("experiment planned",)))}
            assert {plan.claim_id} <= told & planned
            seen.append(len(planned))
            super().measure(plan, measurement)

    with RunStore(tmp_path / "run", listener=ClaimWitness(store, "j", "c", "w")).open() as run:
        registry = run.registry()
        registry.__class__ = Watched
        work(registry)
    assert seen == [1, 2, 3]


def test_without_the_audit_log_nothing_is_tested(store: Store, tmp_path: Path) -> None:
    class Unwritable(ClaimWitness):
        def __call__(self, lines: object) -> None:
            raise StoreReadOnlyError("for the test")

    folder = tmp_path / "run"
    with RunStore(folder, listener=Unwritable(store, "j", "c", "w")).open() as run:
        with pytest.raises(RegistryUnheardError, match="for the test") as raised:
            work(run.registry())
        assert isinstance(raised.value.__cause__, StoreReadOnlyError)
    assert [line.entry.event for line in lines_of(folder)][-1] == "planned"
    # the plan is on disk, but its claim is in no log: going on without one is refused before anything is done
    unheard = RunStore(folder, listener=Unwritable(store, "j", "c", "w"))
    with unheard.open() as run, pytest.raises(RegistryUnheardError):
        run.registry()
    assert audited(store, "c") == []
    lines = run_to_end(folder, ClaimWitness(store, "j", "c", "w"))
    assert audited(store, "c") == expected(lines)
