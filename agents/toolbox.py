"""The toolbox: a model, its transcoders and their evidence, loaded once and lent to agents case by case."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.tracer.errors import InterventionError
from tracescribe.tracer.graph import FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.labelling.corpus_facts import CorpusFacts
    from tracescribe.tracer.evidence_source import FeatureEvidenceSource
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.redaction import Redactor
    from tracescribe.tracer.transcoders import TranscoderSet


@dataclass(frozen=True)
class PruningThresholds:
    """How much of a graph an agent looks at.

    Attributes:
        node_threshold: cumulative share of influence that kept nodes carry; circuit-tracer's default.
        edge_threshold: the same for edges.
    """

    node_threshold: float = 0.8
    edge_threshold: float = 0.98

    def as_json(self) -> dict[str, object]:
        """The thresholds as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Toolbox:
    """What agents may act on. Everything is optional but the graph itself, which comes with the case.

    Attributes:
        model: None where only a graph is at hand; claims then stay untested.
        transcoders: the set that the model is read through; given with `model`, or not at all.
        evidence: a corpus scan of this model and these transcoders, every activation kept; of a large scan its
            reference sample. None leaves labels to the graph alone.
        features: where single features are looked up, if not in `evidence`.
        pruning: thresholds for every graph that is surveyed.
    """

    model: LanguageModel | None = None
    transcoders: TranscoderSet | None = None
    evidence: EvidenceStore | None = None
    features: FeatureEvidenceSource | None = None
    pruning: PruningThresholds = field(default_factory=PruningThresholds)
    _norms: dict[int, FloatArray] = field(default_factory=dict, repr=False)
    _corpus: list[CorpusFacts] = field(default_factory=list, repr=False)

    @property
    def look_up(self) -> FeatureEvidenceSource | None:
        """Contexts, densities and logit effects of single features; None without evidence."""
        return self.evidence if self.features is None else self.features

    @property
    def corpus(self) -> CorpusFacts | None:
        """Facts about the evidence's corpus, counted once; None without evidence."""
        if self.evidence is None:
            return None
        from tracescribe.agents.labelling.corpus_facts import CorpusFacts

        if not self._corpus:
            self._corpus.append(CorpusFacts(self.evidence))
        return self._corpus[0]

    def redacted(self, redactor: Redactor) -> Toolbox:
        """The same toolbox, whose evidence shows nothing that must not be written.

        Args:
            redactor: what must not be.
        """
        from tracescribe.tracer.evidence_redaction import RedactedSource, redacted_store

        evidence = None if self.evidence is None else redacted_store(self.evidence, redactor)
        features = None if self.features is None else RedactedSource(self.features, redactor)
        if self.features is self.evidence:
            features = None
        if features is None and evidence is self.evidence:
            return self
        return replace(self, evidence=evidence, features=features, _corpus=[])

    def decoder_norms(self, layer: int) -> FloatArray:
        """Norm of every feature's decoder vectors of a layer, over all layers written to, `[n_features]`; kept.

        Raises:
            InterventionError: there are no transcoders.
        """
        if self.transcoders is None:
            raise InterventionError("no transcoders are loaded; load them to test anything")
        if layer not in self._norms:
            import torch

            rows = self.transcoders.decoder_rows(layer, torch.arange(self.transcoders.n_features[layer]))
            self._norms[layer] = rows.float().flatten(1).norm(dim=1).cpu().numpy()
        return self._norms[layer]

    def open(
        self,
        case: InterpretationCase,
        budget: Budget,
        *,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> CaseTools:
        """The metered, typed acts for one case. Traces the prompt if the case is one; blinds the graph if it is one.

        Args:
            clock: of the budget for seconds.

        Raises:
            InputError: a prompt without a model, or one that the model cannot read.
            GraphFormatError: a graph without feature nodes or logits.
        """
        from tracescribe.agents.case_tools import CaseTools

        toolbox: Any = self  # a type checker that reads this file by its path takes `self` for another class
        return CaseTools(toolbox, case, budget, seed=seed, clock=clock)


def load_toolbox(
    model: str | Path = "embedded",
    transcoders: str | Path = "embedded",
    evidence: str | Path | None = "embedded",
    *,
    dtype: str = "float32",
    device: str = "cpu",
) -> Toolbox:
    """Load a model, its transcoders and their evidence, and check that they fit one another.

    Args:
        model: `embedded`, a local folder, or a hub id.
        transcoders: `embedded` or a local folder.
        evidence: `embedded`, a folder that `tracescribe evidence build` wrote or one of feature files in
            circuit-tracer's format, or None for none.
        dtype: of the model's weights; the transcoders take the dtype in which this model is computed with.
        device: of both.

    Raises:
        InputError: one of them cannot be loaded, or the transcoders do not fit the model.
        EvidenceError: the evidence belongs to another model or transcoder set.
    """
    from pathlib import Path

    from tracescribe.tracer import embedded
    from tracescribe.tracer.evidence_source import open_evidence
    from tracescribe.tracer.evidence_store import EvidenceStore
    from tracescribe.tracer.feature_files import FeatureFiles
    from tracescribe.tracer.models import load_model
    from tracescribe.tracer.transcoders import check_fit, load_transcoders

    language_model = load_model(model, dtype=dtype, device=device)
    compute_dtype = str(language_model.compute_dtype).removeprefix("torch.")
    transcoder_set = load_transcoders(transcoders, dtype=compute_dtype, device=device)
    check_fit(language_model, transcoder_set)
    if evidence is None:
        return Toolbox(model=language_model, transcoders=transcoder_set)
    source = open_evidence(embedded.evidence_dir() if evidence == "embedded" else Path(evidence))
    source.check(language_model, transcoder_set)
    store = source if isinstance(source, EvidenceStore) else None
    if isinstance(source, FeatureFiles) and source.manifest.n_sample_windows:
        store = source.sample
    return Toolbox(model=language_model, transcoders=transcoder_set, evidence=store, features=source)
