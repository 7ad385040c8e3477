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
from typing import Any

import torch
from torch import Tensor

from tracescribe.tracer.attribution_settings import AttributionSettings
from tracescribe.tracer.expansion import Expansion, Progress
from tracescribe.tracer.graph import AttributionGraph, NodeKind, NodeTable, standard_node_ids
from tracescribe.tracer.local_replacement import LocalReplacement, replace_locally
from tracescribe.tracer.logit_targets import LogitTarget, choose_targets
from tracescribe.tracer.memory import check_clean_run, memory_limit
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.provenance import version
from tracescribe.tracer.prune import cumulative_influence, measure
from tracescribe.tracer.transcoder_fit import check_fit
from tracescribe.tracer.transcoders import TranscoderSet

__all__ = ["AttributionSettings", "attribute", "attribute_tokens", "trace_replacement"]


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
