"""The metered, typed acts that an agent may take on one case, and the registry that watches their order."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.labelling.output_labels import output_text
from tracescribe.agents.run_account import RunAccount
from tracescribe.tracer.blinding import blind
from tracescribe.tracer.errors import GraphFormatError, InterventionError, PromptError, SettingError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph, FeatureNode, FeatureRef, IntArray, NodeKind
from tracescribe.tracer.prune import PruneSettings, prune
from tracescribe.tracer.token_check import check_tokens

if TYPE_CHECKING:
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.clean_run import CleanRun
    from tracescribe.tracer.edits import Row
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.feature_evidence import FeatureEvidence
    from tracescribe.tracer.interventions import InterventionResult
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet


PUBLISHED_FEATURES = 200
"""A graph of another tracer with at most so many features is taken to be pruned: published graphs hold some hundred."""


@dataclass(frozen=True)
class Prediction:
    """What the model says after a prompt.

    Attributes:
        prompt: as it was given.
        token: most probable next token.
        probability: of that token.
    """

    prompt: str
    token: str
    probability: float


class CaseTools(RunAccount):
    """Acts on one case. Every act that runs the model is charged to the meter before it happens.

    Attributes:
        case: as given, its graph blinded.
        seed: of every random draw that this case needs.
        full: the unpruned graph (an imported graph: as it came).
        pruned: the graph that agents look at.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        case: InterpretationCase,
        budget: Budget,
        *,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(budget, clock)
        self.toolbox = toolbox
        self.seed = seed
        self._traces: dict[str, AttributionGraph] = {}
        self._clean: dict[tuple[int, ...], CleanRun] = {}
        self.full = self._open_graph(case)
        if case.graph is not None and self._owns_graph():
            check_tokens(self.full, self.model)
        self.case = case
        self.pruned = self._prune(self.full)

    # -- what is at hand ----------------------------------------------------------------------------------------------

    @property
    def store(self) -> EvidenceStore | None:
        """The corpus scan; None without one, or where the graph belongs to other weights."""
        return self.toolbox.evidence if self._owns_graph() else None

    @property
    def corpus(self) -> CorpusFacts | None:
        """Counts over the corpus scan; None where `store` is."""
        return self.toolbox.corpus if self._owns_graph() else None

    @property
    def can_test(self) -> bool:
        """Whether the model that this graph was traced from is at hand."""
        return self.why_untestable() is None

    def why_untestable(self) -> str | None:
        """Why no claim about this graph can be tested, or None if claims can be."""
        if self.toolbox.model is None or self.toolbox.transcoders is None:
            return "no model weights: the graph was imported alone"
        if not self._owns_graph():
            return "the loaded weights are not those that this graph was traced from"
        return None

    @property
    def model(self) -> LanguageModel:
        """The model.

        Raises:
            InterventionError: there is none.
        """
        if self.toolbox.model is None:
            raise InterventionError("no model weights are loaded; load the model to run or test anything")
        return self.toolbox.model

    @property
    def transcoders(self) -> TranscoderSet:
        """The transcoders.

        Raises:
            InterventionError: there are none.
        """
        if self.toolbox.transcoders is None:
            raise InterventionError("no transcoders are loaded; load them to trace or test anything")
        return self.toolbox.transcoders

    def rng(self, *purpose: str) -> np.random.Generator:
        """A generator for one purpose, the same in every run with this seed, whatever else was drawn before."""
        digest = hashlib.sha256("\0".join([str(self.seed), *purpose]).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    # -- looking ------------------------------------------------------------------------------------------------------

    def evidence(self, ref: FeatureRef) -> FeatureEvidence | None:
        """Contexts, density and logit effects of one feature; None where it was never seen to fire, or without a scan."""
        source = self.toolbox.look_up if self._owns_graph() else None
        if source is None:
            return None
        try:
            return source.feature(ref)
        except UnknownIdError:
            if source is self.toolbox.evidence:
                raise
            return None  # published feature files need not have every feature

    def predict(self, prompts: Sequence[str]) -> tuple[Prediction, ...]:
        """The model's answer to each prompt, in one batch.

        Raises:
            PromptError: a prompt is empty, too long or has unknown words.
            BudgetExceededError: the forward passes are used up.
        """
        import torch

        if not prompts:
            return ()
        encoded = [self.model.encode(prompt) for prompt in prompts]
        self.charge_passes(len(prompts))
        width = max(len(ids) for ids in encoded)
        batch = torch.zeros(
            len(encoded), width, dtype=torch.int64
        )  # the model is causal: padding behind changes nothing
        for row, ids in enumerate(encoded):
            batch[row, : len(ids)] = ids
        last = torch.tensor([len(ids) - 1 for ids in encoded])
        with torch.inference_mode():
            logits = self.model.hf(input_ids=batch).logits[torch.arange(len(encoded)), last].float()
        best = torch.softmax(logits, dim=-1).max(dim=-1)
        return tuple(
            Prediction(prompt, self.model.token_text(int(token)), float(p))
            for prompt, token, p in zip(prompts, best.indices, best.values, strict=True)
        )

    def trace(self, prompt: str) -> AttributionGraph:
        """The unpruned attribution graph of another prompt (a donor); traced once, then remembered.

        Raises:
            PromptError: the model cannot read the prompt.
            BudgetExceededError: the forward passes are used up.
        """
        if prompt not in self._traces:
            self._traces[prompt] = self._attribute(prompt)
        return self._traces[prompt]

    def token_of_logit(self, graph: AttributionGraph, index: int) -> str:
        """Text of an output token: from the model where it is the graph's own, else from the graph's label, which is
        also where a target made of several logits says what it is."""
        token, model = int(graph.nodes.feature[index]), self.toolbox.model
        if self._owns_graph() and model is not None and token < model.vocab_size:
            return model.token_text(token)
        return output_text(graph, index)

    # -- acting -------------------------------------------------------------------------------------------------------

    def clean(self, prompt: str | None = None) -> CleanRun:
        """The untouched run of a prompt (the case's own by default), computed once.

        Raises:
            PromptError: the model cannot read the prompt.
            BudgetExceededError: the forward passes are used up.
        """
        import torch

        from tracescribe.tracer.clean_run import clean_run

        if prompt is not None:
            tokens = self.model.encode(prompt)
        elif self.full.token_ids:
            tokens = torch.tensor(self.full.token_ids, dtype=torch.int64)
        else:
            tokens = self.model.encode(self.full.prompt)
        key = tuple(int(t) for t in tokens)
        if key not in self._clean:
            self.charge_once("clean " + " ".join(map(str, key)))
            self._clean[key] = clean_run(self.model, self.transcoders, tokens)
        return self._clean[key]

    def next_tokens(self) -> tuple[str, ...]:
        """The model's most probable next token after each token of the prompt; empty without the graph's own model."""
        if not self.can_test:
            return ()
        return tuple(self.model.token_text(int(token)) for token in self.clean().logits.argmax(dim=-1))

    def active_features(self) -> tuple[FeatureNode, ...]:
        """Every feature that fires in the case's prompt, whether or not the graph kept it; by layer and position."""
        clean = self.clean()
        return tuple(
            FeatureNode(layer, int(position), int(feature))
            for layer in range(self.transcoders.n_layers)
            for position, feature in clean.activations(layer).nonzero()
        )

    def live(self, layer: int) -> IntArray:
        """Features of a layer that fire in ordinary text: the pool of controls. All of them where there is no scan."""
        if self.store is not None:
            return self.store.live(layer)
        return np.arange(self.transcoders.n_features[layer], dtype=np.int64)

    def intervene(
        self, rows: Sequence[Row], *, read: Sequence[FeatureNode] = (), prompt: str | None = None
    ) -> InterventionResult:
        """Run many interventions on one prompt at once: MLPs react, attention is recomputed.

        Args:
            prompt: another one than the case's own.

        Raises:
            PromptError: the model cannot read the prompt.
            BudgetExceededError: the forward passes are used up.
            InterventionError: an edit outside the model, or one that is not finite.
        """
        from tracescribe.tracer.edits import InterventionSettings
        from tracescribe.tracer.interventions import intervene

        clean = self.clean(prompt)
        self.charge_passes(len(rows))
        settings = InterventionSettings(mode="open", freeze_attention=False)
        return intervene(self.model, self.transcoders, clean.tokens, rows, settings, read=read, clean=clean)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open_graph(self, case: InterpretationCase) -> AttributionGraph:
        if case.graph is not None:
            graph = blind(case.graph)
        elif case.prompt is not None:
            graph = self._attribute(case.prompt)
        else:
            raise SettingError(f"case {case.case_id!r} has neither a prompt nor a graph")
        if graph.target_logit is None:
            raise GraphFormatError("the graph has no output tokens (logit nodes), so there is nothing to explain")
        return graph

    def _attribute(self, prompt: str) -> AttributionGraph:
        from tracescribe.tracer.attribution import attribute

        if self.toolbox.model is None or self.toolbox.transcoders is None:
            raise PromptError("a prompt needs model weights and transcoders; load them, or give a saved graph instead")
        self.charge_once(f"trace {prompt}")
        return attribute(self.toolbox.model, self.toolbox.transcoders, prompt)

    def _prune(self, graph: AttributionGraph) -> AttributionGraph:
        thresholds = self.toolbox.pruning
        if "pruning" in graph.provenance:  # a file that was pruned by these rules before; twice would thin it again
            return graph
        from_elsewhere = "model_sha256" not in graph.provenance
        if from_elsewhere and len(graph.of_kind(NodeKind.FEATURE)) <= PUBLISHED_FEATURES:
            return graph  # its publisher has thinned it to what a person can read
        return prune(graph, PruneSettings(thresholds.node_threshold, thresholds.edge_threshold))

    def _owns_graph(self) -> bool:
        """Whether the loaded weights are those of the graph; a graph that does not say is taken not to be."""
        model, transcoders = self.toolbox.model, self.toolbox.transcoders
        if model is None or transcoders is None:
            return False
        told = self.full.provenance
        return told.get("model_sha256") == model.weights_sha256 and told.get("transcoders_sha256") == transcoders.sha256
