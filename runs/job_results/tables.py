"""A job as a table: one row a case, typed columns, every metric a column, for pandas, DuckDB and the like."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs.job_results.case_rows import CaseRecord, case_records
from tracescribe.runs.job_results.summing import in_order

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store

SCORE_PREFIX, VERDICT_PREFIX = "score.", "verdict."
OUTCOMES = ("supported", "refuted", "inconclusive", "untested")
ROWS_AT_ONCE = 5000


def write_parquet(store: Store, job_id: str, file: Path, metrics: Iterable[str]) -> int:
    """Write the cases of a job, a few thousand rows at a time.

    Args:
        file: is created; whoever calls makes that atomic.
        metrics: names of the metrics that become columns.

    Returns:
        The number of rows.

    Raises:
        StoreError: the store cannot be read.
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = in_order(set(metrics))
    schema = pa.schema([*_columns(pa), *((SCORE_PREFIX + name, pa.float64()) for name in names)])
    n = 0
    held: list[dict[str, Any]] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
            held.clear()

        for case in case_records(store, job_id):
            held.append(_row(case, names))
            n += 1
            if len(held) >= ROWS_AT_ONCE:
                flush()
        flush()
    return n


def _columns(pa: Any) -> list[tuple[str, Any]]:
    text, number, real, moment = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC")
    return [
        ("case_id", text),
        ("case_key", text),
        ("position", number),
        ("title", text),
        ("seed", number),
        ("source", text),
        ("gold_id", text),
        ("family", text),
        ("tags", pa.list_(text)),
        ("status", text),
        ("failure_kind", text),
        ("failure_message", text),
        ("attempt", number),
        ("crashes", number),
        ("worker_id", text),
        ("started_at", moment),
        ("finished_at", moment),
        ("seconds", real),
        ("paid_usd", real),
        ("paid_tokens", number),
        ("paid_calls", number),
        ("usd", real),
        ("input_tokens", number),
        ("output_tokens", number),
        ("llm_calls", number),
        ("experiments", number),
        ("forward_passes", number),
        ("answer", text),
        ("cut_short", text),
        ("report_id", text),
        *((VERDICT_PREFIX + outcome, number) for outcome in OUTCOMES),
    ]


def _row(case: CaseRecord, names: Iterable[str]) -> dict[str, Any]:
    figures = case.figures
    row: dict[str, Any] = {
        name: getattr(case, name)
        for name in (
            "case_id", "case_key", "position", "title", "seed", "source", "gold_id", "status", "failure_kind",
            "failure_message", "attempt", "crashes", "worker_id", "seconds", "paid_usd", "paid_tokens", "paid_calls",
        )
    }  # fmt: skip
    counts = ("input_tokens", "output_tokens", "llm_calls", "experiments", "forward_passes")
    row |= {name: figures.get(name) for name in (*counts, "answer", "cut_short", "report_id")}
    row |= {
        "usd": case.usd,
        "family": case.family or None,
        "tags": list(case.tags),
        "started_at": _micros(case.started_at),
        "finished_at": _micros(case.finished_at),
    }
    verdicts = case.verdicts
    row |= {VERDICT_PREFIX + outcome: verdicts.get(outcome) if figures else None for outcome in OUTCOMES}
    return row | {SCORE_PREFIX + name: case.scores.get(name) for name in names}


def _micros(moment: float | None) -> int | None:
    return None if moment is None else round(moment * 1e6)
