"""Runs one live intervention on loaded weights: the intervention itself, matched controls, a dose curve.

The tested intervention takes the very course of `tracescribe intervene`, alone in its batch, so that the command gives
the same numbers to the last digit; controls and doses are rows of a second batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from tracescribe.agents.rendering.claim_words import nats, nats_changed
from tracescribe.agents.rendering.strip_plot import strip_plot
from tracescribe.runs.intervening import InterventionRequest, PreparedIntervention, prepare, run_prepared
from tracescribe.runs.intervention_outcome import outcome_of, tokens_shown
from tracescribe.runs.loading import Pair, choose_threads, named_or_path
from tracescribe.runs.web.live_requests import (
    ControlRow,
    DoseRow,
    EditRow,
    LiveRequest,
    LiveResult,
    LiveSubject,
    LiveWeights,
    StripGeometry,
    TokenRow,
    as_command_request,
    command_line,
    node_of,
)
from tracescribe.tracer.controls import SHIFTS_MATCHED_ON, matched_shifts
from tracescribe.tracer.edits import FeatureEdit, FeatureShift, Row, as_shifts, scaling
from tracescribe.tracer.errors import InputError, PromptError
from tracescribe.tracer.graph import FeatureNode
from tracescribe.tracer.statistics import rank_p_value

if TYPE_CHECKING:
    from pathlib import Path

    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.tracer.graph import IntArray
    from tracescribe.tracer.interventions import InterventionResult
    from tracescribe.tracer.statistics import Float64Array


class OtherWeightsError(InputError):
    """The weights that were loaded are not those that the report was made with."""


class LoadedWeights:
    """Model, transcoders and evidence, loaded once.

    Args:
        weights: names or folders.

    Raises:
        InputError: one of them cannot be loaded, or they do not fit one another.
        EvidenceError: the evidence belongs to another model or transcoder set.
    """

    def __init__(self, weights: LiveWeights) -> None:
        from tracescribe.agents.toolbox import load_toolbox

        evidence: str | Path | None = None if weights.evidence is None else named_or_path(weights.evidence)
        self.weights = weights
        self.toolbox: Toolbox = load_toolbox(named_or_path(weights.model), named_or_path(weights.transcoders), evidence)
        assert self.toolbox.model is not None and self.toolbox.transcoders is not None
        self.pair = Pair(self.toolbox.model, self.toolbox.transcoders)
        choose_threads(self.pair.model)

    @property
    def hashes(self) -> tuple[str, str]:
        """Of model and transcoders."""
        return self.pair.model.weights_sha256, self.pair.transcoders.sha256

    def live(self, layer: int) -> IntArray:
        """Features of a layer that fire in ordinary text; all of them where there is no scan."""
        if self.toolbox.evidence is not None:
            return self.toolbox.evidence.live(layer)
        return np.arange(self.pair.transcoders.n_features[layer], dtype=np.int64)


def run_live(loaded: LoadedWeights, asked: LiveRequest, subject: LiveSubject) -> LiveResult:
    """Run an intervention, and what it is compared with.

    Raises:
        OtherWeightsError: the report was made with other weights.
        InputError: a node, a token or the donor prompt cannot be used.
        InterventionError: the model computes numbers that are not finite.
    """
    if loaded.hashes != (subject.model_sha256, subject.transcoders_sha256):
        raise OtherWeightsError(
            f"this server has model {loaded.hashes[0][:12]} and transcoders {loaded.hashes[1][:12]}, and the report was "
            f"made with model {subject.model_sha256[:12]} and transcoders {subject.transcoders_sha256[:12]}; serve with "
            "--model and --transcoders of these weights"
        )
    started = time.monotonic()
    pair = loaded.pair
    request = as_command_request(asked, subject.prompt, loaded.weights.model, loaded.weights.transcoders)
    prepared = prepare(request, pair)
    if prepared.clean.n_pos != subject.n_tokens:
        raise PromptError(
            f"the model reads the report's prompt as {prepared.clean.n_pos} tokens, its graph has {subject.n_tokens}; "
            "the prompt was changed or redacted, and cannot be run"
        )
    result = run_prepared(prepared, pair)
    outcome = outcome_of(subject.prompt, asked.mode, prepared.edits, result, pair, prepared.clean, asked.top)
    token = _measured(asked, subject, loaded, result)
    return LiveResult(
        request=asked,
        prompt=subject.prompt,
        answer_before=outcome.answer_before,
        answer_after=outcome.answer_after,
        target=TokenRow(**asdict(tokens_shown(pair, result, [token])[0])),
        tokens=tuple(TokenRow(**asdict(row)) for row in outcome.tokens),
        edits=tuple(EditRow(**asdict(row)) for row in outcome.edits),
        controls=_controls(loaded, asked, prepared, result, token) if asked.controls else None,
        doses=_doses(loaded, asked, prepared, token),
        command=command_line(_as_told(request, loaded.weights)),
        seconds=time.monotonic() - started,
    )


def _as_told(request: InterventionRequest, weights: LiveWeights) -> InterventionRequest:
    model, transcoders = weights.shown or (request.model, request.transcoders)
    return replace(request, model=model, transcoders=transcoders)


def _measured(asked: LiveRequest, subject: LiveSubject, loaded: LoadedWeights, result: InterventionResult) -> int:
    """Id of the token that controls and doses are measured by."""
    model = loaded.pair.model
    if asked.token is not None:
        return model.token_id(asked.token)
    if asked.donor_prompt is not None:
        from tracescribe.tracer.clean_run import clean_run

        donor = clean_run(model, loaded.pair.transcoders, model.encode(asked.donor_prompt))
        return int(donor.logits[-1].argmax())
    if subject.token is not None:
        return model.token_id(subject.token)
    return int(result.clean_logits[-1].argmax())


def _controls(
    loaded: LoadedWeights, asked: LiveRequest, prepared: PreparedIntervention, result: InterventionResult, token: int
) -> ControlRow:
    """The tested edits against random live features of the same layers, positions and sizes, as claims are tested."""
    row = _features_alone(prepared)
    shifts = as_shifts(row, prepared.clean, prepared.clean.n_pos)
    rows: list[tuple[FeatureShift, ...]] = []
    if shifts:
        layers = sorted({shift.layer for shift in shifts})
        rows = matched_shifts(
            np.random.default_rng(asked.seed),
            shifts,
            {layer: loaded.live(layer) for layer in layers},
            {shift.ref for shift in shifts},
            asked.controls,
            {layer: loaded.toolbox.decoder_norms(layer) for layer in layers},
        )
    clean = float(result.clean_log_probabilities[token])
    sign = -1.0 if asked.direction == "down" else 1.0
    effect = sign * (float(result.log_probabilities[0, token]) - clean)
    effects: Float64Array = sign * (_log_probabilities(loaded, prepared, rows, token) - clean)
    test = rank_p_value(effect, effects) if asked.direction else rank_p_value(abs(effect), np.abs(effects))
    note = ""
    if not shifts:
        note = "nothing was changed: the features are silent here, so there is nothing that a control could match"
    elif len(rows) < asked.controls:
        note = f"only {len(rows)} distinct controls exist for these layers"
    return ControlRow(
        token=loaded.pair.model.token_text(token),
        direction=asked.direction or "either",
        effect=effect,
        effects=tuple(float(value) for value in effects),
        rank=test.rank,
        p_value=test.p_value,
        matched_on=SHIFTS_MATCHED_ON,
        seed=asked.seed,
        note=note,
        plot=_plot(effect, effects, test.rank - 1, asked.direction),
    )


def _doses(
    loaded: LoadedWeights, asked: LiveRequest, prepared: PreparedIntervention, token: int
) -> tuple[DoseRow, ...]:
    if not asked.doses:
        return ()
    nodes = [FeatureNode(layer, position, feature) for layer, feature, position in map(node_of, asked.nodes)]
    doses = sorted(set(asked.doses))
    rows = [scaling(nodes, dose, prepared.clean) for dose in doses]
    logs = _log_probabilities(loaded, prepared, rows, token)
    return tuple(
        DoseRow(multiplier=dose, probability=float(np.exp(log)), log_probability=float(log))
        for dose, log in zip(doses, logs, strict=True)
    )


def _log_probabilities(
    loaded: LoadedWeights, prepared: PreparedIntervention, rows: Sequence[Row], token: int
) -> Float64Array:
    """Of the token, in every row, `[n_rows]`."""
    from tracescribe.tracer.interventions import intervene

    if not rows:
        return np.zeros(0)
    pair, clean = loaded.pair, prepared.clean
    result = intervene(pair.model, pair.transcoders, clean.tokens, rows, prepared.settings, clean=clean)
    found: Float64Array = result.log_probabilities[:, token].cpu().numpy()
    return found


def _features_alone(prepared: PreparedIntervention) -> Row:
    return [edit for edit in prepared.edits if isinstance(edit, (FeatureEdit, FeatureShift))]


def _plot(effect: float, effects: Float64Array, reached: int, direction: str | None) -> StripGeometry | None:
    plot = strip_plot(effect, None, effects.tolist(), words=nats if direction else nats_changed)
    if plot is None or plot.effect_x is None or not len(effects):
        return None
    way = "" if direction else ", up or down"
    return StripGeometry(
        dots=plot.dots,
        effect_x=plot.effect_x,
        zero_x=plot.zero_x,
        effect_label_x=plot.effect_label_x,
        effect_text=plot.effect_text,
        description=f"{plot.effect_text}; {reached} of {len(effects)} control sets did as much or more{way}",
    )
