"""How often the model continues a prompt rightly, and how closely it implements the causal model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tracescribe.tracer.embedded.training.causal_model import sites, state_of
from tracescribe.tracer.embedded.training.corpus import TASKS, Sample, Split, is_strict_city, sample
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.tokens import N_SPECIAL, encode, word_ids
from tracescribe.tracer.embedded.training.train_model import Codes


@dataclass(frozen=True)
class SplitAccuracy:
    """Share of right answers, and of right answers to two-hop questions about cities never seen in any (or none)."""

    samples: int
    right: float
    strict: float | None
    strict_samples: int


@torch.no_grad()
def _right(model: TinyLlama, drawn: Sequence[Sample]) -> list[bool]:
    ids, answers = encode(drawn, word_ids())
    rows = torch.arange(len(ids))
    top = model.run(ids).logits[rows, answers - 1].argmax(-1)
    return [bool(hit) for hit in (top == ids[rows, answers]).tolist()]


def measure_accuracy(model: TinyLlama, samples: int, seed: int, split: Split) -> dict[str, SplitAccuracy]:
    """Accuracy per task on fresh samples of a split."""
    measured: dict[str, SplitAccuracy] = {}
    for task in TASKS:
        rng = random.Random(seed)
        drawn = [sample(rng, split, task) for _ in range(samples)]
        right = _right(model, drawn)
        strict = [
            hit
            for one, hit in zip(drawn, right, strict=True)
            if one.kind == "two_hop" and is_strict_city(one.value("city"))
        ]
        share = sum(strict) / len(strict) if strict else None
        measured[task] = SplitAccuracy(samples, sum(right) / samples, share, len(strict))
    return measured


@dataclass(frozen=True)
class Implementation:
    """Squared distance from the causal model's codes, as a share of a code's squared length.

    Attributes:
        missed: variable -> mean at its homes.
        elsewhere: per layer, mean squared MLP output at all other words, where it should be zero.
    """

    missed: dict[str, float]
    elsewhere: tuple[float, ...]


@torch.no_grad()
def measure_implementation(model: TinyLlama, codes: Codes, samples: int, seed: int) -> Implementation:
    """Compare the MLP outputs of held-out prompts with the codes that the causal model asks for."""
    rng = random.Random(seed)
    drawn = [sample(rng, "held_out") for _ in range(samples)]
    ids, _ = encode(drawn, word_ids())
    run = model.run(ids)
    missed: dict[str, list[float]] = {}
    elsewhere = [ids >= N_SPECIAL for _ in range(model.n_layers)]
    for row, one in enumerate(drawn):
        for site in sites(one, state_of(one)):
            position = one.roles[site.role]
            error = (run.mlp_outputs[site.layer][row, position] - codes(site.code)).pow(2).sum() / codes.length**2
            missed.setdefault(site.code[0], []).append(float(error))
            elsewhere[site.layer][row, position] = False
    noise = tuple(
        float(output[mask].pow(2).sum(-1).mean()) / codes.length**2
        for output, mask in zip(run.mlp_outputs, elsewhere, strict=True)
    )
    return Implementation({name: sum(errors) / len(errors) for name, errors in sorted(missed.items())}, noise)
