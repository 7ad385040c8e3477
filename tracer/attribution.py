"""From a prompt to its attribution graph, and the law that every graph must obey.

An edge is the direct linear effect of a source, as it is in this prompt, on a target's pre-activation, with attention
patterns and norm denominators frozen. What reaches a target from no node (decoder and attention biases, everything
written at masked positions) is kept as one bias per node, so that a node's incoming edges and its bias sum to its
pre-activation; that is asserted on every trace.

Source: Ameisen et al. 2025, "Circuit Tracing" (transformer-circuits.pub/2025/attribution-graphs/methods.html);
conventions of circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.expansion import Expansion, Progress
from tracescribe.tracer.graph import AttributionGraph, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.local_replacement import LocalReplacement, replace_locally
from tracescribe.tracer.logit_targets import LogitTarget, TargetSpec, choose_targets
from tracescribe.tracer.memory import check_clean_run, memory_limit
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.provenance import version
from tracescribe.tracer.prune import cumulative_influence, measure
from tracescribe.tracer.transcoder_fit import check_fit
from tracescribe.tracer.transcoders import TranscoderSet


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


def attribute(
    model: LanguageModel,
    transcoders: TranscoderSet,
    prompt: str | Tensor,
    settings: AttributionSettings | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """Trace a prompt.

    Args:
        model: the model.
        transcoders: a set that fits it.
        prompt: text, or token ids `[n_pos]`; BOS is prepended where no special token leads.
        settings: how to trace; the defaults if None.
        progress: called after each batch of targets.

    Returns:
        The unpruned graph. Nodes: features by layer, position and index; errors by layer and position; tokens; logits.
        Edges sorted by target, then source. With a node budget the bias column stays what no node carries, so that
        only graphs without a budget sum up exactly.

    Raises:
        PromptError: the prompt cannot be encoded.
        SettingError: a target token that the model does not have, or a trace that does not fit into memory.
        TranscoderMismatchError: the set does not fit the model.
        AttributionError: the result breaks the conservation law or is not finite.
    """
    tokens = model.encode(prompt) if isinstance(prompt, str) else model.vocabulary.check(prompt)
    graph = attribute_tokens(model, transcoders, tokens, settings, progress)
    return dataclasses.replace(graph, prompt=prompt) if isinstance(prompt, str) else graph


def attribute_tokens(
    model: LanguageModel,
    transcoders: TranscoderSet,
    tokens: Tensor,
    settings: AttributionSettings | None = None,
    progress: Progress | None = None,
) -> AttributionGraph:
    """`attribute` for token ids `[n_pos]` that are taken as they are, with no BOS prepended."""
    settings = settings or AttributionSettings()
    progress = progress or _silent
    tokens = model.vocabulary.check_as_they_are(tokens)
    limit = memory_limit(None) if settings.max_memory is None else settings.max_memory
    check_clean_run(model, len(tokens), limit)
    progress("clean run", 0, 1)
    replacement = replace_locally(model, transcoders, tokens, settings.zero_positions)
    progress("clean run", 1, 1)
    graph = trace_replacement(model, replacement, dataclasses.replace(settings, max_memory=limit), progress)
    told = dataclasses.asdict(settings) | {"zero_positions": replacement.zero_positions}
    del told["max_memory"]  # it cuts blocks, not results
    provenance = {
        "model": model.model_id,
        "model_sha256": model.weights_sha256,
        "transcoders": transcoders.transcoder_id,
        "transcoders_sha256": transcoders.sha256,
        "tracer_version": version(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "settings": json.loads(json.dumps(told)),  # tuples become lists, as a file would tell them
        "position_rule": model.position_rule.reason,
        "fit_warnings": list(check_fit(model, transcoders)),
        "seed": None,  # nothing is drawn at random
        **graph.provenance,
    }
    scores, influence = measure(graph)
    graph = dataclasses.replace(graph, provenance=provenance, scores=scores)
    return graph.with_influence(cumulative_influence(influence))


def _silent(stage: str, done: int, total: int) -> None:
    pass


@torch.no_grad()
def trace_replacement(
    model: LanguageModel,
    replacement: LocalReplacement,
    settings: AttributionSettings,
    progress: Progress | None = None,
) -> AttributionGraph:
    """The graph of a frozen prompt, without scores, influence and the names of what it came from.

    Raises:
        SettingError: a target token that the model does not have, or a graph that does not fit the given memory.
        UnknownIdError: a target text that names no token.
        AttributionError: the result breaks the conservation law or is not finite.
    """
    targets = choose_targets(model, replacement.logits, settings)
    expansion = Expansion(model, replacement, targets, settings, progress)
    expansion.fit_into(memory_limit(None) if settings.max_memory is None else settings.max_memory)
    selected = expansion.expand()
    nodes = expansion.node_table(selected)
    token_ids = tuple(int(t) for t in replacement.tokens)
    tokens = tuple(model.token_text(t) for t in token_ids)
    provenance: dict[str, Any] = {
        "n_active_features": len(replacement.active),
        "conservation_error": expansion.conservation_error,
    }
    if any(target.token_id is None for target in targets):
        provenance["targets"] = [
            {"label": t.label, "weights": [[i, w] for i, w in t.weights], "probability": t.probability} for t in targets
        ]
    return AttributionGraph(
        prompt=str(model.tokenizer.decode(list(token_ids))),
        tokens=tokens,
        token_ids=token_ids,
        n_layers=replacement.n_layers,
        nodes=nodes,
        node_ids=standard_node_ids(nodes, replacement.n_layers),
        labels=_labels(nodes, tokens, targets),
        edges=expansion.store.table(selected),
        provenance=provenance,
    )


def _labels(nodes: NodeTable, tokens: tuple[str, ...], targets: Sequence[LogitTarget]) -> tuple[str, ...]:
    """Texts as circuit-tracer's frontend shows them; features have none."""
    n_features = int((nodes.kind == NodeKind.FEATURE).sum())
    errors = nodes.position[nodes.kind == NodeKind.ERROR].tolist()
    return (
        *("" for _ in range(n_features)),
        *(f'Err: mlp "{tokens[position]}"' for position in errors),
        *(f'Emb: "{token}"' for token in tokens),
        *(f'Output "{target.label}" (p={target.probability:.3f})' for target in targets),
    )
