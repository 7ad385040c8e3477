"""The two ends of an edge in the frozen forward pass: from node ids to written vectors and a covector that reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.errors import SettingError, UnknownIdError
from tracescribe.tracer.local_replacement import LocalReplacement, by_layer
from tracescribe.tracer.logit_targets import LogitTarget, TargetSpec, Weights, covector, resolve_targets, target_label
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.vocabulary import shorten

EMBEDDING_LAYER = -1
"""Layer of an embedding as a source, as in `NodeTable`."""

MAX_NEAR = 3
"""Ids that a message about an unknown one suggests."""

_NODE_ID = re.compile(r"(E|\d{1,9})_(-1|\d{1,12})_(\d{1,9})")


@dataclass(frozen=True, eq=False)
class EdgeSource:
    """A node that writes.

    Attributes:
        node_id: as in graphs.
        layer: that it reads or reconstructs; `EMBEDDING_LAYER` for embeddings.
        position: of the token.
        writes: layer written to, and what enters the residual stream behind it, `[d_model]`; the layer is
            `EMBEDDING_LAYER` for what enters at the bottom.
    """

    node_id: str
    layer: int
    position: int
    writes: tuple[tuple[int, Tensor], ...]


@dataclass(frozen=True, eq=False)
class EdgeTarget:
    """A node that reads.

    Attributes:
        node_id: as in graphs.
        layer: it reads the residual stream between attention and MLP of this layer; `n_layers` for the final one.
        position: of the token.
        covector: on the residual stream there, `[d_model]`.
        label: of an output, else empty.
    """

    node_id: str
    layer: int
    position: int
    covector: Tensor
    label: str = ""


@dataclass(frozen=True, eq=False)
class EdgeEnds:
    """Finds the ends of edges in one frozen prompt.

    Attributes:
        model: the model.
        replacement: the prompt, frozen.
        targets: that the graph was traced with, where it has combined outputs, numbered `vocab_size + place`.
    """

    model: LanguageModel
    replacement: LocalReplacement
    targets: Sequence[TargetSpec] = ()

    def source(self, node_id: str) -> EdgeSource:
        """A feature, an error or an embedding.

        Raises:
            UnknownIdError: no such node; the message lists near ones.
            SettingError: an output, which writes nothing.
        """
        r = self.replacement
        layer, feature, position = self._read(node_id)
        if layer == EMBEDDING_LAYER:
            expected = int(r.tokens[position])
            if feature != expected:
                raise UnknownIdError(
                    f"no node {node_id!r}: position {position} holds token {expected}; "
                    f"its embedding is E_{expected}_{position}"
                )
            return EdgeSource(node_id, layer, position, ((EMBEDDING_LAYER, r.embeddings[position]),))
        if layer > r.n_layers:
            raise SettingError(
                f"{node_id} is an output and writes nothing; the source is a feature, error or embedding"
            )
        if feature == -1:
            if position < r.zero_positions:
                raise UnknownIdError(
                    f"no node {node_id!r}: the first {r.zero_positions} positions of this prompt have no errors"
                )
            return EdgeSource(node_id, layer, position, ((layer, r.errors[layer, position]),))
        row = self._feature_row(node_id, layer, feature, position)
        within = row - int(by_layer(r.active, r.n_layers)[layer][0])
        writes = tuple((layer + k, vector) for k, vector in enumerate(r.decoders[layer][within]))
        return EdgeSource(node_id, layer, position, writes)

    def target(self, node_id: str) -> EdgeTarget:
        """A feature or an output.

        Raises:
            UnknownIdError: no such node; the message lists near ones.
            SettingError: an error or an embedding, which read nothing.
        """
        r = self.replacement
        layer, feature, position = self._read(node_id)
        if layer == EMBEDDING_LAYER or feature == -1:
            kind = "an embedding" if layer == EMBEDDING_LAYER else "an error"
            raise SettingError(f"{node_id} is {kind} and reads nothing; the target is a feature or an output")
        if layer > r.n_layers:
            return self._output(node_id, feature, position)
        row = self._feature_row(node_id, layer, feature, position)
        return EdgeTarget(node_id, layer, position, r.readers[row])

    def output(self, weights: Weights) -> EdgeTarget:
        """A weighted sum of logits, whether the graph has a node for it or not.

        Args:
            weights: token ids with their weights.
        """
        r, architecture = self.replacement, self.model.architecture
        place = next((i for i, w in enumerate(self._resolved()) if w == weights), 0)
        asked = LogitTarget(target_label(self.model, weights), weights, 0.0)
        number = asked.graph_id(place, self.model.vocab_size)
        reads = architecture.final_norm.centre(covector(architecture, asked).to(r.final_gain) * r.final_gain)
        node_id = f"{r.n_layers + 1}_{number}_{r.n_pos - 1}"
        return EdgeTarget(node_id, r.n_layers, r.n_pos - 1, reads.reshape(-1), asked.label)

    def _resolved(self) -> list[Weights]:
        probabilities = self.replacement.logits.double().softmax(-1)
        return resolve_targets(self.model, list(self.targets), probabilities)

    def _output(self, node_id: str, number: int, position: int) -> EdgeTarget:
        last, vocab_size = self.replacement.n_pos - 1, self.model.vocab_size
        if position != last:
            raise UnknownIdError(f"no node {node_id!r}: outputs stand at the last position, {last}")
        if number < vocab_size:
            return self.output(((number, 1.0),))
        resolved = self._resolved()
        if number - vocab_size >= len(resolved):
            raise UnknownIdError(
                f"no node {node_id!r}: the vocabulary has {vocab_size} tokens, and {len(resolved)} targets were given; "
                "give the same targets as to the trace"
            )
        return self.output(resolved[number - vocab_size])

    def _read(self, node_id: str) -> tuple[int, int, int]:
        """Layer, feature and position of an id; -1 as the layer of an embedding.

        Raises:
            UnknownIdError: not spelled like an id, or outside the model or the prompt.
        """
        r = self.replacement
        match = _NODE_ID.fullmatch(node_id)
        if match is None:
            raise UnknownIdError(
                f"{shorten(node_id)!r} is no node id; ids read layer_feature_position, layer_-1_position for an error, "
                f"E_token_position for an embedding, {r.n_layers + 1}_token_position for an output"
            )
        layer = EMBEDDING_LAYER if match[1] == "E" else int(match[1])
        feature, position = int(match[2]), int(match[3])
        if position >= r.n_pos:
            raise UnknownIdError(f"no node {node_id!r}: the prompt has positions 0 to {r.n_pos - 1}")
        if layer == r.n_layers or layer > r.n_layers + 1:
            raise UnknownIdError(
                f"no node {node_id!r}: the model has layers 0 to {r.n_layers - 1}, and outputs are numbered "
                f"{r.n_layers + 1}"
            )
        if feature == -1 and (layer == EMBEDDING_LAYER or layer > r.n_layers):
            raise UnknownIdError(f"no node {node_id!r}: -1 stands for the error of a layer, not for a token")
        return layer, feature, position

    def _feature_row(self, node_id: str, layer: int, feature: int, position: int) -> int:
        """Row of an active feature.

        Raises:
            UnknownIdError: the feature is not active there; the message lists near ones.
        """
        r = self.replacement
        wanted = torch.tensor([layer, position, feature], device=r.active.device)
        found = (r.active == wanted).all(1).nonzero().flatten()
        if len(found):
            return int(found[0])
        raise UnknownIdError(
            f"no node {node_id!r}: that feature is not active there{self._near(layer, feature, position)}"
        )

    def _near(self, layer: int, feature: int, position: int) -> str:
        """`"; active: ..."`: the same feature elsewhere, then others at the same place, strongest first."""
        r = self.replacement
        same_layer = r.active[:, 0] == layer
        elsewhere = (same_layer & (r.active[:, 2] == feature)).nonzero().flatten()
        beside = (same_layer & (r.active[:, 1] == position)).nonzero().flatten()
        beside = beside[r.activations[beside].argsort(descending=True)]
        rows = [*elsewhere[:MAX_NEAR].tolist(), *beside[:MAX_NEAR].tolist()][:MAX_NEAR]
        near = [f"{at}_{index}_{where}" for at, where, index in r.active[rows].tolist()]
        return f"; active near it: {', '.join(near)}" if near else f"; nothing of layer {layer} is active there"


def is_node_id(text: str) -> bool:
    """Whether a text is spelled like a node id, whether or not there is such a node."""
    return _NODE_ID.fullmatch(text) is not None


def check_order(source: EdgeSource, target: EdgeTarget) -> None:
    """Refuse two nodes between which no edge can run.

    Raises:
        SettingError: the source stands at a later position, or not below the target.
    """
    if source.layer >= target.layer or source.position > target.position:
        raise SettingError(
            f"no edge can run from {source.node_id} (layer {source.layer}, position {source.position}) to "
            f"{target.node_id} (layer {target.layer}, position {target.position}): a source lies in a lower layer and "
            "at the same or an earlier position; exchange the two, or name others"
        )
