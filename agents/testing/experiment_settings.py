"""How claims are tested: every number that decides a test, with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from tracescribe.tracer.errors import SettingError

MIN_CONTROLS = 50
"""Fewest matched controls with which a verdict other than inconclusive is given; below it a rank says too little."""
MAX_CONTROLS = 999
"""Most controls of one experiment, however many claims there are: enough for 50 claims at a level of .05."""


@dataclass(frozen=True)
class ExperimentSettings:
    """Settings of every experiment.

    Attributes:
        n_controls: fewest matched random control sets per experiment; 199 makes the smallest possible p value .005. With
            more claims more are drawn, see `for_claims`.
        alpha: level of the Benjamini-Hochberg procedure over a report's claims.
        n_positive, n_negative: most unseen sentences in which a feature fires, and is silent, that a label is tested on;
            half of either are such that its predicate holds in, where there are so many.
        min_positive: fewest unseen sentences in which a feature fires for its label to be scored or tested at all, and in
            which its predicate holds for it to be tested.
        n_bootstrap: resamples behind every interval; each 2.5 % tail then rests on 50 of them.
        paraphrases: the prompt in other words, given by a person or a model; where there are none, openings of corpus
            sentences are taken.
        n_paraphrases: most wordings on which a claim is measured besides; 0 for none.

    Raises:
        SettingError: too few controls for any verdict, a level outside 0 to 1, or a negative number of wordings.
    """

    n_controls: int = 199
    alpha: float = 0.05
    n_positive: int = 50
    n_negative: int = 50
    min_positive: int = 3
    n_bootstrap: int = 2000
    paraphrases: tuple[str, ...] = ()
    n_paraphrases: int = 5

    def __post_init__(self) -> None:
        if self.n_controls < MIN_CONTROLS:
            raise SettingError(f"n_controls is {self.n_controls}, but verdicts need at least {MIN_CONTROLS} controls")
        if not 0.0 < self.alpha < 1.0:
            raise SettingError(f"alpha is {self.alpha}, but a test level lies between 0 and 1")
        if self.n_paraphrases < 0:
            raise SettingError(f"n_paraphrases is {self.n_paraphrases}, but it is a number of wordings: 0 or more")

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return {**asdict(self), "paraphrases": list(self.paraphrases)}

    def for_claims(self, n_claims: int) -> ExperimentSettings:
        """The same with controls enough for so many claims.

        A claim that no control reaches has p = 1 / (1 + controls). If it is the only true one among m, the
        Benjamini-Hochberg procedure multiplies that by m; so m / alpha - 1 controls let it be found. Where more than
        `MAX_CONTROLS` would be needed, that many are drawn, and a lone true claim may stay inconclusive.
        """
        # a level such as .05 is no exact binary fraction: 20.000000000000004 must not become 21
        needed = math.ceil(n_claims / self.alpha - 1.0 - 1e-9)
        return replace(self, n_controls=max(self.n_controls, min(needed, MAX_CONTROLS)))
