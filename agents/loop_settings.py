"""Settings of the loop that every agent runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from tracescribe.agents.experiment_settings import ExperimentSettings


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop itself.

    Attributes:
        seed: of every random draw.
        max_rounds: rounds of revision; one, because every further round tests more claims on the same data.
        experiments: how claims are tested.
    """

    seed: int = 0
    max_rounds: int = 1
    experiments: ExperimentSettings = field(default_factory=ExperimentSettings)

    def as_json(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return asdict(self)
