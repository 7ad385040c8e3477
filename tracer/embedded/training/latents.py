"""Which latent variable does each feature stand for, and how well, on text that the choice did not see.

This is the oracle's view: it uses the latents of the corpus. Agents label features from public text alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracescribe.tracer.embedded.training.causal_model import ANSWER, TOKEN
from tracescribe.tracer.embedded.training.corpus import Sample, Split, sample
from tracescribe.tracer.embedded.training.cross_layer import CrossLayerTranscoder, stack_active
from tracescribe.tracer.embedded.training.tiny_llama import TinyLlama
from tracescribe.tracer.embedded.training.tokens import encode, word_ids

ANYWHERE = "anywhere"
"""Role of every row; a word's identity must be recalled wherever the word stands."""
_EVERYWHERE_LATENTS = (TOKEN, "task")
# Told by other latents of the same sentence, or not a variable of the causal model.
_LEFT_OUT = ("a", "b", "other_name", "order")
_BATCH = 500


@dataclass(frozen=True)
class LabelSettings:
    """How features are matched with latents.

    Attributes:
        min_rows: rows on which a feature must fire to count as alive, and a latent must hold to be matched.
        levels: a feature is read as `on` above this share of its largest activation; the better level counts.
        plainness: bonus that lets the plainer of two equally good latents win.
    """

    min_rows: int = 4
    levels: tuple[float, ...] = (0.0, 0.3)
    plainness: tuple[tuple[str, float], ...] = ((TOKEN, 0.02), ("task", 0.015))


@dataclass(frozen=True)
class LatentTable:
    """Activations and latents at every word of some prompts.

    Attributes:
        active: feature activations [rows, all features].
        holds: whether a latent has this value at this row [rows, latents], as 0 and 1.
        latents: (name, value) of each column of `holds`.
        members: role -> rows at which a word has that role.
    """

    active: Tensor
    holds: Tensor
    latents: tuple[tuple[str, str], ...]
    members: dict[str, Tensor]


@dataclass(frozen=True)
class FeatureLatent:
    """A live feature and the one latent value that it matches best.

    Attributes:
        layer, index: the feature.
        name, value: the latent.
        role: role of the words at which the latent's recall is counted.
        precision: share of the feature's summed activation that falls where the latent holds.
        f1: of `the feature is on` against `the latent holds`; precision over all rows, recall over the role's rows.
        auc: of the activation, over the role's rows.
        held_out_f1, held_out_auc: the same on held-out text; none where the latent hardly occurs there.
    """

    layer: int
    index: int
    name: str
    value: str
    role: str
    precision: float
    f1: float
    auc: float
    held_out_f1: float | None = None
    held_out_auc: float | None = None


def _row_latents(drawn: Sample, position: int) -> list[tuple[str, str]]:
    held = [(TOKEN, drawn.words[position]), ("task", drawn.task)]
    if position == drawn.roles["final"]:
        held.append((ANSWER, drawn.answer_word))
    held += [
        (name, latent.value)
        for name, latent in drawn.latents.items()
        if position >= latent.position and name not in _LEFT_OUT
    ]
    operands = [drawn.latents[name] for name in ("a", "b") if name in drawn.latents]
    return held + [("number", operand.value) for operand in operands if operand.position == position]


@torch.no_grad()
def tabulate(model: TinyLlama, transcoder: CrossLayerTranscoder, samples: int, seed: int, split: Split) -> LatentTable:
    """Run prompts and note, word by word, feature activations and the latents that hold."""
    rng, ids_of = random.Random(seed), word_ids()
    columns: dict[tuple[str, str], int] = {}
    cells, members, blocks, row = list[tuple[int, int]](), dict[str, list[int]](), list[Tensor](), 0
    for start in range(0, samples, _BATCH):
        drawn = [sample(rng, split) for _ in range(min(_BATCH, samples - start))]
        ids, answers = encode(drawn, ids_of)
        positions = torch.arange(ids.shape[1])[None]
        prompt = (positions >= 1) & (positions < answers[:, None])
        blocks.append(stack_active(transcoder, [x[prompt] for x in model.run(ids).mlp_inputs]))
        for one in drawn:
            role_of = {position: role for role, position in one.roles.items()}
            for position in range(1, one.answer):
                cells += [(row, columns.setdefault(key, len(columns))) for key in _row_latents(one, position)]
                if position in role_of:
                    for role in (role for role, at in one.roles.items() if at == position):
                        members.setdefault(role, []).append(row)
                row += 1
    holds = torch.zeros(row, len(columns))
    rows, cols = torch.tensor(cells).T
    holds[rows, cols] = 1.0
    roles = {role: torch.tensor(found) for role, found in sorted(members.items())}
    return LatentTable(torch.cat(blocks), holds, tuple(columns), {ANYWHERE: torch.arange(row)} | roles)


