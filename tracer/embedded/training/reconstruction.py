"""How well a transcoder stands in for the MLPs: per layer, and as a replacement of all of them at once."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training.corpus import TASKS, Split, sample
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder, replacement_run
from tracescribe.tracer.embedded.training.tiny_llama import Run, TinyLlama
from tracescribe.tracer.embedded.training.tokens import N_SPECIAL, encode, word_ids


@dataclass(frozen=True)
class Replacement:
    """The replacement model against the model.

    Attributes:
        kl, top1: mean Kullback-Leibler divergence in nats, and share of equal most probable words, over all words.
        answer_kl, answer_top1: the same at the words before the answers.
        answer_top1_by_task: task -> share.
    """

    kl: float
    top1: float
    answer_kl: float
    answer_top1: float
    answer_top1_by_task: dict[str, float]


@dataclass(frozen=True)
class Reconstruction:
    """Figures of one split.

    Attributes:
        samples: number of sentences.
        unexplained: per layer, fraction of variance unexplained.
        active: per layer, mean number of active features a word (L0).
        dead: per layer, share of features that never fire.
        live, frozen: replacement with attention and norms live, and frozen to the clean run's.
    """

    samples: int
    unexplained: tuple[float, ...]
    active: tuple[float, ...]
    dead: tuple[float, ...]
    live: Replacement
    frozen: Replacement


def _compare(clean: Tensor, replaced: Tensor, keep: Tensor, answers: Tensor, tasks: list[str]) -> Replacement:
    rows = torch.arange(len(clean))
    p, q = clean.log_softmax(-1), replaced.log_softmax(-1)
    divergence = (p.exp() * (p - q)).sum(-1)
    same = (clean.argmax(-1) == replaced.argmax(-1)).float()
    at_answer = same[rows, answers - 1]
    by_task = {
        task: float(at_answer[[i for i, t in enumerate(tasks) if t == task]].mean()) for task in sorted(set(tasks))
    }
    return Replacement(
        float(divergence[keep].mean()),
        float(same[keep].mean()),
        float(divergence[rows, answers - 1].mean()),
        float(at_answer.mean()),
        {task: by_task[task] for task in TASKS if task in by_task},
    )


def _by_layer(
    transcoder: CrossLayerTranscoder, run: Run, keep: Tensor
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    active = {layer: transcoder.activations(layer, x[keep]) for layer, x in enumerate(run.mlp_inputs)}
    unexplained: list[float] = []
    for layer, output in enumerate(run.mlp_outputs):
        y = output[keep]
        rebuilt = transcoder.written(active, layer) + transcoder.decoder_biases[layer]
        unexplained.append(float((y - rebuilt).pow(2).sum() / (y - y.mean(0)).pow(2).sum()))
    density = tuple(float((a > 0).float().sum(1).mean()) for a in active.values())
    dead = tuple(1 - float((a > 0).any(0).float().mean()) for a in active.values())
    return tuple(unexplained), density, dead


@torch.no_grad()
def measure_reconstruction(
    model: TinyLlama, transcoder: CrossLayerTranscoder, samples: int, seed: int, split: Split
) -> Reconstruction:
    """Reconstruct fresh sentences; `<bos>`, padding and the closing stop do not count."""
    rng = random.Random(seed)
    drawn = [sample(rng, split) for _ in range(samples)]
    ids, answers = encode(drawn, word_ids())
    keep = ids >= N_SPECIAL
    clean = model.run(ids)
    tasks = [one.task for one in drawn]
    live = replacement_run(model, transcoder, ids).logits
    frozen = replacement_run(model, transcoder, ids, clean).logits
    return Reconstruction(
        samples,
        *_by_layer(transcoder, clean, keep),
        _compare(clean.logits, live, keep, answers, tasks),
        _compare(clean.logits, frozen, keep, answers, tasks),
    )
