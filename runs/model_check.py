"""Whether transcoders fit a model, how well they stand in for its MLPs, and whether a model card still holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.loading import Pair, load_pair, named_or_path
from tracescribe.runs.pair_fit import PairFit, describe_fit, refuse_by_configuration
from tracescribe.tracer.errors import InputError

if TYPE_CHECKING:
    from tracescribe.tracer.embedded.training.card import Card
    from tracescribe.tracer.reconstruction import Reconstruction

FULL_TOLERANCE = 0.02
"""For the card's own seeds and sample sizes: another processor or torch version may flip a few answers, not more."""
QUICK_TOLERANCE = 0.05
"""Added for smaller samples: half the sentences match features with latents less surely."""
QUICK_GROUP_TOLERANCE = 0.15
"""Added for swaps of feature groups in a quick check: values that occur rarely lose some of their features in the match,
and a group that lacks one flips fewer answers (seen: .985 in full, .83 quick, for sums)."""
STANDARD_ERRORS = 3.0
"""Allowed sampling error of a share in a quick check; one figure in several hundred exceeds it by chance."""


@dataclass(frozen=True)
class CardFigure:
    """One figure of a model card.

    Attributes:
        value: a share.
        samples: that it is a share of.
        of_groups: whether it depends on groups of features, and so on how surely they were matched.
    """

    name: str
    value: float
    samples: int
    of_groups: bool = False


@dataclass(frozen=True)
class CheckedFigure:
    """A figure of the card beside the one computed from the weights."""

    name: str
    card: float
    recomputed: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the weights do what the card says."""
        return abs(self.card - self.recomputed) <= self.tolerance


@dataclass(frozen=True)
class TextChoice:
    """The text that reconstruction is measured on.

    Attributes:
        path: a text file with one document a line, or JSON lines.
        context_size: most tokens in a window, BOS included.
        max_tokens: stop after this many tokens; None takes all.
    """

    path: Path
    context_size: int = 128
    max_tokens: int | None = None


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        fit: shapes, hook points and hashes of the fitting pair.
        figures: of the card; empty where no card belongs to the pair.
        reconstruction: None where no text was given.
    """

    model: str
    transcoders: str
    fit: PairFit
    figures: tuple[CheckedFigure, ...]
    reconstruction: Reconstruction | None = None

    @property
    def shapes(self) -> str:
        """The pair's shapes, in words."""
        features = self.fit.n_features
        widths = sorted(set(features))
        told = f"features by layer {', '.join(map(str, features))}"
        if len(features) > 1 and len(widths) == 1:
            told = f"{widths[0]} features each"
        return f"{self.fit.n_layers} layers, width {self.fit.d_model}, {told}"

    @property
    def passed(self) -> bool:
        """Whether every figure of the card holds."""
        return all(figure.holds for figure in self.figures)

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        figures = [asdict(figure) | {"holds": figure.holds} for figure in self.figures]
        return {
            "model": self.model,
            "transcoders": self.transcoders,
            "shapes": self.shapes,
            "fit": self.fit.to_json(),
            "passed": self.passed,
            "figures": figures,
            "reconstruction": None if self.reconstruction is None else self.reconstruction.to_json(),
        }


def check_models(
    model: str, transcoders: str, *, quick: bool = False, deep: bool = False, text: TextChoice | None = None
) -> CheckResult:
    """Check a pair; measure it on a text, or where a model card belongs to it, compute the card's figures again.

    Args:
        model: `embedded`, a folder, or a hub id.
        transcoders: `embedded` or a folder.
        quick: recompute a card from smaller samples.
        deep: read every decoder row, also of a large set.
        text: measure reconstruction on it; the card is left alone then.

    Raises:
        InputError: the pair cannot be loaded or does not fit.
        EvidenceError: the text cannot be read.
    """
    log = terminal.StepLog()
    with log.step("configuration"):
        _refuse_early(model, transcoders)
    with log.step("fit"):
        pair = load_pair(model, transcoders)
    with terminal.progress_bars() as bars:
        progress = terminal.StageBars(bars)
        fit = describe_fit(pair, deep=deep, progress=progress)
        card = find_card(pair.model.path, pair.transcoders.path) if text is None else None
        figures: tuple[CheckedFigure, ...] = ()
        if card is not None:
            from tracescribe.tracer.embedded.training.card import recompute_card

            found = recompute_card(pair.model.path, pair.transcoders.path, quick=quick, progress=progress)
            figures = compare_cards(card, found, quick=quick)
        reconstruction = None if text is None else _reconstruct(pair, text, progress)
    return CheckResult(pair.model.model_id, pair.transcoders.transcoder_id, fit, figures, reconstruction)


