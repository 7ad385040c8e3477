"""The rows that the transcoder learns from: MLP inputs and outputs at the words of the training split."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training.corpus import TASKS, sample
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.tokens import N_SPECIAL, encode, word_ids

# Most words leave all MLPs almost silent. A row is kept with a probability that grows with what its MLPs write, up to
# this quantile, so that a step sees mostly rows from which something can be learnt; quiet rows stay at the floor.
_LOUD_QUANTILE = 0.6
_QUIET_FLOOR = 0.05
_BATCH = 498  # a multiple of the six tasks


@dataclass(frozen=True)
class Rows:
    """MLP inputs and outputs, both [rows, layers, width]."""

    inputs: Tensor
    outputs: Tensor


@torch.no_grad()
def collect_rows(model: TinyLlama, sentences: int, seed: int) -> Rows:
    """Run training sentences, tasks in equal shares, and keep the rows where MLPs write something.

    No latent enters: rows are chosen by the size of what the model itself computes.
    """
    rng, ids_of = random.Random(seed), word_ids()
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = list[Tensor](), list[Tensor]()
    for _ in range(max(1, sentences // _BATCH)):
        ids, _ = encode([sample(rng, "train", task) for task in TASKS * (_BATCH // len(TASKS))], ids_of)
        keep = ids >= N_SPECIAL
        run = model.run(ids)
        loudness = torch.stack(run.mlp_outputs).pow(2).sum((0, -1))
        chance = (loudness / loudness[keep].quantile(_LOUD_QUANTILE)).clamp(_QUIET_FLOOR, 1.0)
        keep &= torch.rand(keep.shape, generator=generator) < chance
        inputs.append(torch.stack([x[keep] for x in run.mlp_inputs], 1))
        outputs.append(torch.stack([y[keep] for y in run.mlp_outputs], 1))
    return Rows(torch.cat(inputs), torch.cat(outputs))
