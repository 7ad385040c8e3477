"""Activation functions of transcoders: from pre-activations to what a feature is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ActivationKind = Literal["relu", "jumprelu", "topk", "groupmax", "batchtopk"]


@dataclass(frozen=True)
class Activation:
    """One layer's activation function.

    Attributes:
        kind: `relu`; `jumprelu` (`pre * (pre > threshold)`, strict); `topk` (the k largest of each token);
            `groupmax` (the largest of each of k groups of neighbours); `batchtopk` (the k largest per token on
            average, over all tokens of one prompt).
        k: features per token for the last three, else 0.
        rectified: whether ReLU comes before the choice. circuit-tracer's TopK has none, so that a chosen value may be
            negative; sparsify, SAELens and BatchTopK have it.
    """

    kind: ActivationKind = "relu"
    k: int = 0
    rectified: bool = False

    def apply(self, pre: Tensor, threshold: Tensor | None = None) -> Tensor:
        """Activations, overwriting the pre-activations where that saves memory.

        Args:
            pre: `[..., n_tokens, n_features]`; its storage may be used for the result.
            threshold: `[n_features]` for `jumprelu`.
        """
        if self.kind == "jumprelu":
            assert threshold is not None
            return pre.mul_(pre > (threshold.clamp_min(0) if self.rectified else threshold))
        if self.kind == "relu" or self.rectified:
            pre = pre.relu_()
        if self.kind == "relu":
            return pre
        if self.kind == "batchtopk":
            return self._over_the_prompt(pre)
        if self.kind == "groupmax":
            values, places = pre.reshape(*pre.shape[:-1], self.k, -1).max(-1)
            places = places + torch.arange(self.k, device=pre.device) * (pre.shape[-1] // self.k)
        else:
            values, places = pre.topk(min(self.k, pre.shape[-1]), dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, places, values)

    def _over_the_prompt(self, pre: Tensor) -> Tensor:
        """The `k * n_tokens` largest of each prompt. Of equal values the earlier token and feature wins, and zeros are
        never chosen, so that the same prompt always gives the same features."""
        if pre.dim() == 1:
            return self._over_the_prompt(pre[None])[0]
        flat = pre.flatten(-2)
        n_chosen = min(self.k * pre.shape[-2], flat.shape[-1])
        if not n_chosen:
            return torch.zeros_like(pre)
        least = flat.topk(n_chosen, dim=-1).values[..., -1:]
        above, level = flat > least, flat == least
        room = n_chosen - above.sum(-1, keepdim=True)
        return (flat * (above | (level & (level.cumsum(-1) <= room)))).view(pre.shape)
