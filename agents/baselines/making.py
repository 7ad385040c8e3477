"""Baselines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.acdc import AcdcBaseline
from tracescribe.agents.baselines.attribution_profiles import ProfilesBaseline
from tracescribe.agents.baselines.common import BaselineProposer
from tracescribe.agents.baselines.eap_ig import EapIgBaseline
from tracescribe.agents.baselines.probe import ProbeBaseline
from tracescribe.agents.baselines.trivial import InfluenceBaseline, LayerBaseline, PositionBaseline, RandomBaseline
from tracescribe.agents.loop import LoopAgent
from tracescribe.agents.loop_settings import LoopSettings

PROPOSERS: Mapping[BaselineName, Callable[[], BaselineProposer]] = {
    "random": RandomBaseline,
    "influence": InfluenceBaseline,
    "position": PositionBaseline,
    "layer": LayerBaseline,
    "profiles": ProfilesBaseline,
    "acdc": AcdcBaseline,
    "eap-ig": EapIgBaseline,
    "probe": ProbeBaseline,
}
"""What thinks, by name."""


def make_baseline(name: BaselineName, settings: LoopSettings | None = None) -> LoopAgent:
    """A baseline with its default settings."""
    return LoopAgent(PROPOSERS[name](), settings or LoopSettings())
