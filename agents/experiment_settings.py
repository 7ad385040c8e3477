"""How claims are tested: every number that decides a test, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from tracescribe.tracer.errors import SettingError

MIN_CONTROLS = 50
"""Fewest matched controls with which a verdict other than inconclusive is given; below it a rank says too little."""


@dataclass(frozen=True)
class ExperimentSettings:
    """Settings of every experiment.

    Attributes:
        n_controls: matched random control sets per experiment; 199 makes the smallest possible p value .005, which
            Benjamini-Hochberg over 25 claims can still accept at .05.
        alpha: level of the Benjamini-Hochberg procedure over a report's claims.
        n_positive, n_negative: most test tokens on which a feature fires, and does not, that a label is tested on.
        min_positive: fewest unseen sentences in which a feature fires for its label to be scored or tested at all.
        n_bootstrap: resamples behind every interval; each 2.5 % tail then rests on 50 of them.

    Raises:
        SettingError: too few controls for any verdict, or a level outside 0 to 1.
    """

    n_controls: int = 199
    alpha: float = 0.05
    n_positive: int = 50
    n_negative: int = 50
    min_positive: int = 3
    n_bootstrap: int = 2000

    def __post_init__(self) -> None:
        if self.n_controls < MIN_CONTROLS:
            raise SettingError(f"n_controls is {self.n_controls}, but verdicts need at least {MIN_CONTROLS} controls")
        if not 0.0 < self.alpha < 1.0:
            raise SettingError(f"alpha is {self.alpha}, but a test level lies between 0 and 1")
