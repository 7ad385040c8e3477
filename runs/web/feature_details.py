"""What is known of one feature for a reviewer: its label, the texts it fires in, and the tokens it speaks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tracescribe.agents.rendering.evidence_view import predicate_words, score_words
from tracescribe.agents.rendering.visible_text import visible_text, visible_token
from tracescribe.runs.web.feature_shelf import evidence_for
from tracescribe.tracer.errors import EvidenceError, UnknownIdError
from tracescribe.tracer.graph import FeatureRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tracescribe.agents.report import CircuitReport
    from tracescribe.tracer.feature_evidence import FeatureEvidence

EVIDENCE_FILE = "evidence.json"
"""Under which name a case keeps the texts of its labelled features."""
MAX_TOKENS = 200
"""Tokens of one text that are sent; a longer text is cut around its strongest token."""
MAX_CONTEXTS = 40


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class TextToken(_Shown):
    """A token of a text with the feature's activation there."""

    text: str
    activation: float


class FeatureText(_Shown):
    """A text that the feature fires in.

    Attributes:
        sampled_from: `top`, or the band of the feature's texts by strength such as `q50-75`.
        peak: place of the strongest token in `tokens`.
        cut_before, cut_after: whether the text goes on there.
    """

    text_id: str
    sampled_from: str
    tokens: tuple[TextToken, ...]
    peak: int
    cut_before: bool
    cut_after: bool


class Promoted(_Shown):
    """A token and the feature's direct effect on its logit."""

    token: str
    effect: float


class FeatureDetails(_Shown):
    """One feature.

    Attributes:
        label: of the report; None where it has none.
        condition, score: what the label predicts, and how well that held on unseen texts, in words.
        nodes: ids of its nodes in supernodes of the report.
        supernodes: ids of supernodes that it is in.
        source: `scan` of the server, texts `kept` with the report, or None where there are none.
        why_not: why there are no texts, in a sentence; empty where there are.
    """

    layer: int
    feature: int
    label: str | None
    here: str
    condition: str
    score: str
    proposed_by: str
    claims: tuple[str, ...]
    nodes: tuple[str, ...]
    supernodes: tuple[str, ...]
    source: Literal["scan", "kept"] | None
    why_not: str
    density: float | None
    max_activation: float | None
    promoted: tuple[Promoted, ...]
    suppressed: tuple[Promoted, ...]
    texts: tuple[FeatureText, ...]


class _Found(_Shown):
    source: Literal["scan", "kept"] | None = None
    why_not: str = ""
    density: float | None = None
    max_activation: float | None = None
    promoted: tuple[Promoted, ...] = ()
    suppressed: tuple[Promoted, ...] = ()
    texts: tuple[FeatureText, ...] = ()


def feature_details(
    report: CircuitReport, ref: FeatureRef, folder: Path | None, kept: Callable[[], bytes] | None
) -> FeatureDetails:
    """Everything about a feature that the report or this server knows.

    Args:
        folder: of the server's scan; None for the embedded model's.
        kept: reads the texts that the case kept; None where it kept none.
    """
    label = next((item for item in report.labels if (item.layer, item.feature) == ref), None)
    members = [
        (node.supernode_id, member) for node in report.supernodes for member in node.members if member.ref == ref
    ]
    found = _found(report, ref, folder, kept)
    return FeatureDetails(
        layer=ref.layer,
        feature=ref.feature,
        label=visible_text(label.text) if label else None,
        here=visible_text(label.here) if label else "",
        condition=predicate_words(label.predicate) if label else "",
        score=score_words(label.score) if label else "",
        proposed_by=visible_text(label.proposed_by) if label else "",
        claims=tuple(
            claim.claim_id for claim in report.claims if claim.kind == "label" and (claim.layer, claim.feature) == ref
        ),
        nodes=tuple(dict.fromkeys(member.node_id for _, member in members)),
        supernodes=tuple(dict.fromkeys(supernode for supernode, _ in members)),
        **found.model_dump(),
    )


def _found(report: CircuitReport, ref: FeatureRef, folder: Path | None, kept: Callable[[], bytes] | None) -> _Found:
    source, why_not = evidence_for(report, folder)
    if source is not None:
        try:
            return _of_scan(source.feature(ref))
        except UnknownIdError:
            why_not = f"The scan knows no feature {ref.layer}/{ref.feature}."
        except EvidenceError as error:
            why_not = f"The scan's record of this feature cannot be read: {error}."
    if kept is None:
        return _Found(why_not=why_not)
    try:
        return _of_kept(json.loads(kept()), ref) or _Found(
            why_not=f"{why_not} The texts kept with the report do not cover this feature."
        )
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return _Found(why_not=f"{why_not} The texts kept with the report cannot be read.")


def _of_scan(evidence: FeatureEvidence) -> _Found:
    texts = tuple(
        text
        for context in evidence.contexts[:MAX_CONTEXTS]
        if (text := _text(context.context_id, context.quantile, context.tokens, context.activations)) is not None
    )
    return _Found(
        source="scan",
        density=evidence.density,
        max_activation=evidence.max_activation,
        promoted=tuple(
            Promoted(token=visible_token(e.token), effect=float(e.effect)) for e in evidence.promoted if e.effect > 0
        ),
        suppressed=tuple(
            Promoted(token=visible_token(e.token), effect=float(e.effect)) for e in evidence.suppressed if e.effect < 0
        ),
        texts=texts,
    )


def _of_kept(document: Any, ref: FeatureRef) -> _Found | None:
    record = document["features"].get(str(ref))
    if record is None:
        return None
    texts = (
        _text(str(item["id"]), str(item["sampled_from"]), tuple(item["tokens"]), tuple(item["activations"]))
        for item in record["contexts"][:MAX_CONTEXTS]
    )
    return _Found(
        source="kept",
        density=float(record["density"]),
        max_activation=float(record["max_activation"]),
        promoted=tuple(
            Promoted(token=visible_token(str(token)), effect=float(effect)) for token, effect in record["promoted"]
        ),
        texts=tuple(text for text in texts if text is not None),
    )


def _text(
    text_id: str, sampled_from: str, tokens: tuple[str, ...], activations: tuple[float, ...]
) -> FeatureText | None:
    if not tokens or len(tokens) != len(activations):
        return None
    peak = max(range(len(activations)), key=lambda place: activations[place])
    start = max(0, min(peak - MAX_TOKENS // 2, len(tokens) - MAX_TOKENS))
    stop = min(len(tokens), start + MAX_TOKENS)
    return FeatureText(
        text_id=visible_text(text_id),
        sampled_from=visible_text(sampled_from),
        tokens=tuple(
            TextToken(text=visible_token(token), activation=round(float(value), 4))
            for token, value in zip(tokens[start:stop], activations[start:stop], strict=True)
        ),
        peak=peak - start,
        cut_before=start > 0,
        cut_after=stop < len(tokens),
    )
