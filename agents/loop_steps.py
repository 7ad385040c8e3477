"""The steps of the loop, bound to one case. Each reads the state, acts through the tools, and returns what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tracescribe.agents.agent import Findings, Progress, Proposal, Proposer
from tracescribe.agents.loop_graph import STEPS, Step
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.registration import RegistryLogError
from tracescribe.agents.report import StepFailure, Stopped
from tracescribe.agents.spans import step_span, tell_verdicts
from tracescribe.agents.state import LoopState, LoopUpdate
from tracescribe.agents.stopping import (
    NOTHING_PROPOSED,
    REVISION_FAILED,
    all_repeated,
    needed_supernodes,
    new_claims,
    stop_before_revision,
)
from tracescribe.tracer.errors import BudgetExceededError, WorkError
from tracescribe.tracer.redaction import current_redactor

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools
    from tracescribe.agents.survey import Survey

VITAL = frozenset({"survey", "judge", "report"})
"""Steps without which there is no report: where one of them fails, the run does."""

Found = Callable[[str], None]


def _words(error: WorkError) -> str:
    """What an error says, as it may be recorded."""
    return current_redactor().text(str(error))


class StepClock:
    """Times the steps, and tells a `Progress` about them."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what an earlier process of the same run spent in each step."""
        self.seconds = {n: seconds.get(n, 0.0) + self.seconds.get(n, 0.0) for n in {**seconds, **self.seconds}}

    @contextmanager
    def step(self, name: str) -> Iterator[Found]:
        """Time one step; call what it yields with a few words on what was found."""
        details: list[str] = []
        self._progress(name, "start", "", 0.0)
        start = time.monotonic()
        try:
            with step_span(name):
                yield details.append
        finally:
            spent = time.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self._progress(name, "done", "; ".join(details), spent)


