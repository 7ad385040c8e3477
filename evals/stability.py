"""Is an agent stable? The same prompts interpreted again with other seeds: features selected, and verdicts that flip.

Source: five passes over one graph, Jaccard of the chosen features and share of verdicts that flip, as Circuit Oracle
reports them of its own language-model agent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.claims import Claim, SwapClaim
from tracescribe.agents.findings import Supernode, Verdict
from tracescribe.evals.judging.rates import Rate
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.agents.agent import InterpretationAgent
    from tracescribe.agents.report import CircuitReport
    from tracescribe.agents.toolbox import Toolbox

SCHEMA = "tracescribe-stability/1"
CIRCUIT_ORACLE_JACCARD, CIRCUIT_ORACLE_FLIPS = 0.511, 0.245
"""Circuit Oracle's own figures for five passes over one graph: nothing else is published to compare with."""
AIM_JACCARD, AIM_FLIPS = 0.95, 0.02
"""What an agent without a language model should reach: its seed decides controls and samples, never what is looked at."""
_NAMES = ("claim_id", "statement", "supernode", "supernodes", "source", "destination")
"""Fields of a claim that tell nothing of its content once its supernodes are told by their members."""

_DONOR = ("donor_prompt", "donor_features", "expected_token")
"""Fields of a swap that the donor decides."""

Tell = Callable[[Claim, Sequence[Supernode]], str]
AgentOfPass = Callable[[str, int], "InterpretationAgent"]
"""The agent for a prompt and a seed."""


class PassProgress(Protocol):
    """Told after every pass."""

    def __call__(self, done: int, total: int, text: str) -> None:
        """`text` names agent and prompt."""
        ...


def _silent(done: int, total: int, text: str) -> None:
    """A `PassProgress` that tells nobody."""


@dataclass(frozen=True)
class Flip:
    """One claim with different verdicts in different passes.

    Attributes:
        content: what it says, members in place of ids.
        outcomes: of every pass.
        effects, q_values: as measured in every pass; None where there was none.
    """

    prompt: str
    content: str
    outcomes: tuple[str, ...]
    effects: tuple[float | None, ...]
    q_values: tuple[float | None, ...]


@dataclass(frozen=True)
class CaseStability:
    """Passes over one prompt.

    Attributes:
        jaccard: mean over pairs of passes, of the features in supernodes that the report stands by.
        n_common: claims made in every pass, word for word.
        flips: claims among them whose verdict is not the same in every pass.
        partial: claims made in some passes only.
        n_subjects: subjects spoken of in every pass: a subject is what a claim says, whatever donor it names.
        subject_flips: subjects of which not every pass says the same; of several swaps of one supernode, most decide.
        n_partial_subjects: subjects spoken of in some passes only.
    """

    prompt: str
    jaccard: float
    n_common: int
    flips: tuple[Flip, ...]
    partial: tuple[str, ...]
    n_subjects: int
    subject_flips: tuple[Flip, ...]
    n_partial_subjects: int


@dataclass(frozen=True)
class AgentStability:
    """One agent over all prompts."""

    agent: str
    cases: tuple[CaseStability, ...]

    @property
    def jaccard(self) -> float:
        """Mean over prompts."""
        return sum(case.jaccard for case in self.cases) / len(self.cases)

    @property
    def flips(self) -> Rate:
        """Claims made in every pass whose verdict flips, of all of them."""
        return Rate.of(sum(len(case.flips) for case in self.cases), sum(case.n_common for case in self.cases))

    @property
    def partial(self) -> Rate:
        """Claims that are not made in every pass, of all."""
        partial = sum(len(case.partial) for case in self.cases)
        return Rate.of(partial, partial + sum(case.n_common for case in self.cases))

    @property
    def subject_flips(self) -> Rate:
        """Subjects spoken of in every pass of which the verdict flips, of all of them."""
        return Rate.of(sum(len(c.subject_flips) for c in self.cases), sum(c.n_subjects for c in self.cases))

    @property
    def partial_subjects(self) -> Rate:
        """Subjects that are not spoken of in every pass, of all."""
        partial = sum(case.n_partial_subjects for case in self.cases)
        return Rate.of(partial, partial + sum(case.n_subjects for case in self.cases))


