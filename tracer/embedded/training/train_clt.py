"""Training of the cross-layer transcoder, unsupervised: it sees MLP inputs and outputs, never a latent variable.

1. Prototypes: every distinct MLP output of a layer gets a feature (see `prototypes`).
2. Remainders: what those leave unexplained is clustered again, which mostly finds what single words write.
3. Joint training: all encoders and decoders, now writing into later layers too, against the MLP outputs, with the
   one-sided prototype loss holding every feature to its own rows.
4. Features that explain next to nothing are dropped, and the rest is trained on.

Source: the architecture is that of Ameisen et al. 2025, "Circuit tracing", with the JumpReLU of Rajamanoharan et al.
2024; the prototype start is our own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder
from tracescribe.tracer.embedded.training.progress import ProgressCallback, silent
from tracescribe.tracer.embedded.training.prototypes import (
    Clusters,
    PrototypeSettings,
    RowDraw,
    find_clusters,
    fit_encoders,
    one_sided_loss,
)
from tracescribe.tracer.embedded.training.rows import Rows, collect_rows
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama

STAGE = "transcoder"


@dataclass(frozen=True)
class TranscoderSettings:
    """Everything that shapes the transcoder, the seed apart.

    Attributes:
        sentences: training sentences to collect rows from.
        first: how the first prototypes of a layer are found.
        remainder: how a remainder is clustered; more forgiving, since it is smaller and noisier.
        remainder_rounds: how often.
        most_first, most_remainder: most features that a round may add to a layer.
        joint_steps: steps of joint training, on `batch` rows each; a third of them after the drop.
        encoder_rate, decoder_rate: learning rates, falling to nothing over the last 60 % of a phase.
        cluster_weight: weight of the one-sided prototype loss beside the reconstruction.
        drop_below: a feature of a remainder is dropped if what it writes carries less than this share of what an
            average prototype of its layer writes (summed squares over rows), or if it fires on fewer than `smallest`
            rows; a prototype only if it never fires.
        smallest: see `drop_below`.
    """

    sentences: int = 30_000
    first: PrototypeSettings = field(default_factory=PrototypeSettings)
    remainder: PrototypeSettings = field(
        default_factory=lambda: PrototypeSettings(
            loud=0.5, novelty=0.6, purity=0.6, steps=500, smallest=8, quiet_floor=0.1
        )
    )
    remainder_rounds: int = 2
    most_first: int = 1500
    most_remainder: int = 60
    joint_steps: int = 2000
    batch: int = 1024
    encoder_rate: float = 1e-3
    decoder_rate: float = 2e-3
    cluster_weight: float = 1.0
    drop_below: float = 0.02
    smallest: int = 8


@dataclass
class _Layer:
    """One layer in training. Activations are in units of the usual coefficient: about 1 where a feature is on."""

    encoder: Tensor
    bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    clusters: Clusters | None = None

    def parameters(self) -> tuple[Tensor, ...]:
        return self.encoder, self.bias, self.decoder, self.decoder_bias


def _quiet_mean(outputs: Tensor, loud_share: float) -> Tensor:
    """Mean output where the layer is silent: what it writes when it has nothing to say [width]."""
    lengths = outputs.norm(dim=1)
    quiet = lengths < loud_share * lengths.quantile(0.95)
    return outputs[quiet if bool(quiet.any()) else slice(None)].mean(0)


class _Trainer:
    """Carries rows, generator and settings through the phases."""

    def __init__(self, rows: Rows, settings: TranscoderSettings, seed: int, progress: ProgressCallback) -> None:
        self.settings, self.progress = settings, progress
        self.generator = torch.Generator().manual_seed(seed)
        self.input_scale = rows.inputs.pow(2).mean((0, 2)).sqrt()
        self.inputs = rows.inputs / self.input_scale[None, :, None]
        self.outputs = rows.outputs
        self.n_layers = rows.inputs.shape[1]
        lengths = self.outputs[:100_000].norm(dim=2)
        self.loud = float(lengths.quantile(0.95, dim=0).max())
        rounds = settings.first.steps + settings.remainder_rounds * settings.remainder.steps
        self.total = rounds * self.n_layers + settings.joint_steps
        self.done = 0

    def tick(self, text: str) -> Callable[[int], None]:
        base = self.done
        return lambda steps: self.progress(STAGE, base + steps, self.total, text)

    def start_layer(self, layer: int) -> _Layer:
        """Prototypes of a layer and of its remainders."""
        settings, inputs = self.settings, self.inputs[:, layer]
        mean = _quiet_mean(self.outputs[:, layer], settings.first.loud)
        rest = self.outputs[:, layer] - mean
        encoders, biases, decoders, first = list[Tensor](), list[Tensor](), list[Tensor](), None
        plans = [(settings.first, settings.most_first)]
        plans += [(settings.remainder, settings.most_remainder)] * settings.remainder_rounds
        for number, (how, most) in enumerate(plans):
            clusters = find_clusters(rest, how, most, floor=self.loud)
            encoder, bias = fit_encoders(inputs, clusters, how, self.generator, self.tick(f"layer {layer}"))
            self.done += how.steps
            decoder = clusters.directions * clusters.lengths[:, None]
            pre = functional.linear(inputs, encoder, bias)
            rest = rest - (pre * (pre > how.threshold)) @ decoder
            encoders, biases, decoders = [*encoders, encoder], [*biases, bias], [*decoders, decoder]
            first = clusters if number == 0 and len(encoder) else first
        stacked = torch.cat(decoders)
        if not len(stacked):  # a layer that never writes anything; the format wants a feature, so it gets a silent one
            silent_encoder, silent_bias = torch.zeros(1, inputs.shape[1]), -torch.ones(1)
            encoders, biases, stacked = [silent_encoder], [silent_bias], torch.zeros(1, inputs.shape[1])
        decoder = torch.zeros(len(stacked), self.n_layers - layer, stacked.shape[1])
        decoder[:, 0] = stacked
        return _Layer(torch.cat(encoders), torch.cat(biases), decoder, mean, first)

    def active(self, layers: list[_Layer], inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Pre-activations and activations per layer for inputs [rows, layers, width]."""
        threshold = self.settings.first.threshold
        pre = [functional.linear(inputs[:, i], layer.encoder, layer.bias) for i, layer in enumerate(layers)]
        return pre, [h * (h > threshold) for h in pre]

    def train(self, layers: list[_Layer], steps: int) -> None:
        """Train all layers jointly, in place."""
        settings = self.settings
        for layer in layers:
            for parameter in layer.parameters():
                parameter.requires_grad_(True)
        encoders = [p for layer in layers for p in (layer.encoder, layer.bias)]
        decoders = [p for layer in layers for p in (layer.decoder, layer.decoder_bias)]
        draws = [RowDraw(layer.clusters.owner, self.generator) for layer in layers if layer.clusters is not None]
        rates = (settings.encoder_rate, settings.decoder_rate)
        optimiser = torch.optim.Adam([{"params": encoders}, {"params": decoders}], betas=(0.9, 0.99))
        for step in range(steps):
            warmth = min(1.0, (step + 1) / 100, (steps - step) / (0.6 * steps))
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * warmth
            picked = torch.cat([draw(settings.batch // len(draws)) for draw in draws])
            error, cluster_loss, density = self._losses(layers, picked)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(error + settings.cluster_weight * cluster_loss)
            optimiser.step()
            if (step + 1) % 50 == 0 or step + 1 == steps:
                text = f"error {float(error.detach()):.4f}, {density:.2f} features a row"
                self.progress(STAGE, self.done + step + 1, self.total, text)
        self.done += steps
        for layer in layers:
            for parameter in layer.parameters():
                parameter.requires_grad_(False)

    def _losses(self, layers: list[_Layer], picked: Tensor) -> tuple[Tensor, Tensor, float]:
        inputs = self.inputs[picked]
        inputs = inputs + self.settings.first.noise * torch.randn(inputs.shape, generator=self.generator)
        pre, active = self.active(layers, inputs)
        error, cluster_loss = torch.zeros(()), torch.zeros(())
        for target, layer in enumerate(layers):
            rebuilt = layer.decoder_bias
            for source in range(target + 1):
                rebuilt = rebuilt + active[source] @ layers[source].decoder[:, target - source]
            error = error + (self.outputs[picked, target] - rebuilt).pow(2).sum(1).mean() / self.loud**2
            if layer.clusters is not None:
                own = pre[target][:, : len(layer.clusters.directions)]
                cluster_loss = cluster_loss + one_sided_loss(own, layer.clusters, picked, self.settings.first)
        return error, cluster_loss, sum(float((a > 0).float().sum(1).mean()) for a in active)

    @torch.no_grad()
    def drop_idle(self, layers: list[_Layer]) -> None:
        """Remove features that explain next to nothing, in place."""
        energy = [torch.zeros(len(layer.encoder)) for layer in layers]
        fired = [torch.zeros(len(layer.encoder)) for layer in layers]
        for part in torch.split(self.inputs, 16_384):
            for index, active in enumerate(self.active(layers, part)[1]):
                energy[index] += active.pow(2).sum(0)
                fired[index] += (active > 0).sum(0)
        for index, layer in enumerate(layers):
            written = energy[index] * layer.decoder.flatten(1).pow(2).sum(1)
            clusters = layer.clusters
            if clusters is None or not len(written):
                continue
            usual = written[: len(clusters.directions)].median()
            keep = (written >= self.settings.drop_below * usual) & (fired[index] >= self.settings.smallest)
            keep[: len(clusters.directions)] = fired[index][: len(clusters.directions)] > 0
            layer.clusters = clusters.kept(keep[: len(clusters.directions)])  # prototypes stand in front
            layer.encoder, layer.bias, layer.decoder = layer.encoder[keep], layer.bias[keep], layer.decoder[keep]

    @torch.no_grad()
    def finish(self, layers: list[_Layer]) -> CrossLayerTranscoder:
        """Fold the scales: raw model units, decoders of unit length, activations in residual-stream units."""
        lengths = [layer.decoder.flatten(1).norm(dim=1).clamp(min=1e-6) for layer in layers]
        scales = [n / self.input_scale[i] for i, n in enumerate(lengths)]
        return CrossLayerTranscoder(
            tuple(layer.encoder * scale[:, None] for layer, scale in zip(layers, scales, strict=True)),
            tuple(layer.bias * n for layer, n in zip(layers, lengths, strict=True)),
            tuple(self.settings.first.threshold * n for n in lengths),
            tuple(layer.decoder / n[:, None, None] for layer, n in zip(layers, lengths, strict=True)),
            tuple(layer.decoder_bias for layer in layers),
        )


def train_transcoder(
    model: TinyLlama, settings: TranscoderSettings, *, seed: int = 0, progress: ProgressCallback = silent
) -> CrossLayerTranscoder:
    """Train the transcoder of a model from nothing.

    The same model, settings, seed and thread count give the same transcoder. Rows come from the training split, drawn
    with a seed of their own.
    """
    rows = collect_rows(model, settings.sentences, seed + 3)
    trainer = _Trainer(rows, settings, seed, progress)
    layers = [trainer.start_layer(layer) for layer in range(trainer.n_layers)]
    early = settings.joint_steps * 2 // 3
    trainer.train(layers, early)
    trainer.drop_idle(layers)
    trainer.train(layers, settings.joint_steps - early)
    return trainer.finish(layers)
