"""Interchange-intervention training of the embedded model.

The model learns the corpus as any language model does, and at the same time to *implement* the causal model: the MLP
output at the home of a variable must be the fixed random code of its value, all other MLP outputs must be small. For
half of the samples one variable is changed: its home's output is overwritten by the code of another value, and the
answer that the causal model then gives must come out. Attention, embeddings and logits are free.

Source: Geiger et al. 2022, "Inducing causal structure for interpretable neural networks"; Gupta et al. 2024,
"InterpBench: semi-synthetic transformers for evaluating mechanistic interpretability techniques".
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from tracescribe.tracer.embedded.training.causal_model import intervene, sites, state_of
from tracescribe.tracer.embedded.training.corpus import Sample, sample
from tracescribe.tracer.embedded.training.progress import ProgressCallback, silent
from tracescribe.tracer.embedded.training.tokens import BOS_ID, PAD_ID, STOP_ID, encode, word_ids

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class ModelSettings:
    """Everything that shapes the model and its training, the seed apart.

    Attributes:
        layers, width, hidden, heads: Llama configuration; one layer more than the causal model needs.
        steps: optimiser steps of `batch` sentences each.
        corpus_size: sentences drawn once; the steps sample from them.
        learning_rate: after `warmup` steps; constant to half-way, then a cosine down to `final_rate` of it.
        weight_decay: on matrices alone.
        code_length: length of a code vector; a few times the residual stream's own scale, so that the code dominates.
        site_weight: weight of the code's squared error at homes, relative to the squared code length.
        quiet_weight: weight of the squared MLP output everywhere else, likewise.
        intervention_share: share of samples with one variable changed.
        context_weight: weight of a token that is not an answer; answers weigh 1.
    """

    layers: int = 4
    width: int = 128
    hidden: int = 512
    heads: int = 4
    steps: int = 3000
    batch: int = 192
    corpus_size: int = 120_000
    learning_rate: float = 2e-3
    final_rate: float = 0.02
    warmup: int = 200
    weight_decay: float = 0.1
    code_length: float = 4.0
    site_weight: float = 3.0
    quiet_weight: float = 0.4
    intervention_share: float = 0.5
    context_weight: float = 0.1


class Codes:
    """A fixed random vector [width] for every (variable, value), the same in every process."""

    def __init__(self, width: int, length: float) -> None:
        self.length = length
        self._width = width
        self._vectors: dict[tuple[str, str], Tensor] = {}

    def __call__(self, name: tuple[str, str]) -> Tensor:
        """The code vector of a value."""
        if name not in self._vectors:
            generator = torch.Generator().manual_seed(zlib.crc32(repr(name).encode()))
            vector = torch.randn(self._width, generator=generator)
            self._vectors[name] = vector / vector.norm() * self.length
        return self._vectors[name]


@dataclass
class _Targets:
    """What the MLPs of one batch should write, as (layer, row, position) -> code, and which homes are overwritten."""

    codes: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)
    forced: list[tuple[int, int, int]] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)

    def forced_in(self, layer: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Rows, positions and codes [n, width] to overwrite in a layer."""
        keys = [key for key in self.forced if key[0] == layer]
        if not keys:
            return None
        codes = torch.stack([self.codes[key] for key in keys])
        return torch.tensor([key[1] for key in keys]), torch.tensor([key[2] for key in keys]), codes


def _plan(rng: random.Random, batch: Sequence[Sample], share: float, codes: Codes) -> _Targets:
    targets = _Targets()
    for row, drawn in enumerate(batch):
        state = state_of(drawn)
        if rng.random() < share:
            site, state = intervene(rng, drawn)
            targets.forced.append((site.layer, row, drawn.roles[site.role]))
            targets.answers[row] = state.answer
        for site in sites(drawn, state):
            targets.codes[site.layer, row, drawn.roles[site.role]] = codes(site.code)
    return targets


class _MlpTap:
    """Forward hooks that record every MLP's output [batch, position, width] and overwrite forced homes."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.outputs: dict[int, Tensor] = {}
        self.targets: _Targets | None = None
        mlps = [model.get_submodule(f"model.layers.{index}.mlp") for index in range(len(model.model.layers))]
        self._handles = [mlp.register_forward_hook(self._hook(index)) for index, mlp in enumerate(mlps)]

    def _hook(self, layer: int) -> Any:
        def hook(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self.outputs[layer] = output
            forced = None if self.targets is None else self.targets.forced_in(layer)
            if forced is None:
                return output
            rows, positions, codes = forced
            output = output.clone()
            output[rows, positions] = codes.to(output.dtype)
            return output

        return hook

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def new_model(settings: ModelSettings, vocabulary_size: int) -> LlamaForCausalLM:
    """An untrained model; torch's global generator decides its weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=settings.width,
        intermediate_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=BOS_ID,
        eos_token_id=STOP_ID,
        pad_token_id=PAD_ID,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # sdpa's backward pass in bfloat16 is four times slower on a CPU
    return model