class LoopSteps:
    """The steps of one run.

    Args:
        going_on: whether the run was begun by another process; the first step here then takes up its state.
        seconds_before: that the run lasted before this process.
    """

    def __init__(
        self,
        tools: CaseTools,
        proposer: Proposer,
        settings: LoopSettings,
        clock: StepClock,
        *,
        going_on: bool = False,
        seconds_before: float = 0.0,
    ) -> None:
        self.tools = tools
        self.proposer = proposer
        self.settings = settings
        self.clock = clock
        self._taken_up = not going_on
        self._seconds_before = seconds_before
        self._survey: Survey | None = None

    def nodes(self) -> Mapping[str, Step]:
        """Every step of the graph by name."""
        return {name: self._node(name, getattr(self, f"_{name}_step")) for name in STEPS[1:]}

    def survey(self, state: LoopState) -> Survey:
        """The survey. A process that goes on with a run computes it again: it follows from the graph, and was paid for."""
        from tracescribe.agents.screening import screen
        from tracescribe.agents.survey import make_survey

        if self._survey is None:
            with self.tools.unmetered():
                survey = make_survey(self.tools)
                self._survey = screen(self.tools, survey) if state["screened"] else survey
        return self._survey

    def _node(self, name: str, step: Callable[[LoopState, Found], LoopUpdate]) -> Step:
        """The step as a node: timed; a failure is recorded, an empty budget cuts the rest short."""

        def node(state: LoopState) -> LoopUpdate:
            self._take_up(state)
            with self.clock.step(name) as found:
                try:
                    update = step(state, found)
                except BudgetExceededError as error:
                    found("cut short")
                    update = LoopUpdate(cut_short=_words(error), pending=())
                except RegistryLogError:
                    raise  # never a mere failure of a step: what is on disk is not this run's
                except WorkError as error:
                    if name in VITAL:
                        raise
                    found("failed")
                    update = LoopUpdate(failures=(StepFailure(step=name, error=_words(error)),))
            return update | LoopUpdate(tools=self.tools.snapshot(), seconds=dict(self.clock.seconds))

        return node

    def _take_up(self, state: LoopState) -> None:
        """Go on from the state that a process which died had left, before the first step here."""
        if not self._taken_up:
            self.tools.restore(state["tools"], self._seconds_before)
            self.clock.add(state["seconds"])
            self._taken_up = True

    # -- looking ------------------------------------------------------------------------------------------------------

    def _survey_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.survey import make_survey

        self._survey = make_survey(self.tools)
        found(f"{len(self._survey.features)} features, answer {self._survey.target_token!r}")
        return LoopUpdate()

    def _screen_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.screening import screen

        self._survey = screen(self.tools, self.survey(state))
        found(f"{len(self._survey.screened)} features needed that the graph does not show")
        return LoopUpdate(screened=True)

    def _evidence_step(self, state: LoopState, found: Found) -> LoopUpdate:
        seen = [self.tools.evidence(node.ref) for node in self.survey(state).features]
        contexts = sum(len(evidence.contexts) for evidence in seen if evidence is not None)
        found(f"{contexts} contexts of {sum(e is not None for e in seen)} features")
        return LoopUpdate()

    # -- labels and groups --------------------------------------------------------------------------------------------

    def _label_step(self, state: LoopState, found: Found) -> LoopUpdate:
        proposal = self.proposer.label(self.tools, self.survey(state))
        found(f"{len(proposal.items)} labels")
        return LoopUpdate(labels=proposal.items, failures=proposal.failures)

    def _test_labels_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.labelling.label_scores import test_labels

        experiments, judging = self.settings.experiments, self.settings.label_tests
        tested = test_labels(self.tools, self.survey(state), self.proposer, state["labels"], experiments, judging)
        scores = [label.score.auc for label in tested.labels if label.score is not None]
        found(f"mean AUC {sum(scores) / len(scores):.2f} over {len(scores)} labels" if scores else "no contexts")
        return LoopUpdate(
            labels=tested.labels, failures=tested.failures, cut_short=tested.cut_short or state["cut_short"]
        )

    def _group_step(self, state: LoopState, found: Found) -> LoopUpdate:
        proposal = self.proposer.group(self.tools, self.survey(state), state["labels"])
        found(f"{len(proposal.items)} supernodes")
        return LoopUpdate(supernodes=proposal.items, failures=proposal.failures)

    # -- claims -------------------------------------------------------------------------------------------------------

    def _hypothesise_step(self, state: LoopState, found: Found) -> LoopUpdate:
        proposal = Proposal[Any]()
        if state["supernodes"] and state["cut_short"] is None:
            survey = self.survey(state)
            proposal = self.proposer.hypothesise(self.tools, survey, state["labels"], state["supernodes"])
        found(f"{len(proposal.items)} claims")
        return LoopUpdate(pending=proposal.items, failures=proposal.failures)

    def _register_step(self, state: LoopState, found: Found) -> LoopUpdate:
        pending = state["pending"]
        for supernode in state["supernodes"]:
            self.tools.registry.define(supernode)
        for claim in pending:
            self.tools.registry.register(claim)
        found(f"{len(pending)} claims")
        return LoopUpdate(claims=pending)

    def _experiment_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.testing.experiments import run_experiments

        batch = run_experiments(self.tools, state["supernodes"], state["pending"], self.settings.experiments)
        found(f"{len(batch.measurements)} experiments")
        return LoopUpdate(
            plans=batch.plans,
            measurements=batch.measurements,
            untestable=batch.untestable,
            cut_short=batch.cut_short or state["cut_short"],
            pending=(),
        )

    def _judge_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.testing.verdicts import judge

        verdicts = judge(state["claims"], state["plans"], state["measurements"], dict(state["untestable"]))
        tell_verdicts(verdicts)
        outcomes = [verdict.outcome for verdict in verdicts]
        found(", ".join(f"{outcomes.count(o)} {o}" for o in sorted(set(outcomes))))
        return LoopUpdate(verdicts=verdicts)

    # -- the circuit as a whole ---------------------------------------------------------------------------------------

    def _assess_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.grouping.supernode_quality import measure_quality
        from tracescribe.agents.reporting.assembly import mark_rejected
        from tracescribe.agents.testing.circuit_effect import measure_circuit

        if state["cut_short"] is not None or not state["measurements"]:
            return LoopUpdate()  # a report that tested nothing has no effects to tell of
        marked = mark_rejected(state["supernodes"], state["claims"], state["verdicts"])
        standing = [supernode for supernode in marked if not supernode.rejected]
        survey = self.survey(state)
        circuit = measure_circuit(self.tools, survey, standing, self.settings.experiments)
        if circuit is not None:
            found(f"sufficiency {circuit.sufficiency:.2f}, necessity {circuit.necessity:.2f}")
        unmeasured = [supernode for supernode in state["supernodes"] if supernode.quality is None]
        try:
            qualities = measure_quality(self.tools, survey, unmeasured)
        except BudgetExceededError as error:  # what the circuit does was paid for, and is kept
            return LoopUpdate(circuit=circuit, cut_short=str(error))
        return LoopUpdate(circuit=circuit, supernodes=qualities)

    def _revise_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.reporting.assembly import current_circuit

        rounds, circuit = state["rounds"], current_circuit(state)
        stopped = stop_before_revision(
            untestable=self.tools.why_untestable(),
            cut_short=state["cut_short"],
            circuit=circuit,
            came_back=state["verdicts"][state["answered"] :],
            rounds=rounds,
            max_rounds=self.settings.max_rounds,
        )
        if stopped is not None:
            found(f"stopped: {stopped.reason}")
            return LoopUpdate(pending=(), stopped=stopped)
        findings = Findings(
            labels=state["labels"],
            supernodes=state["supernodes"],
            claims=state["claims"],
            measurements=state["measurements"],
            verdicts=state["verdicts"],
            rounds=rounds,
            circuit=circuit,
        )
        try:
            revision = self.proposer.revise(self.tools, self.survey(state), findings)
        except BudgetExceededError as error:
            found("cut short")
            stopped = Stopped(reason="budget", detail=str(error), rounds=rounds)
            return LoopUpdate(cut_short=str(error), pending=(), stopped=stopped)
        except WorkError as error:
            found("failed")
            stopped = Stopped(reason="nothing new", detail=f"{REVISION_FAILED}{_words(error)}", rounds=rounds)
            failure = StepFailure(step="revise", error=_words(error))
            return LoopUpdate(failures=(failure,), pending=(), stopped=stopped)
        everything = (*state["supernodes"], *revision.supernodes)
        fresh, repeated = new_claims(revision.claims, state["claims"], everything)
        found(f"{len(fresh)} new claims")
        if not fresh:
            why = all_repeated(len(repeated)) if repeated else NOTHING_PROPOSED
            stopped = Stopped(reason="nothing new", detail=why, rounds=rounds)
            return LoopUpdate(failures=revision.failures, pending=(), stopped=stopped)
        return LoopUpdate(
            supernodes=needed_supernodes(revision.supernodes, fresh, repeated),
            pending=fresh,
            failures=revision.failures,
            rounds=rounds + 1,
            answered=len(state["claims"]),
        )

    def _report_step(self, state: LoopState, found: Found) -> LoopUpdate:
        from tracescribe.agents.reporting.assembly import assemble_report

        seconds = self.clock.seconds
        report = assemble_report(self.tools, self.proposer, self.settings, self.survey(state), state, seconds)
        found(f"{len(report.summary)} sentences")
        return LoopUpdate(report=report)
