"""Settings of the loop that every agent runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from tracescribe.agents.labelling.label_test_settings import LabelTestSettings
from tracescribe.agents.testing.experiment_settings import ExperimentSettings


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop itself.

    Attributes:
        seed: of every random draw.
        max_rounds: most rounds of revision. Three, because every further round tests more claims on the same data, and
            each makes the others harder to support; most runs stop earlier (see `agents.stopping`).
        experiments: how claims are tested.
        label_tests: how labels are judged on unseen contexts, and which are sent back.
    """

    seed: int = 0
    max_rounds: int = 3
    experiments: ExperimentSettings = field(default_factory=ExperimentSettings)
    label_tests: LabelTestSettings = field(default_factory=LabelTestSettings)

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return {**asdict(self), "experiments": self.experiments.as_json()}
