"""Jobs, cases and workers as they stand in the store."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

JobStatus = Literal["waiting", "running", "stopped", "done", "cancelled"]
"""`waiting`: nobody has begun; `running`: somebody works on it, or died while doing so; `stopped`: told why in `message`
(budget used up, provider down, wrong weights), `jobs resume` goes on; `done`: every case is done or failed."""
CaseStatus = Literal["waiting", "running", "done", "failed", "cancelled"]
FailureKind = Literal[
    "input",  # the case itself cannot be interpreted: an unknown word, a malformed graph
    "weights",  # other weights than the job's
    "provider",  # the language model failed after all retries
    "budget",  # the case's budget does not even allow its first step
    "timeout",  # ended after its seconds
    "crash",  # its worker died, again and again
    "scoring",  # the report is there, its scores are not
    "error",  # anything else
]


class CaseFigures(BaseModel):
    """What a finished case is summed up by.

    Attributes:
        answer: the target token with the highest probability.
        verdicts: number of claims by outcome.
        scores: values by metric name, None where not defined; empty without gold.
        usd, llm_calls, input_tokens, output_tokens, experiments, forward_passes: of the report, recorded answers charged
            like new ones.
        cut_short: the budget that ended the work early.
        failures: of steps, as the report lists them, by kind.
        report_id: of the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    answer: str | None = None
    verdicts: dict[str, int] = Field(default_factory=dict)
    scores: dict[str, float | None] = Field(default_factory=dict)
    usd: float | None = None
    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    experiments: int = 0
    forward_passes: int = 0
    cut_short: str | None = None
    failures: dict[str, int] = Field(default_factory=dict)
    report_id: str | None = None
    more: dict[str, Any] = Field(default_factory=dict)
