"""How the store is shown."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table

from tracescribe.runs import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.runs.store.collecting import Collected
    from tracescribe.runs.store.contents import Contents
    from tracescribe.runs.store.database import Store
    from tracescribe.runs.store.verifying import Verified

_MAX_FAULTS = 50
"""Faults on a screen; --json has them all."""
_MAX_COMMANDS = 5


def show_made(store: Store, new: bool, as_json: bool) -> None:
    """Say where the store is."""
    if as_json:
        terminal.print_json(
            {
                "store": store.address.shown,
                "store_id": store.store_id,
                "artefacts": store.artefacts.location,
                "made": new,
            }
        )
        return
    done = "made" if new else "was there already:"
    _say(f"store {done} {store.address.shown}")
    _say(f"  artefacts at {store.artefacts.location}")


def show_contents(found: Contents, as_json: bool) -> None:
    """Print what a store holds."""
    from tracescribe.runs.store.retention import show_period

    if as_json:
        value = asdict(found)
        value["artefacts"] = {kind: {"number": n, "bytes": size} for kind, (n, size) in found.artefacts.items()}
        terminal.print_json(value)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    made = datetime.fromtimestamp(found.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = [
        ("database", f"{found.database} ({size_text(found.database_bytes)}, version {found.version}, made {made})"),
        ("artefacts", found.artefacts_at),
        *(
            (f"  {kind}", f"{number:,} ({size_text(size)}{_kept(found, kind)})")
            for kind, (number, size) in found.artefacts.items()
        ),
        ("free", "unknown" if found.free_bytes is None else size_text(found.free_bytes)),
        ("scratch", found.scratch_at),
        ("jobs", _counts(found.jobs)),
        ("cases", _counts(found.cases)),
        ("workers", _counts(found.workers)),
        ("requests", f"{_counts(found.calls)}; {found.call_events:,} events in the ledger"),
        ("audit log", f"{found.audit_entries:,} entries"),
        ("retention", ", ".join(f"{k} {show_period(s)}" for k, s in sorted(found.retention.items())) or "for ever"),
    ]
    for name, text in rows:
        table.add_row(terminal.styled(name), terminal.styled(text))
    terminal.stdout().print(table)


def _kept(found: Contents, kind: str) -> str:
    from tracescribe.runs.store.retention import show_period

    return f", kept {show_period(found.retention[kind])}" if kind in found.retention else ""


def show_verified(found: Verified, as_json: bool) -> None:
    """Print every fault, and what to do about those that remain."""
    lost = [fault for fault in found.faults if not fault.repaired and not fault.harmless]
    if as_json:
        terminal.print_json(
            {
                "sound": found.sound,
                "artefacts": found.artefacts,
                "bytes": found.bytes,
                "faults": [asdict(fault) | {"harmless": fault.harmless} for fault in found.faults],
                "retry": [{"job": job, "case": case} for job, case in _cases_to_retry(found)],
            }
        )
        return
    for fault in found.faults[:_MAX_FAULTS]:
        mark = "repaired " if fault.repaired else ""
        whose = f" (cases {', '.join(fault.cases[:3])}{', ...' if len(fault.cases) > 3 else ''})" if fault.cases else ""
        _say(f"{mark}{fault.kind}: {fault.name}: {fault.message}{whose}")
    if len(found.faults) > _MAX_FAULTS:
        _say(f"... and {len(found.faults) - _MAX_FAULTS:,} more; --json lists them all")
    _say(f"{found.artefacts:,} artefacts read ({size_text(found.bytes)}), {len(found.faults):,} faults")
    if any(fault.kind == "database" for fault in lost):
        _say("the database itself is damaged: stop all jobs and go back to a backup (tracescribe store backup)")
    if any(fault.harmless and not fault.repaired for fault in found.faults):
        _say("what belongs to nobody goes with: tracescribe store check --repair")
    cases = _cases_to_retry(found)
    for job, case in cases[:_MAX_COMMANDS]:
        _say(f"make it anew with: tracescribe jobs retry {job} --case {case}")
    if len(cases) > _MAX_COMMANDS:
        _say(f"... and {len(cases) - _MAX_COMMANDS:,} more cases; --json lists them all")


def _cases_to_retry(found: Verified) -> list[tuple[str, str]]:
    pairs = {
        (fault.jobs[0] if len(fault.jobs) == 1 else case.rpartition(".")[0], case)
        for fault in found.faults
        if not fault.repaired and fault.kind in ("damaged", "missing")
        for case in fault.cases
    }
    return sorted(pairs)


def show_collected(found: Collected, dry_run: bool, as_json: bool) -> None:
    """Print what went."""
    if as_json:
        terminal.print_json(asdict(found) | {"dry_run": dry_run})
        return
    would = "would go" if dry_run else "gone"
    expired = ", ".join(f"{number:,} {kind}" for kind, number in sorted(found.expired.items())) or "nothing"
    _say(f"{would}, retention over: {expired} ({size_text(found.bytes_expired)}), {found.answers:,} recorded answers")
    _say(
        f"{would}, used by nobody: {found.unused + found.left:,} artefacts, {found.orphans:,} unknown files, "
        f"{found.scratch:,} scratch folders"
    )


def show_rules(rules: dict[str, int], as_json: bool) -> None:
    """Print how long each kind is kept."""
    from tracescribe.runs.store.retention import KINDS, show_period

    if as_json:
        terminal.print_json({"seconds": {kind: rules.get(kind) for kind in KINDS}})
        return
    for kind in KINDS:
        _say(f"{kind:<10} {show_period(rules[kind]) if kind in rules else 'for ever'}")


def show_backup(target: Path, size: int, artefacts: str, as_json: bool) -> None:
    """Say what was copied, and what was not."""
    if as_json:
        terminal.print_json({"backup": str(target), "bytes": size, "artefacts": artefacts})
        return
    _say(f"database copied to {target} ({size_text(size)}); its artefacts are plain files at {artefacts}")


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in numbers.items()) or "none"


def _say(line: str) -> None:
    terminal.stdout().print(terminal.styled(line), soft_wrap=True)
