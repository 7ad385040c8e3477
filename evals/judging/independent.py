"""What an edit does, measured without any code that agents or the tracer use: the embedded model's own forward pass.

The same quantities as the kinds of claim speak of, computed once more: `docs/claims.md` is the specification that both
sides were written from.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tracescribe.agents.claims import (
    Claim,
    EdgeClaim,
    NecessityClaim,
    SteeringClaim,
    SufficiencyClaim,
    SwapClaim,
)
from tracescribe.evals.oracle.effects import set_features
from tracescribe.evals.oracle.homes import World
from tracescribe.tracer.embedded.training.corpus import BOS, Sample
from tracescribe.tracer.graph import FeatureNode, FeatureRef

MIN_WHOLE = 0.1
"""Sufficiency: least probability that all features together must carry, as in the definition of the claim."""
_FLOOR = 1e-30
"""Probabilities below it are taken as it, so that a log-probability stays finite."""

Members = Mapping[str, Sequence[FeatureNode]]
"""Feature nodes by supernode id."""
Values = Mapping[FeatureNode, float]
"""What each feature is set to."""


@dataclass(frozen=True)
class Observed:
    """What was seen when a claim's edit was made.

    Attributes:
        effect: in the units of the claim's threshold; None where the quantity does not exist.
        added_alone: swaps: nats of odds that taking the members away adds to bringing the donor's features in.
        why: why there is no effect.
    """

    effect: float | None
    added_alone: float | None = None
    why: str = ""


@dataclass(frozen=True, eq=False)
class IndependentModel:
    """Runs edits of features on prompts of the corpus.

    Attributes:
        world: model and transcoder.
        live: by layer, features that fire anywhere in the corpus.
    """

    world: World
    live: tuple[tuple[int, ...], ...]
    _norms: list[torch.Tensor] = field(default_factory=list, repr=False)

    def activations(self, prompt: str) -> dict[FeatureNode, float]:
        """Every feature that fires in a prompt, BOS left out, with its activation."""
        ids = torch.tensor([[self.world.ids_of[word] for word in (BOS, *prompt.split())]])
        with torch.no_grad():
            run = self.world.model.run(ids)
            found: dict[FeatureNode, float] = {}
            for layer in range(self.world.model.n_layers):
                active = self.world.transcoder.activations(layer, run.mlp_inputs[layer][0])
                for position, feature in active.nonzero().tolist():
                    if position:
                        found[FeatureNode(layer, position, feature)] = float(active[position, feature])
        return found

    def observe(self, sample: Sample, claim: Claim, members: Members) -> Observed:
        """Make the edit that an intervention claim speaks of, and measure what it speaks of.

        Args:
            sample: the prompt.
            claim: any kind but a label.
            members: of every supernode that the claim names.
        """
        clean = self.activations(sample.prompt)
        rows = self._rows(sample, claim, members, clean)
        if isinstance(rows, str):
            return Observed(None, why=rows)
        return self._measure(sample, claim, members, rows)[0]

    def reached_by_chance(
        self, sample: Sample, claim: Claim, members: Members, effect: float, n: int, rng: random.Random
    ) -> float | None:
        """Share of random pushes of the same size that do as much as the claim's own edit.

        Every feature that the edit changes is replaced by a random live feature of its layer, pushed as hard (activation
        times decoder norm). None where the edit changes nothing, and for sufficiency, which pushes nothing.
        """
        clean = self.activations(sample.prompt)
        rows = self._rows(sample, claim, members, clean)
        if isinstance(rows, str) or isinstance(claim, SufficiencyClaim):
            return None
        shifts = {node: value - clean.get(node, 0.0) for node, value in rows[0].items()}
        shifts = {node: amount for node, amount in shifts.items() if amount != 0.0}
        if not shifts:
            return None
        barred = {FeatureRef(n.layer, n.feature) for n in (*shifts, *_read(claim, members))}
        pushes = [self._random_push(shifts, barred, clean, rng) for _ in range(n)]
        observed = self._measure(sample, claim, members, pushes)
        return sum(o.effect is not None and o.effect >= effect for o in observed) / n

    # -- edits --------------------------------------------------------------------------------------------------------

    def _rows(self, sample: Sample, claim: Claim, members: Members, clean: Values) -> list[Values] | str:
        """The claim's edit, and further rows that its measure needs; or why there is none."""
        match claim:
            case NecessityClaim():
                return [dict.fromkeys(members[claim.supernode], 0.0)]
            case EdgeClaim():
                if not _read(claim, members):
                    return "nothing is left to read"
                return [dict.fromkeys(members[claim.source], 0.0)]
            case SteeringClaim():
                return [{n: claim.multiplier * clean.get(n, 0.0) for n in members[claim.supernode]}]
            case SufficiencyClaim():
                kept = {node for name in claim.supernodes for node in members[name]}
                return [{n: 0.0 for n in clean if n not in kept}, dict.fromkeys(clean, 0.0)]
            case SwapClaim():
                donor = self.activations(claim.donor_prompt)
                offset = sample.answer - 1 - len(claim.donor_prompt.split())
                brought: dict[FeatureNode, float] = {}
                for given in claim.donor_features:
                    value = donor.get(given.node, 0.0)
                    if value == 0.0:
                        return f"feature {given.node_id} does not fire in the donor prompt"
                    brought[FeatureNode(given.layer, given.position + offset, given.feature)] = value
                own = members[claim.supernode]
                kept_own = {n: clean.get(n, 0.0) for n in own}
                return [dict.fromkeys(own, 0.0) | brought, {**brought, **kept_own}]
            case _:
                raise TypeError(f"claim {claim.claim_id} is about a label, which no edit tests")

    def _measure(self, sample: Sample, claim: Claim, members: Members, rows: Sequence[Values]) -> list[Observed]:
        """The claim's quantity in every row; of swaps and sufficiency the last row is the reference of the first."""
        ids = self.world.ids_of
        edited = set_features(self.world, sample, [{}, *rows])
        log_p = edited.probabilities.clamp_min(_FLOOR).log()
        match claim:
            case NecessityClaim():
                token = ids[claim.target_token]
                return [Observed(float(log_p[0, token] - after[token])) for after in log_p[1:]]
            case SteeringClaim():
                token, sign = ids[claim.expected_token], 1.0 if claim.direction == "up" else -1.0
                return [Observed(sign * float(after[token] - log_p[0, token])) for after in log_p[1:]]
            case SwapClaim():
                new, old = ids[claim.expected_token], ids[sample.answer_word]
                odds = log_p[:, new] - log_p[:, old]
                gains = edited.probabilities[1:, new] - edited.probabilities[0, new]
                return [Observed(float(gain), float(odd - odds[-1])) for gain, odd in zip(gains, odds[1:], strict=True)]
            case SufficiencyClaim():
                token = ids[claim.target_token]
                before, kept, empty = (float(p) for p in edited.probabilities[:3, token])
                if before - empty < MIN_WHOLE:
                    return [Observed(None, why="features carry next to nothing of the answer")]
                return [Observed((kept - empty) / (before - empty))]
            case EdgeClaim():
                read = _read(claim, members)
                sums = sum(edited.activations[n.layer][:, n.position, n.feature].double() for n in read)
                assert isinstance(sums, torch.Tensor)
                before = float(sums[0])
                if before <= 0.0:
                    return [Observed(None, why="the destination is silent")] * len(rows)
                return [Observed(claim.sign * (before - float(after)) / before) for after in sums[1:]]
            case _:
                raise TypeError(f"claim {claim.claim_id} is about a label, which no edit tests")

    def _random_push(self, shifts: Values, barred: set[FeatureRef], clean: Values, rng: random.Random) -> Values:
        stand_in: dict[FeatureRef, FeatureRef] = {}
        taken = set(barred)
        row: dict[FeatureNode, float] = {}
        for node, amount in shifts.items():
            ref = FeatureRef(node.layer, node.feature)
            if ref not in stand_in:
                pool = [f for f in self.live[node.layer] if FeatureRef(node.layer, f) not in taken]
                stand_in[ref] = FeatureRef(node.layer, rng.choice(pool))
                taken.add(stand_in[ref])
            other = stand_in[ref].feature
            ratio = self._norm(node.layer, node.feature) / max(self._norm(node.layer, other), 1e-9)
            there = FeatureNode(node.layer, node.position, other)
            row[there] = clean.get(there, 0.0) + amount * ratio
        return row

    def _norm(self, layer: int, feature: int) -> float:
        if not self._norms:
            self._norms.extend(d.flatten(1).norm(dim=1) for d in self.world.transcoder.decoders)
        return float(self._norms[layer][feature])


def _read(claim: Claim, members: Members) -> list[FeatureNode]:
    """Features whose activation an edge claim speaks of: those of the destination that the edit does not set."""
    if not isinstance(claim, EdgeClaim):
        return []
    source = set(members[claim.source])
    return [node for node in members[claim.destination] if node not in source]
