"""How to trace, apart from the tracing: whoever reads the settings that a graph file tells needs no tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.tracer.logit_targets import TargetSpec


@dataclass(frozen=True)
class AttributionSettings:
    """How to trace.

    Attributes:
        max_n_logits: most output tokens that become nodes.
        desired_logit_probability: fewer are taken where the most probable ones reach this together.
        batch_size: targets per sweep. With a node budget it is also part of the result, as `update_interval` is.
        max_feature_nodes: node budget: only so many features are kept, the most influential first; None keeps all.
        update_interval: with a budget, influence is estimated anew after this many batches.
        zero_positions: leading positions whose features and errors are set to zero (BOS); None takes the model's rule.
        target_tokens: output tokens to take instead of the most probable ones; empty for the rule above.
        targets: targets of any form (see `logit_targets`), after those: token ids, texts, or weighted tokens.
        max_memory: bytes that the process may hold; blocks are cut to fit, and what cannot fit is refused before the
            sweep. None: most of what the machine has free.
    """

    max_n_logits: int = 10
    desired_logit_probability: float = 0.95
    batch_size: int = 256
    max_feature_nodes: int | None = None
    update_interval: int = 4
    zero_positions: int | None = None
    target_tokens: tuple[int, ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    max_memory: int | None = None

    def __post_init__(self) -> None:
        at_least_one = ("max_n_logits", "batch_size", "update_interval", "max_feature_nodes", "max_memory")
        faults = [
            f"{name} is {v}, expected 1 or more"
            for name in at_least_one
            if (v := getattr(self, name)) is not None and v < 1
        ]
        if not 0 < self.desired_logit_probability <= 1:
            faults.append(f"desired_logit_probability is {self.desired_logit_probability}, expected above 0, at most 1")
        if self.zero_positions is not None and self.zero_positions < 0:
            faults.append(f"zero_positions is {self.zero_positions}, expected 0 or more")
        if len(set(self.target_tokens)) < len(self.target_tokens):
            faults.append(f"target_tokens {list(self.target_tokens)} repeats a token")
        if faults:
            raise SettingError(f"attribution settings: {'; '.join(faults)}")