def area_under_curve(values: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve of non-negative values [rows] for a boolean target [rows]; ties count one half.

    Rows at zero are one big tie and are never sorted.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return 0.5
    on = values > 0
    x, y = values[on], positive[on]
    on_positive = int(y.sum())
    zero_negative = n_negative - (len(y) - on_positive)
    pairs = on_positive * zero_negative + 0.5 * (n_positive - on_positive) * zero_negative
    if on_positive and on_positive < len(y):
        _, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
        ranks = (torch.cumsum(counts, 0).double() - (counts.double() - 1) / 2)[inverse]
        pairs += float(ranks[y].sum()) - on_positive * (on_positive + 1) / 2
    return pairs / (n_positive * n_negative)


def _f1_by_role(table: LatentTable, role: str, on: Tensor, precision: Tensor, min_rows: int, columns: Tensor) -> Tensor:
    """F1 [features, latents] with recall over the rows of one role; 0 for latents that do not belong to it."""
    rows = table.members[role]
    holds = table.holds[rows]
    recall = (on[rows].T @ holds) / holds.sum(0).clamp(min=1)
    usable = columns & (holds.sum(0) >= min_rows - 1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
    return torch.where(usable, f1, 0.0)


def _best_f1(table: LatentTable, settings: LabelSettings) -> tuple[Tensor, Tensor, list[str]]:
    """Best F1 over roles and levels [features, latents], and the index of its role."""
    largest = table.active.max(0).values
    everywhere = torch.tensor([name in _EVERYWHERE_LATENTS for name, _ in table.latents])
    roles = list(table.members)
    best = torch.zeros(table.active.shape[1], len(table.latents))
    role_of = torch.zeros_like(best, dtype=torch.long)
    for level in settings.levels:
        on = (table.active > level * largest).float()
        precision = (on.T @ table.holds) / on.sum(0).clamp(min=1)[:, None]
        for index, role in enumerate(roles):
            columns = everywhere if role == ANYWHERE else ~everywhere
            f1 = _f1_by_role(table, role, on, precision, settings.min_rows, columns)
            better = f1 > best
            best, role_of[better] = torch.where(better, f1, best), index
    return best, role_of, roles


def label_features(
    table: LatentTable, sizes: Sequence[int], settings: LabelSettings | None = None
) -> list[FeatureLatent]:
    """The best single latent of every live feature.

    Args:
        table: text on which the match is chosen.
        sizes: features per layer.
    """
    settings = settings or LabelSettings()
    best, role_of, roles = _best_f1(table, settings)
    weighted = (table.active.T @ table.holds) / table.active.sum(0).clamp(min=1e-9)[:, None]
    bonus = dict(settings.plainness)
    choice = (best + torch.tensor([bonus.get(name, 0.0) for name, _ in table.latents])).argmax(1)
    alive = (table.active > 0).sum(0) >= settings.min_rows
    labels: list[FeatureLatent] = []
    for layer, size in enumerate(sizes):
        offset = sum(sizes[:layer])
        for index in range(size):
            feature = offset + index
            if not alive[feature]:
                continue
            latent = int(choice[feature])
            role = roles[int(role_of[feature, latent])]
            rows = table.members[role]
            auc = area_under_curve(table.active[rows, feature], table.holds[rows, latent] > 0)
            scores = float(weighted[feature, latent]), float(best[feature, latent]), auc
            labels.append(FeatureLatent(layer, index, *table.latents[latent], role, *scores))
    return labels


def check_labels(
    labels: Sequence[FeatureLatent],
    largest: Tensor,
    fresh: LatentTable,
    sizes: Sequence[int],
    settings: LabelSettings | None = None,
) -> list[FeatureLatent]:
    """Score every label again on other text, with the latent, role and levels that were chosen before.

    Args:
        largest: largest activation of each feature on the text of the choice [all features].
        fresh: the other text.
    """
    settings = settings or LabelSettings()
    column_of = {latent: column for column, latent in enumerate(fresh.latents)}
    offsets = [sum(sizes[:layer]) for layer in range(len(sizes))]
    checked: list[FeatureLatent] = []
    for label in labels:
        column, rows = column_of.get((label.name, label.value)), fresh.members.get(label.role)
        if column is None or rows is None or float(fresh.holds[rows, column].sum()) < settings.min_rows:
            checked.append(label)
            continue
        feature = offsets[label.layer] + label.index
        active, holds = fresh.active[:, feature], fresh.holds[:, column] > 0
        f1 = max(_f1(active > level * largest[feature], holds, rows) for level in settings.levels)
        auc = area_under_curve(active[rows], holds[rows])
        checked.append(FeatureLatent(**{**label.__dict__, "held_out_f1": f1, "held_out_auc": auc}))
    return checked


def _f1(on: Tensor, holds: Tensor, rows: Tensor) -> float:
    precision = float((on & holds).sum()) / max(1, int(on.sum()))
    recall = float((on & holds)[rows].sum()) / max(1, int(holds[rows].sum()))
    return 2 * precision * recall / max(1e-9, precision + recall)
