"""How labels are judged on contexts that the labeller never saw: every number that decides it, with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tracescribe.tracer.errors import SettingError


@dataclass(frozen=True)
class LabelTestSettings:
    """Settings of detection and fuzzing, and of the rule that sends a label back.

    Attributes:
        n_positive: most contexts in which the feature fires; 50 as in Delphi, beside as many in which it does not.
        n_random: most random contexts in which the feature is silent.
        n_near_miss: most contexts in which the features nearest to this one fire and this one does not; half of the
            negatives, because random ones are told apart by nearly any label.
        n_neighbours: how many of the nearest features near misses are drawn from.
        window: longest context, in tokens; 32 as in Delphi.
        model_contexts: contexts of each method that a language model is asked about, half of them positives; they are the
            first of those that code judges. 20 cost two questions for each label, and give an interval of about 0.2
            either way: enough to find labels that are no better than guessing.
        per_call: contexts in one question to a language model; Delphi asks about 5, which would make most of a report's
            calls judgements.
        poor_high: a label is poor if the interval of its balanced accuracy ends below this: then chance does not
            explain that it misses what a useful label reaches.
        poor_mean: a label is poor if its balanced accuracy itself is below this, however wide the interval.
        n_counterexamples: most contexts of each kind that a poor label is sent back with.
        max_relabelled: most labels of one report that are sent back, the most influential first.

    Raises:
        SettingError: a count below 1, or a bound outside 0.5 to 1 (0.5 is what guessing reaches).
    """

    n_positive: int = 50
    n_random: int = 25
    n_near_miss: int = 25
    n_neighbours: int = 10
    window: int = 32
    model_contexts: int = 20
    per_call: int = 20
    poor_high: float = 0.8
    poor_mean: float = 0.7
    n_counterexamples: int = 5
    max_relabelled: int = 12

    def __post_init__(self) -> None:
        least = dict.fromkeys(("n_positive", "n_random", "n_neighbours", "window", "per_call", "n_counterexamples"), 1)
        for name, low in (least | {"n_near_miss": 0, "max_relabelled": 0, "model_contexts": 4}).items():
            if getattr(self, name) < low:
                raise SettingError(f"{name} is {getattr(self, name)}, but label tests need at least {low}")
        for name in ("poor_high", "poor_mean"):
            if not 0.5 <= getattr(self, name) <= 1.0:
                raise SettingError(f"{name} is {getattr(self, name)}, but a balanced accuracy bound lies in 0.5 to 1")

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)
