"""What the comparison of two jobs holds; `comparing` makes it, `comparison_views` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tracescribe.runs.job_results.summary import Mean

Verdict = Literal["better", "worse", "not told apart", "too few", "alike", "not tested"]
"""`alike`: every case has the same score; `too few`: no difference could be told, however large; `not tested`: the metric
is not among those that tables show first, which alone are tested."""


@dataclass(frozen=True)
class MetricDifference:
    """The second job minus the first on the prompts that both have a score for.

    Attributes:
        first, second: means over those prompts.
        difference: its mean over prompts, with its paired bootstrap interval.
        wins, losses, ties: cases where the second job is better, worse, the same.
        p_value: two-sided, by sign flips of the pairs (normal with very many); None with one pair.
        p_holm: corrected for all metrics that are tested; None for the others.
        detectable: smallest true difference that so many pairs show four times in five; None with one pair.
        says: whether the second is better or worse, as far as can be told.
    """

    name: str
    title: str
    higher_is_better: bool
    first: float
    second: float
    difference: Mean
    wins: int
    losses: int
    ties: int
    p_value: float | None
    p_holm: float | None
    detectable: float | None
    says: Verdict


@dataclass(frozen=True)
class Amounts:
    """A cost of both jobs over the cases that both finished; `ratio` is second by first, None where the first is 0."""

    name: str
    first: float
    second: float
    ratio: float | None


@dataclass(frozen=True)
class ComparedCase:
    """One case of both jobs; `first` and `second` are what it is listed for."""

    title: str
    seed: int
    first_id: str
    second_id: str
    first: str
    second: str
    difference: float | None = None


@dataclass(frozen=True)
class ReportDifferences:
    """How alike the reports are, of the pairs whose reports were read.

    Attributes:
        n_read: pairs of reports read; evenly over the job where it has more.
        n_pairs: pairs that both jobs have reports for.
        features: Jaccard index of the features in their circuits.
        groups: how alike their supernodes are: Jaccard index with the best partner, over all of both.
        labels: Jaccard index of (feature, label) pairs.
        verdicts: (outcome in the first, in the second, number of claims that both tested).
        flipped: claims that one supports and the other refutes, some of them: (case title, claim).
        n_flipped: how many there are.
    """

    n_read: int
    n_pairs: int
    features: Mean | None
    groups: Mean | None
    labels: Mean | None
    verdicts: tuple[tuple[str, str, int], ...]
    flipped: tuple[tuple[str, str], ...]
    n_flipped: int


@dataclass(frozen=True)
class JobSide:
    """One of the two jobs."""

    job_id: str
    name: str
    agent: str
    model: str
    status: str
    n_cases: int
    done: int
    failed: int


@dataclass(frozen=True)
class Comparison:
    """Everything the comparison tells.

    Attributes:
        n_pairs: cases that both jobs finished.
        only_first, only_second: cases of one job that the other does not have at all.
        finished_by_one: (cases that only the first finished, only the second), of those that both have.
        warnings: what makes the jobs hard to compare, such as other weights.
        changed: (field, first, second) of the specifications, where they differ.
        metrics: of all scores that both have.
        shown: names of those that tables show first.
        verdicts: (outcome, claims of the first, of the second), over the pairs.
        largest: cases with the largest differences in `ranked_by`.
        fewest_pairs: prompts with which a difference can be told at all.
        unfinished: some cases that only one of the two finished.
    """

    first: JobSide
    second: JobSide
    n_pairs: int
    only_first: int
    only_second: int
    finished_by_one: tuple[int, int]
    warnings: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    metrics: tuple[MetricDifference, ...]
    shown: tuple[str, ...]
    verdicts: tuple[tuple[str, int, int], ...]
    amounts: tuple[Amounts, ...]
    ranked_by: str | None
    largest: tuple[ComparedCase, ...]
    fewest_pairs: int
    unfinished: tuple[ComparedCase, ...]
    reports: ReportDifferences | None
    schema_id: Literal["tracescribe-job-comparison/1"] = field(default="tracescribe-job-comparison/1")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
