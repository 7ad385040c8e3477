"""A second implementation of attribution, to compare the tracer with: Hugging Face's own forward pass, differentiated.

It shares no code with the tracer: models and transcoders are read from their files here. Two passes: a clean one that
records patterns, norm inputs and what the MLPs write, and one in which those are constants, so that `torch.autograd`
gives every edge as a gradient times a source vector. The second pass runs one copy of the prompt for every target, which
owns the gradients of its row.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tests.tracer.oracle_passes import Parts, frozen_pass, open_hugging_face, read, record
from tests.tracer.oracle_transcoders import OracleTranscoders, read_transcoders

__all__ = ["OracleGraph", "open_hugging_face", "read_transcoders", "read_values", "trace_by_autograd"]


def read_values(hf: nn.Module, reads: str, tokens: Tensor) -> list[Tensor]:
    """What transcoders that read at a point see of a prompt, by layer, `[n_pos, d_model]` each."""
    parts = Parts(hf, "mlp.hook_out")
    clean = record(hf, parts, tokens)
    return [read(norm, clean.norm_inputs[norm], reads) for norm in parts.mlp_norms]


@dataclass(frozen=True, eq=False)
class OracleGraph:
    """What the tracer should find.

    Attributes:
        active: layer, position, feature of each active feature, sorted, `[n_active, 3]`.
        activations: `[n_active]`.
        errors: `[n_layers, n_pos, d_model]`.
        logit_tokens, logit_probabilities: `[n_logits]`.
        logits: of the last position, `[vocab_size]`.
        adjacency: rows are targets, columns sources; active features, errors (layer-major), tokens, logits.
        values: what each target sums to: a feature's pre-activation, a logit over the mean logit (before any
            soft-cap); NaN for errors and tokens, `[n_nodes]`.
        frozen_values: the same in the frozen pass: equal but for rounding, or the frozen pass is not the model.
    """

    active: Tensor
    activations: Tensor
    errors: Tensor
    logit_tokens: Tensor
    logit_probabilities: Tensor
    logits: Tensor
    adjacency: Tensor
    values: Tensor
    frozen_values: Tensor

    @property
    def bias(self) -> Tensor:
        """What reaches each target from no node, `[n_nodes]`; NaN for errors and tokens."""
        return self.values - self.adjacency.sum(1)


def trace_by_autograd(
    hf: nn.Module,
    transcoders: OracleTranscoders,
    tokens: Tensor,
    *,
    zero_positions: int = 1,
    max_n_logits: int = 10,
    desired_logit_probability: float = 0.95,
) -> OracleGraph:
    """Every edge of a prompt, without pruning or a node budget.

    Args:
        hf: from `open_hugging_face`.
        transcoders: from `read_transcoders`.
        tokens: `[n_pos]`, taken as they are.
        zero_positions: leading positions without features and errors.
        max_n_logits: most logit nodes.
        desired_logit_probability: fewer where the most probable ones reach this together.
    """
    parts = Parts(hf, transcoders.writes)
    clean = record(hf, parts, tokens)
    n_layers, n_pos = len(parts.layers), len(tokens)
    pre, acts, written, errors = [], [], [], []
    for n, layer in enumerate(transcoders.layers):
        x = read(parts.mlp_norms[n], clean.norm_inputs[parts.mlp_norms[n]], transcoders.reads)
        before, after = layer.encode(x)
        after[:zero_positions] = 0
        pre.append(before)
        acts.append(after)
        written.append(clean.written[n])
        reconstruction = layer.decoder_bias.expand(n_pos, -1).clone()
        for below in range(n + 1):
            decoder = transcoders.layers[below].decoder
            if n - below < decoder.shape[1]:
                reconstruction += acts[below] @ decoder[:, n - below]
        if layer.skip is not None:
            reconstruction += x @ layer.skip.T
        errors.append(written[n] - reconstruction)
        errors[n][:zero_positions] = 0
    active = torch.tensor([[n, p, f] for n, a in enumerate(acts) for p, f in a.nonzero().tolist()]).view(-1, 3)
    probabilities = clean.logits[-1].softmax(-1)
    top, logit_tokens = probabilities.topk(min(max_n_logits, len(probabilities)))
    n_logits = min(int((top.cumsum(0) < desired_logit_probability).sum()) + 1, len(top))
    top, logit_tokens = top[:n_logits], logit_tokens[:n_logits]

    n_targets = len(active) + len(logit_tokens)
    tape = frozen_pass(hf, parts, transcoders, clean, tokens, n_targets)
    demeaned = clean.raw_logits[-1] - clean.raw_logits[-1].mean()
    values, frozen_values = [], []
    for row, (n, p, f) in enumerate(active.tolist()):
        layer = transcoders.layers[n]
        values.append(pre[n][p, f])
        frozen_values.append(tape.reads[n][row, p] @ layer.encoder[f] + layer.encoder_bias[f])
    for row, token in enumerate(logit_tokens.tolist(), start=len(active)):
        values.append(demeaned[token])
        frozen_values.append(tape.raw_logits[row, -1, token] - tape.raw_logits[row, -1].mean())
    to_embedding, *to_written = torch.autograd.grad(
        torch.stack(frozen_values).sum(), [tape.embedding, *tape.written], allow_unused=True
    )
    full = [torch.zeros_like(tape.embedding) if g is None else g for g in to_written]
    columns = []
    for n, p, f in active.tolist():
        decoder = transcoders.layers[n].decoder[f]
        edge = sum(full[n + k][:, p] @ vector for k, vector in enumerate(decoder))
        columns.append(acts[n][p, f] * cast(Tensor, edge))
    columns += [full[n][:, p] @ errors[n][p] for n in range(n_layers) for p in range(n_pos)]
    columns += [to_embedding[:, p] @ clean.embedding[p] for p in range(n_pos)]
    rows = torch.stack(columns, dim=1)

    n_sources, n_active = rows.shape[1], len(active)
    targets = torch.cat([torch.arange(n_active), torch.arange(n_logits) + n_sources])
    adjacency = torch.zeros(n_sources + n_logits, n_sources + n_logits, dtype=torch.float64)
    adjacency[targets, :n_sources] = rows
    expected = torch.full((len(adjacency),), torch.nan, dtype=torch.float64)
    frozen = expected.clone()
    expected[targets] = torch.stack(values)
    frozen[targets] = torch.stack(frozen_values).detach()
    return OracleGraph(
        active=active,
        activations=torch.stack([acts[n][p, f] for n, p, f in active.tolist()]) if n_active else torch.zeros(0),
        errors=torch.stack(errors),
        logit_tokens=logit_tokens,
        logit_probabilities=top,
        logits=clean.logits[-1],
        adjacency=adjacency,
        values=expected,
        frozen_values=frozen,
    )
