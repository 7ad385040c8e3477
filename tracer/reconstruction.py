"""How well transcoders stand in for a model's MLPs: each layer by itself, and all of them together.

Two passes over the same windows of tokens. In the clean pass every layer's reconstruction is compared with what the MLP
really wrote, so that each layer is judged on the model's own inputs. In the replaced pass the reconstructions take the
MLPs' place everywhere at once, live: features are computed from the stream that the replacements below have already
changed. Masked leading positions (BOS) keep their MLPs in both passes and count in no figure.

Numbers of a batch are added up in float64 and dropped; memory depends on the batch, not on the length of the text.

Source: fraction of variance unexplained and loss of the replaced model as in Dunefsky et al. 2024 (arXiv 2406.11944) and
Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tracescribe.tracer.errors import PromptError, SettingError
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.module_hooks import Hook, hooked
from tracescribe.tracer.transcoders import TranscoderSet, check_fit

LOGIT_BYTES = 256 << 20
"""Logits of one batch in float32, at most, beside those of the other pass: a vocabulary of 256,000 at 256 tokens."""
DECODER_BYTES = 128 << 20
"""Decoder rows that are held at once."""
_ROWS_AT_ONCE = 64  # positions whose log-probabilities are held in float64

Progress = Callable[[str, int, int], None]
"""Called with a stage, the number of tokens done, and 0 where their total is not known."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """How to measure.

    Attributes:
        batch_tokens: tokens per forward pass, at most; less where the vocabulary is large. Only windows of one length
            share a pass, so that none is padded.
        max_tokens: stop after this many tokens; None takes all.
        replaced: whether the replaced pass is made, or only the clean one.
    """

    batch_tokens: int = 2048
    max_tokens: int | None = None
    replaced: bool = True

    def __post_init__(self) -> None:
        if self.batch_tokens < 1 or (self.max_tokens is not None and self.max_tokens < 1):
            raise SettingError(
                "reconstruction settings: batch_tokens and max_tokens must be at least 1, found "
                f"{self.batch_tokens} and {self.max_tokens}"
            )


@dataclass(frozen=True)
class LayerReconstruction:
    """One layer, judged on the model's own inputs.

    Attributes:
        layer: the layer written to.
        n_features: features that read this layer.
        fvu: fraction of variance unexplained: squared error over the squared distance of what the MLP writes from its
            mean over tokens, summed over tokens and dimensions; None where the MLP writes the same everywhere.
        cosine: between reconstruction and truth, mean over tokens.
        l0: features of this layer that fire per token.
        dead: share of this layer's features that never fired.
    """

    layer: int
    n_features: int
    fvu: float | None
    cosine: float
    l0: float
    dead: float


@dataclass(frozen=True)
class ReplacedModel:
    """The model with every MLP replaced at once, against the model itself; means over positions.

    Attributes:
        kl: Kullback-Leibler divergence of the replaced model's next-token distribution from the model's, in nats.
        top1_agreement: share of positions at which both find the same token most probable.
        loss, loss_replaced: cross-entropy of the text's next token, in nats; None where no window has one to predict.
    """

    kl: float
    top1_agreement: float
    loss: float | None
    loss_replaced: float | None

    @property
    def loss_increase(self) -> float | None:
        """Cross-entropy that the replacement costs, in nats."""
        return None if self.loss is None or self.loss_replaced is None else self.loss_replaced - self.loss


@dataclass(frozen=True)
class Reconstruction:
    """How well a set stands in for the MLPs on one text.

    Attributes:
        n_windows: windows read.
        n_tokens: positions that count, masked ones left out.
        layers: in order.
        replaced: None where the replaced pass was not made.
    """

    n_windows: int
    n_tokens: int
    layers: tuple[LayerReconstruction, ...]
    replaced: ReplacedModel | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        replaced = None
        if self.replaced is not None:
            replaced = asdict(self.replaced) | {"loss_increase": self.replaced.loss_increase}
        return asdict(self) | {"layers": [asdict(layer) for layer in self.layers], "replaced": replaced}


@torch.no_grad()
def reconstruct(
    model: LanguageModel,
    transcoders: TranscoderSet,
    windows: Iterable[NDArray[np.integer[Any]] | Tensor],
    settings: ReconstructionSettings | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Measure a set on windows of tokens.

    Args:
        model: the model.
        transcoders: a set that fits it.
        windows: token ids `[n_tokens]` of each window, lead (BOS) included; read one batch at a time.
        settings: how to measure; the defaults if None.
        progress: called after each batch.

    Raises:
        TranscoderMismatchError: the set does not fit the model.
        PromptError: no window has a token beyond the masked ones.
    """
    settings = settings or ReconstructionSettings()
    check_fit(model, transcoders)
    limit = max(1, min(settings.batch_tokens, LOGIT_BYTES // (4 * model.vocab_size)))
    layers = [_LayerSums(n, model.d_model) for n in transcoders.n_features]
    outputs = _OutputSums()
    n_windows = 0
    for tokens, zero in _batches(model, windows, limit, settings.max_tokens):
        clean = _Pass(model, transcoders, zero, layers).run(tokens)
        if settings.replaced:
            outputs.add(tokens, clean, _Pass(model, transcoders, zero, None).run(tokens), zero)
        n_windows += len(tokens)
        if progress is not None:
            progress("reconstruction", layers[0].n_tokens, settings.max_tokens or 0)
    if not n_windows:
        raise PromptError("the text has no token to measure on beyond the masked leading ones; give a longer text")
    figures = tuple(sums.figures(layer) for layer, sums in enumerate(layers))
    replaced = outputs.figures() if settings.replaced else None
    return Reconstruction(n_windows, layers[0].n_tokens, figures, replaced)


def _batches(
    model: LanguageModel, windows: Iterable[NDArray[np.integer[Any]] | Tensor], limit: int, max_tokens: int | None
) -> Iterator[tuple[Tensor, int]]:
    """Windows of one length and one number of masked positions together, `[n, n_pos]`, and that number."""
    waiting: dict[tuple[int, int], list[Tensor]] = {}
    held = taken = 0
    for window in windows:
        tokens = torch.as_tensor(window).to(torch.int64)
        zero = model.zero_positions_of(tokens)
        if len(tokens) <= zero:
            continue
        kept = waiting.setdefault((len(tokens), zero), [])
        kept.append(tokens)
        taken += len(tokens) - zero
        held += len(tokens)
        if len(tokens) * (len(kept) + 1) > limit:
            held -= len(tokens) * len(kept)
            yield torch.stack(waiting.pop((len(tokens), zero))), zero
        elif held > 16 * limit:  # many lengths, few windows of each: give the largest group up
            largest = max(waiting, key=lambda key: key[0] * len(waiting[key]))
            held -= largest[0] * len(waiting[largest])
            yield torch.stack(waiting.pop(largest)), largest[1]
        if max_tokens is not None and taken >= max_tokens:
            break
    for (_, zero), kept in waiting.items():
        yield torch.stack(kept), zero


class _LayerSums:
    """What is kept of one layer: counts and sums, in float64."""

    def __init__(self, n_features: int, d_model: int) -> None:
        self.n_tokens = 0
        self.mean = torch.zeros(d_model, dtype=torch.float64)
        self.spread = 0.0  # squared distance from the mean
        self.error = 0.0
        self.cosine = 0.0
        self.n_fired = 0
        self.ever_fired = torch.zeros(n_features, dtype=torch.bool)

    def add_features(self, acts: Tensor) -> None:
        """Count what fired: `[n, n_features]`."""
        fired = acts != 0
        self.n_fired += int(fired.sum())
        self.ever_fired |= fired.any(0).cpu()

    def add_written(self, truth: Tensor, found: Tensor) -> None:
        """Compare what the MLP wrote with its reconstruction, `[n, d_model]` each."""
        truth, found = truth.double().cpu(), found.double().cpu()
        # the spread about a joint mean of two groups (Chan et al. 1979): sums of squares would cancel
        n, mean = len(truth), truth.mean(0)
        step, together = mean - self.mean, self.n_tokens + n
        self.spread += float((truth - mean).pow(2).sum() + step.pow(2).sum() * self.n_tokens * n / together)
        self.mean += step * n / together
        self.n_tokens = together
        self.error += float((truth - found).pow(2).sum())
        self.cosine += float(torch.nn.functional.cosine_similarity(truth, found, dim=1).sum())

    def figures(self, layer: int) -> LayerReconstruction:
        """The layer's figures."""
        return LayerReconstruction(
            layer=layer,
            n_features=len(self.ever_fired),
            fvu=self.error / self.spread if self.spread else None,
            cosine=self.cosine / self.n_tokens,
            l0=self.n_fired / self.n_tokens,
            dead=1.0 - float(self.ever_fired.double().mean()),
        )


class _OutputSums:
    """Sums over positions of what the two passes predict."""

    def __init__(self) -> None:
        self.n_positions = self.n_predicted = 0
        self.kl = self.agree = self.loss = self.loss_replaced = 0.0

    def add(self, tokens: Tensor, clean: Tensor, replaced: Tensor, zero: int) -> None:
        """Compare logits `[n, n_pos, vocab]` of the two passes at all positions that are not masked."""
        for row, ours, theirs in zip(tokens.to(clean.device), clean[:, zero:], replaced[:, zero:], strict=True):
            following = row[zero + 1 :]
            for start in range(0, len(ours), _ROWS_AT_ONCE):
                p = ours[start : start + _ROWS_AT_ONCE].double().log_softmax(-1)
                q = theirs[start : start + _ROWS_AT_ONCE].double().log_softmax(-1)
                # an output that one of them gives no probability at all adds nothing where p is 0
                self.kl += float(torch.where(p.exp() > 0, p.exp() * (p - q), 0.0).sum())
                self.agree += float((p.argmax(-1) == q.argmax(-1)).sum())
                self.n_positions += len(p)
                wanted = following[start : start + _ROWS_AT_ONCE, None]
                self.loss -= float(p[: len(wanted)].gather(1, wanted).sum())
                self.loss_replaced -= float(q[: len(wanted)].gather(1, wanted).sum())
                self.n_predicted += len(wanted)

    def figures(self) -> ReplacedModel:
        """The means."""
        n, predicted = self.n_positions, self.n_predicted
        return ReplacedModel(
            kl=self.kl / n,
            top1_agreement=self.agree / n,
            loss=self.loss / predicted if predicted else None,
            loss_replaced=self.loss_replaced / predicted if predicted else None,
        )


class _Pass:
    """One forward pass in which every layer's reconstruction is computed from its live input.

    With `sums` the truth is compared and left as it is; without them the reconstruction takes its place.
    """

    def __init__(
        self, model: LanguageModel, transcoders: TranscoderSet, zero: int, sums: list[_LayerSums] | None
    ) -> None:
        self.model, self.transcoders, self.zero, self.sums = model, transcoders, zero, sums
        self.partial: dict[int, Tensor] = {}  # what features of layers done so far write to layers to come

    def run(self, tokens: Tensor) -> Tensor:
        """Logits `[n, n_pos, vocab]`."""
        hooks: list[tuple[nn.Module, Hook]] = []
        for layer, block in enumerate(self.model.architecture.blocks):
            hooks.append((block.mlp_norm.module, self._read(layer)))
            hooks.append((block.write_modules[self.transcoders.writes], self._write(layer)))
        with hooked(hooks):
            return cast(Tensor, cast(Any, self.model.hf)(tokens.to(self.model.device), use_cache=False).logits)

    def _read(self, layer: int) -> Hook:
        block, transcoders = self.model.architecture.blocks[layer], self.transcoders

        def hook(x: Tensor | None, output: Any) -> None:
            assert x is not None, "norms are called with a positional input"
            value = block.read(transcoders.reads, x.to(self.model.compute_dtype)).to(transcoders.dtype)
            acts = transcoders.encode(layer, value)[:, self.zero :]
            value = value[:, self.zero :]
            if self.sums is not None:
                self.sums[layer].add_features(acts.flatten(0, 1))
            self._write_features(layer, acts)
            constant = transcoders.decoder_bias(layer).expand_as(value)
            weight = transcoders.skip_weight(layer)
            self._add(layer, constant if weight is None else constant + value @ weight.T)

        return hook

    def _write_features(self, layer: int, acts: Tensor) -> None:
        """Add the decoders of what fired, `[n, n_pos, n_features]`, to every layer that they write to."""
        fired = (acts != 0).flatten(0, 1).any(0).nonzero()[:, 0]
        n_written = self.transcoders.n_written(layer)
        at_once = max(1, DECODER_BYTES // (n_written * self.transcoders.d_model * self.transcoders.dtype.itemsize))
        for features in torch.split(fired, at_once):
            rows = self.transcoders.decoder_rows(layer, features)
            chosen = acts[..., features]
            for k in range(n_written):
                self._add(layer + k, chosen @ rows[:, k])

    def _add(self, layer: int, value: Tensor) -> None:
        self.partial[layer] = self.partial[layer] + value if layer in self.partial else value

    def _write(self, layer: int) -> Hook:
        def hook(x: Tensor | None, output: Any) -> Any:
            found = self.partial.pop(layer)
            if self.sums is not None:
                self.sums[layer].add_written(output[:, self.zero :].flatten(0, 1), found.flatten(0, 1))
                return None
            replaced = output.clone()
            replaced[:, self.zero :] = found.to(output.dtype)
            return replaced

        return hook
