"""The benchmark of the audit log measures what it says: a log that is whole, and one that is not."""

from __future__ import annotations

import pytest

from tracescribe.runs.benchmarks.auditing import N_APPENDED, bench_audit
from tracescribe.runs.store.database import Store
from tracescribe.tracer.errors import InputError


def test_the_benchmark_verifies_every_entry_and_finds_the_edited_one(store: Store) -> None:
    result = bench_audit(2_500, store=str(store.scratch.parent))
    assert [(row["entries"], row["right"]) for row in result.rows] == [(N_APPENDED, True), (2_500, True), (2_500, True)]
    with pytest.raises(InputError, match="has an audit log already"):
        bench_audit(2_500, store=str(store.scratch.parent))