@dataclass(frozen=True)
class Stability:
    """All agents.

    Attributes:
        seeds: of the passes.
    """

    seeds: tuple[int, ...]
    agents: tuple[AgentStability, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values, beside the figures it is compared with."""
        return {
            "schema_id": SCHEMA,
            "seeds": list(self.seeds),
            "circuit_oracle": {"jaccard": CIRCUIT_ORACLE_JACCARD, "flips": CIRCUIT_ORACLE_FLIPS},
            "agents": [
                {
                    "agent": one.agent,
                    "jaccard": one.jaccard,
                    "flips": one.flips.model_dump(mode="json"),
                    "partial": one.partial.model_dump(mode="json"),
                    "subject_flips": one.subject_flips.model_dump(mode="json"),
                    "partial_subjects": one.partial_subjects.model_dump(mode="json"),
                    "cases": [asdict(case) for case in one.cases],
                }
                for one in self.agents
            ],
        }


def measure_stability(
    agents: Mapping[str, AgentOfPass],
    prompts: Sequence[str],
    seeds: Sequence[int],
    toolbox: Toolbox,
    progress: PassProgress = _silent,
) -> Stability:
    """Let every agent interpret every prompt once with every seed.

    Raises:
        SettingError: fewer than two seeds, or no prompt.
    """
    if len(set(seeds)) < 2 or not prompts:
        raise SettingError(
            f"stability needs at least two different seeds and one prompt, found {len(set(seeds))} and {len(prompts)}"
        )
    total, done = len(agents) * len(prompts) * len(seeds), 0
    budget = Budget(seconds=None)
    found: list[AgentStability] = []
    for name, agent_of in agents.items():
        cases: list[CaseStability] = []
        for prompt in prompts:
            reports: list[CircuitReport] = []
            for seed in seeds:
                case = InterpretationCase("stability", prompt=prompt)
                reports.append(agent_of(prompt, seed).interpret(case, toolbox, budget))
                done += 1
                progress(done, total, f"{name}: {prompt}")
            cases.append(compare_reports(reports))
        found.append(AgentStability(name, tuple(cases)))
    return Stability(tuple(seeds), tuple(found))


def compare_reports(reports: Sequence[CircuitReport]) -> CaseStability:
    """How much reports on one prompt differ."""
    chosen = [_selected(report) for report in reports]
    pairs = list(combinations(chosen, 2))
    claims, subjects = _verdicts(reports, content_of), _verdicts(reports, subject_of)
    flips, n_common, partial = _flips(reports[0].prompt, claims)
    subject_flips, n_subjects, partial_subjects = _flips(reports[0].prompt, subjects)
    return CaseStability(
        prompt=reports[0].prompt,
        jaccard=sum(_jaccard(a, b) for a, b in pairs) / len(pairs),
        n_common=n_common,
        flips=flips,
        partial=partial,
        n_subjects=n_subjects,
        subject_flips=subject_flips,
        n_partial_subjects=len(partial_subjects),
    )


def _verdicts(reports: Sequence[CircuitReport], tell: Tell) -> list[dict[str, list[Verdict]]]:
    """Verdicts by what was claimed, for each report."""
    found: list[dict[str, list[Verdict]]] = []
    for report in reports:
        verdict_of = {verdict.claim_id: verdict for verdict in report.verdicts}
        here: dict[str, list[Verdict]] = {}
        for claim in report.claims:
            here.setdefault(tell(claim, report.supernodes), []).append(verdict_of[claim.claim_id])
        found.append(here)
    return found


def _flips(
    prompt: str, passes: Sequence[Mapping[str, Sequence[Verdict]]]
) -> tuple[tuple[Flip, ...], int, tuple[str, ...]]:
    """What flips, how much is said in every pass, and what is not."""
    common = [content for content in passes[0] if all(content in one for one in passes)]
    partial = sorted(set().union(*passes) - set(common))
    flips: list[Flip] = []
    for content in common:
        outcomes = tuple(_most(one[content]) for one in passes)
        if len(set(outcomes)) > 1:
            first = [one[content][0] for one in passes]
            effects, q_values = tuple(v.effect for v in first), tuple(v.q_value for v in first)
            flips.append(Flip(prompt, content, outcomes, effects, q_values))
    return tuple(flips), len(common), tuple(partial)


def _most(verdicts: Sequence[Verdict]) -> str:
    """The outcome of most verdicts; of several that are as many, the first by name."""
    count = Counter(verdict.outcome for verdict in verdicts)
    return min(count, key=lambda outcome: (-count[outcome], outcome))


def subject_of(claim: Claim, supernodes: Sequence[Supernode]) -> str:
    """What a claim is about: the same as its content, but for the donor of a swap, which the seed draws."""
    content = json.loads(content_of(claim, supernodes))
    dropped = _DONOR if isinstance(claim, SwapClaim) else ()
    return json.dumps({key: value for key, value in content.items() if key not in dropped}, sort_keys=True)


def content_of(claim: Claim, supernodes: Sequence[Supernode]) -> str:
    """What a claim says, whatever its number and its supernodes' ids and names."""
    members = {s.supernode_id: sorted(m.node_id for m in s.members) for s in supernodes}
    told = claim.model_dump(mode="json")
    content: dict[str, object] = {key: value for key, value in told.items() if key not in _NAMES}
    for key in ("supernode", "source", "destination"):
        if key in told:
            content[key] = members[told[key]]
    if "supernodes" in told:
        content["kept"] = sorted({node for name in told["supernodes"] for node in members[name]})
    return json.dumps(content, sort_keys=True)


def _selected(report: CircuitReport) -> frozenset[str]:
    """Features in supernodes that the report stands by."""
    return frozenset(m.node_id for s in report.supernodes if not s.rejected for m in s.members)


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    union = first | second
    return len(first & second) / len(union) if union else 1.0