def _refuse_early(model: str, transcoders: str) -> None:
    """Compare headers and configurations, which takes no time, before weights are read, which may take minutes."""
    from tracescribe.tracer.model_files import locate
    from tracescribe.tracer.transcoders import load_transcoders

    model_id, path = locate(named_or_path(model))
    refuse_by_configuration(path, load_transcoders(named_or_path(transcoders)), model_id)


def _reconstruct(pair: Pair, text: TextChoice, progress: terminal.StageBars) -> Reconstruction:
    from tracescribe.tracer.corpus import open_corpus
    from tracescribe.tracer.corpus_windows import WindowReader, WindowRules, lead_ids
    from tracescribe.tracer.reconstruction import ReconstructionSettings, reconstruct

    corpus, vocabulary = open_corpus(text.path), pair.model.vocabulary
    context = min(text.context_size, pair.model.max_positions)
    rules = WindowRules(context_size=context, lead=lead_ids(vocabulary), test_share=0.0, split_salt="")
    size = max(1, corpus.size)
    read = 0

    def windows() -> Any:
        nonlocal read
        for window in WindowReader(corpus, vocabulary, rules):
            read = window.end
            yield window.ids

    def tell(stage: str, done: int, total: int) -> None:
        # without a limit the end is known in bytes of the text, not in tokens
        if total:
            progress(stage, min(done, total), total, "")
        else:
            progress(stage, min(read, size), size, f"{done} tokens")

    settings = ReconstructionSettings(max_tokens=text.max_tokens)
    return reconstruct(pair.model, pair.transcoders, windows(), settings, tell)


def find_card(model_dir: Path, transcoder_dir: Path) -> Card | None:
    """The card that lies beside both folders, as the embedded model and every build of it have it; None without one.

    Raises:
        InputError: a card is there, but cannot be read.
    """
    from pydantic import ValidationError

    from tracescribe.tracer.embedded.training.card import Card

    path = model_dir.resolve().parent / "card.json"
    if transcoder_dir.resolve().parent != path.parent or not path.is_file():
        return None
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError) as error:
        fault = str(error).splitlines()[0]
        raise InputError(f"cannot read the model card {path}: {fault}; install or build it again") from error


def compare_cards(card: Card, found: Card, *, quick: bool) -> tuple[CheckedFigure, ...]:
    """Every figure that both cards have, with the difference that sampling allows."""
    recomputed = {figure.name: figure for figure in figures_of(found)}
    checked: list[CheckedFigure] = []
    for figure in figures_of(card):
        other = recomputed.get(figure.name)
        if other is not None:
            tolerance = _quick_tolerance(figure, other) if quick else FULL_TOLERANCE
            checked.append(CheckedFigure(figure.name, figure.value, other.value, tolerance))
    return tuple(checked)


def _quick_tolerance(figure: CardFigure, other: CardFigure) -> float:
    # one success and one failure more than seen, so that a share of exactly 1 has a sampling error too
    share = (figure.value * figure.samples + 1) / (figure.samples + 2)
    variance = share * (1 - share) * (1 / figure.samples + 1 / other.samples)
    smaller = QUICK_GROUP_TOLERANCE if figure.of_groups else QUICK_TOLERANCE
    return FULL_TOLERANCE + smaller + STANDARD_ERRORS * math.sqrt(variance)


def figures_of(card: Card) -> tuple[CardFigure, ...]:
    """The shares on a card that a reader would quote."""
    found: list[CardFigure] = []
    for task, accuracy in card.accuracy.items():
        found.append(CardFigure(f"accuracy, {task}, train", accuracy.train, accuracy.samples))
        found.append(CardFigure(f"accuracy, {task}, held-out", accuracy.held_out, accuracy.samples))
    for split, figures in card.reconstruction.items():
        top1 = figures.live.answer_top1
        found.append(CardFigure(f"CLT answer top-1 agreement, {split}", top1, figures.samples))
    features = card.features
    matched = features.held_out_auc95_and_f1_70
    found.append(CardFigure("features matching one latent (AUC, F1)", matched, max(1, features.tested)))
    found.append(CardFigure("features matching one latent (AUC)", features.held_out_auc95, max(1, features.tested)))
    for test, rows in card.interchange.items():
        for row in rows:
            if row.pairs:
                name = f"{test} (groups of F1 >= {row.group_f1:g})"
                found.append(CardFigure(f"swap flips the answer, {name}", row.swap, row.pairs, of_groups=True))
                found.append(CardFigure(f"random swap, {name}", row.control, max(row.pairs, row.controls)))
    return tuple(found)
