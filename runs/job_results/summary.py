"""What the summary of a job holds; `summing` makes it, `markdown` and `page` show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Mean:
    """A mean over prompts (repetitions with several seeds are one) with its 95 % interval.

    Attributes:
        n: prompts that it is the mean of; with one there is no interval, and both ends are the value.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class ScoreSummary:
    """One metric over all cases.

    Attributes:
        meaning: what a value of 1 stands for.
        n_cases: cases that have the score.
        histogram: number of cases in equal steps from `first` to `last`.
    """

    name: str
    title: str
    meaning: str
    higher_is_better: bool
    mean: Mean
    n_cases: int
    histogram: tuple[int, ...]
    first: float
    last: float


@dataclass(frozen=True)
class GroupScores:
    """Means of the shown metrics over one family or tag of gold circuits, by metric name."""

    name: str
    n_cases: int
    means: dict[str, Mean]


@dataclass(frozen=True)
class Spread:
    """How one quantity is spread over the cases that have it."""

    n: int
    total: float
    mean: float
    median: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True)
class CostSummary:
    """What the job cost.

    Attributes:
        paid_usd, paid_tokens, paid_calls: for new answers of language models, all attempts together.
        usd, input_tokens, output_tokens, llm_calls: as the reports count them: recorded answers are charged like new
            ones. `usd` is None where no report knows a price.
        per_case: spread of `paid_usd` over finished cases.
        over_time: (seconds since the first case, paid so far), at most a hundred points.
    """

    paid_usd: float
    paid_tokens: int
    paid_calls: int
    usd: float | None
    input_tokens: int
    output_tokens: int
    llm_calls: int
    per_case: Spread | None
    over_time: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TimeSummary:
    """How long it took.

    Attributes:
        wall_seconds: from the first case's begin to the last one's end, by the clocks of the machines, pauses included.
        worker_seconds: seconds of the finishing attempts together, on steady clocks.
        per_case: their spread.
        per_minute: cases finished in a minute of `wall_seconds`.
        workers: number of workers that finished a case.
        histogram: number of cases by seconds, in equal steps from `first` to `last`; the longest are in the last step.
    """

    wall_seconds: float | None
    worker_seconds: float
    per_case: Spread | None
    per_minute: float | None
    workers: int
    histogram: tuple[int, ...] = ()
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class ListedCase:
    """A case that the summary names; `value` is what it is listed for."""

    case_id: str
    title: str
    seed: int
    value: float
    note: str = ""


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind with one message, numbers and names in it left out.

    Attributes:
        message: with `…` where messages differ.
        advice: what to do.
        examples: first cases, with the message as it was.
    """

    kind: str
    message: str
    n_cases: int
    advice: str
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Provenance:
    """What made the results, and what proves it.

    Attributes:
        specification: as submitted, redacted.
        audit_sequence, audit_chain: of the audit log's last entry when this was made; None where it is empty.
    """

    specification_sha256: str
    specification: dict[str, Any]
    product_version: str
    model: str
    model_sha256: str | None
    transcoders_sha256: str | None
    seeds: tuple[int, ...]
    store_id: str
    audit_sequence: int | None
    audit_chain: str | None


@dataclass(frozen=True)
class JobSummary:
    """Everything the summary tells.

    Attributes:
        final: whether no case waits or runs; else the figures are those of the moment.
        cases: number of cases by status, every status named.
        scores: every metric that some case has, in order; empty without gold.
        shown: names of the metrics that tables show.
        ranked_by: metric of `worst`; None without scores.
        cut_short: number of reports by the budget that ended them early.
        unasked: number of these whose language model was never asked, as one request could have passed the limit.
    """

    job_id: str
    name: str
    status: str
    message: str | None
    agent: str
    created_at: float
    created_by: str
    final: bool
    n_cases: int
    cases: dict[str, int]
    scores: tuple[ScoreSummary, ...]
    shown: tuple[str, ...]
    families: tuple[GroupScores, ...]
    tags: tuple[GroupScores, ...]
    verdicts: dict[str, int]
    cut_short: dict[str, int]
    unasked: int
    cost: CostSummary
    time: TimeSummary
    ranked_by: str | None
    worst: tuple[ListedCase, ...]
    slowest: tuple[ListedCase, ...]
    dearest: tuple[ListedCase, ...]
    failures: tuple[FailureGroup, ...]
    provenance: Provenance
    schema_id: Literal["tracescribe-job-summary/1"] = field(default="tracescribe-job-summary/1")

    def score(self, name: str) -> ScoreSummary:
        """One metric's summary.

        Raises:
            KeyError: no case has it.
        """
        return next(one for one in self.scores if one.name == name)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
