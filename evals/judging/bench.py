"""The bench of the judge: false and true claims planted, scripted models let loose, null worlds judged, all counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tracescribe.agents.claims import CLAIM_KINDS
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.evals.judging.concepts import ConceptWords
from tracescribe.evals.judging.corpus_truth import CorpusTruth
from tracescribe.evals.judging.judging import Judged, judge_agent, judge_sheet
from tracescribe.evals.judging.known_prompts import KnownPrompt, known_prompts
from tracescribe.evals.judging.null import ExchangedNull, Measured, RandomClaims, exchanged_null, measured_claims
from tracescribe.evals.judging.plant import PER_KIND, Planter
from tracescribe.evals.judging.rates import JudgedClaim, KindRates, Rate, rates
from tracescribe.evals.judging.truth import RANDOM_PUSHES, TruthTeller
from tracescribe.evals.oracle.building import load_oracle_gold, load_world
from tracescribe.evals.scripted.adversary import Adversary
from tracescribe.evals.scripted.agent import scripted_agent
from tracescribe.evals.scripted.truthful import Truthful
from tracescribe.tracer import embedded
from tracescribe.tracer.errors import SettingError

if TYPE_CHECKING:
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.evals.oracle.homes import World

SCHEMA = "tracescribe-judge-bench/1"
DEFAULT_N, QUICK_N = 200, 60
MIN_PROMPTS = 6
"""One of every task."""


class BenchProgress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """`text` names what was done last."""
        ...


def _silent(stage: str, done: int, total: int, text: str) -> None:
    """A `BenchProgress` that tells nobody."""


@dataclass(frozen=True)
class JudgeBenchSettings:
    """How much is planted.

    Attributes:
        n: least number of false claims registered directly.
        seed: of every draw, and of the judge.
        model_prompts: prompts that the scripted models interpret.
        null_reports: reports of random claims.
        exchanged_reports: reports of exchanged controls.
        per_kind: most claims of each kind on a sheet.
        pushes: random pushes behind the truth of one claim.
        every: of the corpus, only every so many-th sentence is run for the truth about labels.

    Raises:
        SettingError: fewer than one claim.
    """

    n: int = DEFAULT_N
    seed: int = 0
    model_prompts: int = 8
    null_reports: int = 8
    exchanged_reports: int = 2000
    per_kind: int = PER_KIND
    pushes: int = RANDOM_PUSHES
    every: int = 1

    def __post_init__(self) -> None:
        if self.n < 1:
            raise SettingError(f"n is {self.n}, but at least 1 false claim must be planted")

    @classmethod
    def quick(cls, seed: int = 0, n: int = QUICK_N) -> JudgeBenchSettings:
        """Small enough for every change of the code."""
        return cls(
            n=n, seed=seed, model_prompts=2, null_reports=2, exchanged_reports=400, per_kind=2, pushes=60, every=4
        )


@dataclass(frozen=True, eq=False)
class JudgeBench:
    """What the bench found.

    Attributes:
        settings: how it was run.
        n_prompts: prompts on which claims were planted.
        claims: every claim whose truth is sure, of every source.
        left_out: candidates whose truth was not sure, or not what they were made for, by kind and truth.
        unclear: claims of the scripted models whose truth is not sure.
        random_reports: reports of random claims with at least one supported, of all.
        exchanged: controls in the place of tested features.
    """

    settings: JudgeBenchSettings
    n_prompts: int
    claims: tuple[JudgedClaim, ...]
    left_out: dict[str, int]
    unclear: int
    random_reports: Rate
    exchanged: ExchangedNull

    def of(self, *sources: str, true: bool) -> tuple[JudgedClaim, ...]:
        """Claims of some sources, of one truth."""
        return tuple(c for c in self.claims if c.source in sources and c.true is true)

    @property
    def false_rates(self) -> tuple[KindRates, ...]:
        """False claims, registered directly and proposed by the adversary."""
        return rates(self.of("registered", "adversary", true=False), CLAIM_KINDS)

    @property
    def true_rates(self) -> tuple[KindRates, ...]:
        """True claims, registered directly and proposed by the truthful model."""
        return rates(self.of("registered", "truthful", true=True), CLAIM_KINDS)

    @property
    def random_rates(self) -> tuple[KindRates, ...]:
        """Random claims, none of them true."""
        return rates(self.of("random", true=False), CLAIM_KINDS)

    @property
    def wrongly_supported(self) -> tuple[JudgedClaim, ...]:
        """False claims that were supported, in their report or alone: each is a fault of the judge."""
        return tuple(c for c in self.claims if not c.true and "supported" in (c.outcome, c.alone))

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        from dataclasses import asdict

        tables = {"false": self.false_rates, "true": self.true_rates, "random": self.random_rates}
        return {
            "schema_id": SCHEMA,
            "settings": asdict(self.settings),
            "n_prompts": self.n_prompts,
            **{name: [row.model_dump(mode="json") for row in table] for name, table in tables.items()},
            "random_reports": self.random_reports.model_dump(mode="json"),
            "exchanged": {
                name: getattr(self.exchanged, name).model_dump(mode="json")
                for name in ("claims", "reports", "small_p", "without_threshold")
            },
            "left_out": self.left_out,
            "unclear": self.unclear,
            "claims": [claim.model_dump(mode="json") for claim in self.claims],
        }


@dataclass(eq=False)
class JudgeBenchRun:
    """One run of the bench: what is known, and what was found so far."""

    settings: JudgeBenchSettings
    toolbox: Toolbox
    world: World
    teller: TruthTeller
    words: ConceptWords
    prompts: tuple[KnownPrompt, ...]
    progress: BenchProgress = _silent
    claims: list[JudgedClaim] = field(default_factory=list)
    pool: list[Measured] = field(default_factory=list)
    unclear: int = 0

    @property
    def loop(self) -> LoopSettings:
        """The judge as every agent has it."""
        return LoopSettings(seed=self.settings.seed)

    def run(self) -> JudgeBench:
        """All stages."""
        planter = Planter(self.teller, self.words, self.teller.model.live, self.settings.seed)
        n_prompts = self._planted(planter)
        self._models()
        reports = self._random()
        self.progress("null", 0, 1, "exchanged controls")
        exchanged = exchanged_null(self.pool, self.settings.exchanged_reports, self.settings.seed)
        self.progress("null", 1, 1, "exchanged controls")
        left_out = {f"{kind} {status}": n for (kind, status), n in sorted(planter.left_out.items())}
        return JudgeBench(self.settings, n_prompts, tuple(self.claims), left_out, self.unclear, reports, exchanged)

    def _planted(self, planter: Planter) -> int:
        """False and true sheets, prompt after prompt, until there are enough."""
        n_false = n_prompts = 0
        for known in self.prompts:
            if n_false >= self.settings.n and n_prompts >= MIN_PROMPTS:
                break
            per_kind = self.settings.per_kind
            for sheet in (planter.false_sheet(known, per_kind), planter.true_sheet(known, per_kind)):
                self._take(judge_sheet("registered", known, sheet, self.toolbox, self.loop))
            n_false = sum(c.source == "registered" and not c.true for c in self.claims)
            n_prompts += 1
            self.progress("planted", min(n_false, self.settings.n), self.settings.n, known.gold.gold_id)
        return n_prompts

    def _models(self) -> None:
        """The adversary and the truthful model, through the loop."""
        chosen = self.prompts[: self.settings.model_prompts]
        for number, known in enumerate(chosen, start=1):
            adversary = scripted_agent("adversary", Adversary(self.settings.seed), self.loop)
            truthful = scripted_agent("truthful", Truthful(known, self.words, self.teller.corpus), self.loop)
            self._take(judge_agent("adversary", known, adversary, self.teller, self.toolbox))
            self._take(judge_agent("truthful", known, truthful, self.teller, self.toolbox))
            self.progress("models", number, len(chosen), known.gold.gold_id)

    def _random(self) -> Rate:
        """Reports of random claims."""
        random_claims = RandomClaims(self.teller, self.words, self.settings.seed)
        hits = reports = 0
        for number in range(self.settings.null_reports):
            known = self.prompts[number % len(self.prompts)]
            judged = judge_sheet("random", known, random_claims.sheet(known, number), self.toolbox, self.loop)
            hits += any(claim.outcome == "supported" for claim in judged.claims)
            reports += 1
            self._take(judged)
            self.progress("random claims", number + 1, self.settings.null_reports, known.gold.gold_id)
        return Rate.of(hits, reports)

    def _take(self, judged: Judged) -> None:
        self.claims += judged.claims
        self.unclear += judged.unclear
        self.pool += measured_claims(judged.report)


def prepare(settings: JudgeBenchSettings, toolbox: Toolbox, progress: BenchProgress = _silent) -> JudgeBenchRun:
    """Find out what is known, before anything is judged.

    Raises:
        GoldFormatError: the oracle gold belongs to other weights.
    """
    gold = load_oracle_gold(check_weights=False)
    world = load_world(embedded.model_dir(), embedded.transcoder_dir())
    progress("truth", 0, 2, "corpus")
    teller = TruthTeller.of(CorpusTruth.read(world, settings.every), settings.seed, settings.pushes)
    progress("truth", 1, 2, "prompts")
    prompts = known_prompts(world, gold, len(gold.circuits), settings.seed)
    progress("truth", 2, 2, "done")
    return JudgeBenchRun(settings, toolbox, world, teller, ConceptWords.draw(), prompts, progress)


def run_judge_bench(settings: JudgeBenchSettings, toolbox: Toolbox, progress: BenchProgress = _silent) -> JudgeBench:
    """Run the bench.

    Raises:
        GoldFormatError: the oracle gold belongs to other weights.
    """
    return prepare(settings, toolbox, progress).run()