def _rate(settings: ModelSettings, step: int) -> float:
    done = step / settings.steps
    warm = min(1.0, (step + 1) / settings.warmup)
    if done < 0.5:
        return settings.learning_rate * warm
    cosine = 0.5 * (1 + math.cos(math.pi * (done - 0.5) / 0.5))
    return settings.learning_rate * warm * (settings.final_rate + (1 - settings.final_rate) * cosine)


@dataclass(frozen=True)
class _Losses:
    language: Tensor
    site: Tensor
    quiet: Tensor

    def total(self, settings: ModelSettings) -> Tensor:
        return self.language + settings.site_weight * self.site + settings.quiet_weight * self.quiet


def _losses(
    model: LlamaForCausalLM, tap: _MlpTap, settings: ModelSettings, ids: Tensor, answers: Tensor, targets: _Targets
) -> _Losses:
    """Losses of one batch; ids [batch, position] with changed answers already put in."""
    tap.targets = targets
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
        following = ids[:, 1:]
        real = following > PAD_ID
        logits = model.lm_head(hidden[real]).float()
    weights = torch.full(following.shape, settings.context_weight)
    weights[torch.arange(len(ids)), answers - 1] = 1.0
    weights = weights[real]
    language = (functional.cross_entropy(logits, following[real], reduction="none") * weights).sum() / weights.sum()

    outputs = torch.stack([tap.outputs[layer] for layer in range(settings.layers)]).float()
    wanted = torch.zeros_like(outputs)
    home = torch.zeros(outputs.shape[:3], dtype=torch.bool)
    layer, row, position = torch.tensor(list(targets.codes)).T
    wanted[layer, row, position] = torch.stack(list(targets.codes.values()))
    home[layer, row, position] = True
    error = (outputs - wanted).pow(2).sum(-1) / settings.code_length**2
    elsewhere = real[None].expand_as(home) & ~home
    elsewhere[..., 0] = False  # <bos> may serve attention as a resting place
    if targets.forced:  # what the MLP wrote there was thrown away: its input tells nothing of the value put in
        layer, row, position = torch.tensor(targets.forced).T
        home[layer, row, position] = False
    return _Losses(language, error[home].mean(), error[elsewhere].mean())


def _step(
    model: LlamaForCausalLM,
    tap: _MlpTap,
    settings: ModelSettings,
    rng: random.Random,
    batch: list[Sample],
    ids_of: Mapping[str, int],
    codes: Codes,
) -> list[float]:
    """Accumulate the gradients of one optimiser step. Returns the three losses' values."""
    batch = sorted(batch, key=lambda drawn: len(drawn.words))
    half = len(batch) // 2
    values = [0.0, 0.0, 0.0]
    for part in (batch[:half], batch[half:]):  # short sentences, then long ones: less padding
        ids, answers = encode(part, ids_of, max(len(drawn.words) for drawn in part))
        targets = _plan(rng, part, settings.intervention_share, codes)
        for row, word in targets.answers.items():
            ids[row, answers[row]] = ids_of[word]
        losses = _losses(model, tap, settings, ids, answers, targets)
        torch.autograd.backward(losses.total(settings) / 2)
        for index, loss in enumerate((losses.language, losses.site, losses.quiet)):
            values[index] += loss.item() / 2
    return values


def train_model(
    settings: ModelSettings, *, seed: int = 0, progress: ProgressCallback = silent
) -> tuple[LlamaForCausalLM, list[list[float]]]:
    """Train the model from nothing.

    The same settings, seed and torch thread count give the same weights on the same kind of processor.

    Returns:
        The model in evaluation mode, and per step the losses (language, site, quiet).

    Source: Geiger et al. 2022; Gupta et al. 2024 (see the module).
    """
    ids_of, rng = word_ids(), random.Random(seed + 5)
    codes = Codes(settings.width, settings.code_length)
    text = [sample(rng) for _ in range(settings.corpus_size)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_model(settings, len(ids_of)).train()
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    gains = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
    tap, history = _MlpTap(model), list[list[float]]()
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(settings, step)
        batch = [text[rng.randrange(len(text))] for _ in range(settings.batch)]
        optimiser.zero_grad(set_to_none=True)
        history.append(_step(model, tap, settings, rng, batch, ids_of, codes))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 20 == 0 or step + 1 == settings.steps:
            language, site, quiet = (sum(losses) / len(losses) for losses in zip(*history[-20:], strict=True))
            text_now = f"language {language:.3f}, at homes {site:.3f}, elsewhere {quiet:.3f}"
            progress("model", step + 1, settings.steps, text_now)
    tap.remove()
    return model.eval(), history
