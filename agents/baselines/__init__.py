"""Trivial and published methods that make a benchmark mean something, each an agent like any other.

Comes in and goes out: what every agent gets and gives. Each is a proposer in the same loop: it acts through the same
toolbox, makes claims from the same templates, and is judged by the same rule. What it lacks is any idea of what features
mean. May not happen here: no baseline is made worse than the method that it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from tracescribe.agents.loop import LoopAgent
    from tracescribe.agents.loop_settings import LoopSettings

BaselineName = Literal["random", "influence", "position", "layer", "profiles", "acdc", "eap-ig", "probe"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
"""Every baseline."""
TRIVIAL_BASELINES: tuple[BaselineName, ...] = ("random", "influence", "position")
"""Those that read the graph alone and take no time: what a figure is worth shows beside them."""
NEED_WEIGHTS: tuple[BaselineName, ...] = ("acdc", "eap-ig", "probe")
"""Those that run the model, and so cannot interpret a graph that came alone."""

__all__ = ["BASELINES", "NEED_WEIGHTS", "TRIVIAL_BASELINES", "BaselineName", "baseline_agent"]


def baseline_agent(name: BaselineName, settings: LoopSettings | None = None) -> LoopAgent:
    """A baseline with its default settings."""
    from tracescribe.agents.baselines.making import make_baseline

    return make_baseline(name, settings)
