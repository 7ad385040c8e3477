"""Cases on the embedded model, with a language model faked at the wire: what is kept, what is failed, what goes on."""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.agents.fake_server import FakeServer, Question, Reply, good, serving
from tests.agents.fake_thinker import think
from tests.runs.executors.case_jobs import put_cases
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.runs.executors import interpret_cases
from tracescribe.runs.executors.call_ledger import job_ledger
from tracescribe.runs.executors.case_graph import graph_artefact
from tracescribe.runs.executors.case_queue import lease_next
from tracescribe.runs.executors.case_weights import LoadedWeights
from tracescribe.runs.executors.contract import CaseLease, CaseOutcome
from tracescribe.runs.executors.interpret_cases import InterpretCases
from tracescribe.runs.executors.leases import finish, give_back
from tracescribe.runs.executors.liveness import new_worker_id, register
from tracescribe.runs.executors.scratch import case_scratch, remove_scratch, sweep_scratch
from tracescribe.runs.jobs.specification import JobSpecification
from tracescribe.runs.review.listing import ReportQuery, find_reports
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.database import Store
from tracescribe.runs.store.errors import LeaseLostError, StoreBusyError
from tracescribe.runs.store.tables import audit_entries, cases, jobs
from tracescribe.tracer.attribution import attribute

DALLAS = "the capital of the state containing Dallas is"
MIAMI = "the capital of the state containing Miami is"
NOW = {"retry-after": "0"}
"""Headers of a fault after which the next attempt need not wait."""


@pytest.fixture(scope="module")
def toolbox() -> Iterator[Toolbox]:
    loaded = load_toolbox()
    gc.freeze()  # as `load_weights` does
    yield loaded
    gc.unfreeze()


@pytest.fixture(autouse=True)
def kept_weights(toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are loaded once for all tests here, as a worker loads them once for all its cases."""
    monkeypatch.setattr(interpret_cases, "load_weights", lambda weights: LoadedWeights(weights, toolbox, "cpu"))
    monkeypatch.setenv("TRACESCRIBE_LLM_API_KEY", "k")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(think_briefly) as running:
        yield running


def think_briefly(question: Question) -> Reply:
    """As the fake model does, with two claims: a test of the workings around them needs no more."""
    reply = think(question)
    answer = json.loads(reply.text)
    return good(answer | {"claims": answer["claims"][:2]}) if "claims" in answer else reply


def job_of(server: FakeServer, *, experiments: int = 0, **given: Any) -> JobSpecification:
    """A job for an agent that asks one question a case; without experiments it ends soon after its answer."""
    fields: dict[str, Any] = {
        "prompts": {"inline": ["x"]},
        "budget": {"case": {"experiments": experiments}},
        "output": {"keep": []},
        "agent": {"spec": f"one-shot@openai-compatible:{server.url('openai')}#fake-1", "judge_labels": False},
    }
    return JobSpecification.model_validate(fields | given)


class Worker:
    """Leases cases and carries them out, one by one."""

    def __init__(self, store: Store, job_id: str) -> None:
        self.store = store
        self.job_id = job_id
        self.function = InterpretCases()

    def lease(self) -> CaseLease:
        """The next case, for a worker of its own."""
        name = new_worker_id()
        register(self.store, name, job_id=self.job_id)
        found = lease_next(self.store, self.job_id, name)
        assert isinstance(found, CaseLease)
        return found

    def run(self, lease: CaseLease | None = None) -> CaseOutcome:
        """Carry out a case and hand it in."""
        held = lease or self.lease()
        outcome = self.function(held, self.store, lambda: True)
        if outcome.stop is None:
            finish(self.store, held, outcome)
        else:
            give_back(self.store, held)
        return outcome


def contents(outcome: CaseOutcome) -> Mapping[str, bytes]:
    """Artefacts by name."""
    return {artefact.name: artefact.content for artefact in outcome.artefacts}


def timeless(outcome: CaseOutcome) -> dict[str, Any]:
    """The report without its times."""
    report: dict[str, Any] = json.loads(contents(outcome)["report.json"])
    report["cost"] |= {"seconds": 0.0, "seconds_by_step": {}}
    return report


def test_a_case_gives_what_interpret_writes(
    store: Store, server: FakeServer, toolbox: Toolbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tracescribe.runs.agent_choice import AgentChoice, budget_with, prepare_agent
    from tracescribe.runs.interpreting import InterpretRequest, run_interpretation
    from tracescribe.runs.terminal import StepLog

    job = job_of(server, experiments=2, output={"keep": ["graph", "page", "markdown", "drawing", "evidence"]})
    put_cases(store, "j", job, [DALLAS])
    outcome = Worker(store, "j").run()
    assert outcome.failure is None and outcome.stop is None and outcome.seconds > 0
    found = contents(outcome)
    assert set(found) == {"report.json", "report.html", "report.md", "circuit.svg", "graph.json", "evidence.json"}
    figures = outcome.figures
    assert (figures.answer, figures.llm_calls, figures.cut_short) == ("Austin", 1, None)
    assert figures.experiments == sum(figures.verdicts.values()) == 2

    request = InterpretRequest(DALLAS, None, "embedded", "embedded", None, True, tmp_path / "out")
    choice = AgentChoice(spec=job.agent.spec, judge_labels=False)
    run_interpretation(request, prepare_agent(choice, max_usd=None), budget_with(experiments=2), StepLog())
    there = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    for name in ("graph.json", "circuit.svg"):
        assert found[name] == there[name]
    report = json.loads(there["report.json"])
    report["cost"] |= {"seconds": 0.0, "seconds_by_step": {}}
    assert timeless(outcome) == report
    evidence = json.loads(found["evidence.json"])
    labelled = {f"L{label['layer']}" for label in report["labels"]}
    assert len(evidence["features"]) == len({(label["layer"], label["feature"]) for label in report["labels"]})
    assert labelled and all(told["contexts"] for told in evidence["features"].values())


def test_the_same_case_again_is_the_same_and_asks_nothing(store: Store, server: FakeServer) -> None:
    job = job_of(server)
    put_cases(store, "one", job, [DALLAS])
    put_cases(store, "two", job, [DALLAS])
    first = Worker(store, "one").run()
    asked = server.calls
    second = Worker(store, "two").run()
    assert asked == server.calls == 1
    assert timeless(first) == timeless(second) and set(contents(second)) == {"report.json"}
    assert first.figures == second.figures
    ledger = job_ledger(store, "two")
    assert (ledger.sendings, ledger.reused) == (0, 1)


@pytest.mark.parametrize("moment", [2, 5])
def test_a_case_that_was_cut_off_goes_on_to_the_same_report(store: Store, server: FakeServer, moment: int) -> None:
    """The store cannot be used any more when it is written to for the moment-th time; then it can again."""
    put_cases(store, "whole", job_of(server, experiments=2), [DALLAS])
    whole = Worker(store, "whole").run()
    put_cases(store, "cut", job_of(server, experiments=2, reuse_answers=False), [DALLAS])
    worker = Worker(store, "cut")
    lease = worker.lease()
    write, count = store.write, iter(range(1, 1000))

    def failing(work: Callable[[sa.Connection], Any], **given: Any) -> Any:
        if next(count) == moment:
            raise StoreBusyError("the store is locked")
        return write(work, **given)

    store.write = failing  # type: ignore[method-assign]
    try:
        with pytest.raises(StoreBusyError):
            worker.function(lease, store, lambda: True)
    finally:
        store.write = write  # type: ignore[method-assign]
    give_back(store, lease)
    again = worker.run()
    assert again.failure is None and timeless(again) == timeless(whole)
    ledger = job_ledger(store, "cut")
    assert ledger.paid_twice == 0 and ledger.sendings == server.calls - 1 <= 2 and ledger.resent == ledger.sendings - 1
    query = sa.select(audit_entries.c.subject).where(audit_entries.c.act == "claim registered")
    registered = store.read(lambda connection: connection.execute(query).scalars().all())
    assert registered.count("cut.0") == registered.count("whole.0") == 2


def test_a_lost_lease_leaves_the_loop_at_once(store: Store, server: FakeServer) -> None:
    put_cases(store, "j", job_of(server), [DALLAS])
    worker = Worker(store, "j")
    lease = worker.lease()
    with pytest.raises(LeaseLostError):
        worker.function(lease, store, lambda: False)
    assert server.calls == 0
    give_back(store, lease)
    assert worker.run().failure is None


def test_a_provider_that_is_down_fails_cases_and_then_stops_the_job(store: Store, server: FakeServer) -> None:
    prompts = [DALLAS, MIAMI, DALLAS.replace("Dallas", "Denver"), DALLAS.replace("Dallas", "Seattle")]
    put_cases(store, "j", job_of(server), prompts)
    worker = Worker(store, "j")
    server.script = lambda _: Reply(status=503, text="come back later", headers=NOW)
    failed = [worker.run() for _ in range(2)]
    assert [outcome.failure.kind for outcome in failed if outcome.failure] == ["provider"] * 2
    assert not any(outcome.artefacts for outcome in failed)
    stopped = worker.run()
    assert stopped.stop is not None and "3 cases in a row" in stopped.stop and "jobs retry j" in stopped.stop
    server.script = think_briefly
    assert worker.run().failure is None
    ledger = job_ledger(store, "j")
    assert (ledger.failed, ledger.answered, ledger.sendings) == (2, 1, 13)


@pytest.mark.parametrize(("status", "words"), [(401, "check the key"), (402, "credit or quota")])
def test_a_provider_that_refuses_stops_the_job_and_it_goes_on_where_it_was(
    store: Store, server: FakeServer, status: int, words: str
) -> None:
    put_cases(store, "j", job_of(server), [DALLAS])
    worker = Worker(store, "j")
    server.script = lambda _: Reply(status=status, text="no")
    outcome = worker.run()
    assert outcome.stop is not None and words in outcome.stop and server.calls == 1
    assert case_scratch(store, "j.0").is_dir()
    server.script = think_briefly
    assert worker.run().failure is None


def test_a_server_that_refuses_every_request_makes_no_report(store: Store, server: FakeServer) -> None:
    put_cases(store, "j", job_of(server), [DALLAS])
    server.script = lambda _: Reply(status=400, text="what is that?")
    outcome = Worker(store, "j").run()
    assert (
        outcome.failure is not None and outcome.failure.kind == "provider" and "what is that" in outcome.failure.message
    )


def test_no_key_stops_the_job(store: Store, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACESCRIBE_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    put_cases(store, "j", job_of(server, agent={"spec": "openai:gpt-5.1"}), [DALLAS])
    outcome = Worker(store, "j").run()
    assert outcome.stop is not None and "OPENAI_API_KEY" in outcome.stop


def test_other_weights_stop_the_job(store: Store, server: FakeServer, toolbox: Toolbox) -> None:
    put_cases(store, "j", job_of(server), [DALLAS])
    put_cases(store, "named", job_of(server, weights={"transcoders_sha256": "e" * 64}), [DALLAS])
    worker = Worker(store, "j")
    worker.run()
    assert toolbox.model is not None and toolbox.transcoders is not None
    row = store.read(
        lambda connection: connection.execute(sa.select(jobs.c.model_sha256).where(jobs.c.job_id == "j")).scalar()
    )
    assert row == toolbox.model.weights_sha256
    stopped = Worker(store, "named").run()
    assert stopped.stop is not None and "wrong transcoders weights" in stopped.stop and "e" * 12 in stopped.stop
    acts = store.read(lambda connection: connection.execute(sa.select(audit_entries.c.act)).scalars().all())
    assert acts.count("weights mismatch") == 1


def test_what_cannot_be_interpreted_is_told_without_personal_data(store: Store, server: FakeServer) -> None:
    put_cases(store, "j", job_of(server), ["mail bob@example.com"])
    outcome = Worker(store, "j").run()
    assert outcome.failure is not None and outcome.failure.kind == "input"
    assert "bob@example" not in outcome.failure.message and "[redacted email]" in outcome.failure.message


def test_a_budget_too_small_for_anything(store: Store, server: FakeServer) -> None:
    put_cases(store, "j", job_of(server, budget={"case": {"seconds": 1e-9}}), [DALLAS])
    outcome = Worker(store, "j").run()
    assert server.calls == 0
    assert outcome.failure is None and outcome.figures.cut_short is not None and "seconds" in outcome.figures.cut_short


def test_scores_come_from_gold_that_no_request_holds(store: Store, server: FakeServer) -> None:
    from tracescribe.evals.scorers.by_intervention import METRICS
    from tracescribe.runs.gold_files import open_gold

    by_intervention = {metric.name for metric in METRICS}
    circuit = open_gold(None).of_prompt(DALLAS)
    assert circuit is not None
    job = job_of(server, scoring={"gold": "oracle", "interventions": True})
    put_cases(store, "j", job, [DALLAS], gold_ids=[circuit.gold_id])
    outcome = Worker(store, "j").run()
    assert outcome.failure is None
    scores = outcome.figures.scores
    assert scores["selection.f1"] is not None and scores["overall"] is not None
    assert any(name in by_intervention and value is not None for name, value in scores.items())
    assert outcome.figures.more == {"family": circuit.family, "tags": list(circuit.tags)}
    listed = find_reports(store, ReportQuery(q="dallas austin")).reports[0]
    assert (listed.score_name, listed.score) == ("grouping.supernode_f1", scores["grouping.supernode_f1"])
    assert listed.kept and listed.supported + listed.refuted + listed.inconclusive + listed.untested > 0
    assert not any(circuit.gold_id in json.dumps(question.body) for question in server.questions)


def test_a_report_that_cannot_be_scored_is_kept(store: Store, server: FakeServer) -> None:
    from tracescribe.runs.gold_files import open_gold

    other = open_gold(None).of_prompt(MIAMI) or open_gold(None).circuits[-1]
    put_cases(store, "j", job_of(server, scoring={"gold": "oracle"}), [DALLAS], gold_ids=[other.gold_id])
    outcome = Worker(store, "j").run()
    assert outcome.failure is not None and outcome.failure.kind == "scoring"
    assert set(contents(outcome)) == {"report.json"} and outcome.figures.report_id is not None
    (listed,) = find_reports(store, ReportQuery()).reports
    assert listed.kept and listed.score is None
    assert listed.failure == outcome.failure.message, "the list says why there is no score"


def test_submitted_graphs_are_interpreted_without_weights(store: Store, server: FakeServer, toolbox: Toolbox) -> None:
    assert toolbox.model is not None and toolbox.transcoders is not None
    graph = attribute(toolbox.model, toolbox.transcoders, DALLAS)
    artefact = graph_artefact(graph, store.scratch)
    sha256 = store.artefacts.put(store, "submitter", "j.0", 0, Artefact("g", "graph", artefact.content))
    put_cases(store, "j", job_of(server, output={"keep": ["graph"]}), [None], graphs=[sha256])
    outcome = Worker(store, "j").run()
    assert outcome.failure is None and outcome.figures.answer == "Austin"
    assert contents(outcome)["graph.json"] == artefact.content


def test_scratch_is_swept_by_what_the_store_says(store: Store, server: FakeServer) -> None:
    put_cases(store, "j", job_of(server), [DALLAS, MIAMI])
    for case_id in ("j.0", "j.1", "gone.5", "../evil"):
        (case_scratch(store, case_id) / "run").mkdir(parents=True)
    store.write(
        lambda connection: connection.execute(sa.update(cases).where(cases.c.case_id == "j.1").values(status="done"))
    )
    assert all(path.parent == store.scratch for path in (case_scratch(store, name) for name in ("../evil", "/etc")))
    assert sweep_scratch(store) == 3
    assert [path.name for path in store.scratch.iterdir()] == ["j.0"]
    remove_scratch(store, "j.0")
    assert list(store.scratch.iterdir()) == [] and sweep_scratch(store) == 0


def test_the_function_travels_without_its_weights(store: Store, server: FakeServer) -> None:
    function = InterpretCases()
    function.prepare(job_of(server), store)
    assert len(pickle.dumps(function)) < 500


def test_a_fault_that_nobody_foresaw_is_told_without_personal_data(
    store: Store, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("what does\nbob@example.com want?")

    monkeypatch.setattr(interpret_cases, "case_graph", broken)
    put_cases(store, "j", job_of(server), [DALLAS])
    outcome = Worker(store, "j").run()
    assert outcome.failure is not None and outcome.failure.kind == "error"
    assert outcome.failure.message == "ValueError: what does [redacted email] want?"


def test_a_refused_report_is_not_taken_up_by_the_next_attempt(store: Store, server: FakeServer) -> None:
    prompts = [DALLAS, MIAMI, DALLAS.replace("Dallas", "Denver")]
    put_cases(store, "j", job_of(server), prompts)
    worker = Worker(store, "j")
    server.script = lambda _: Reply(status=400, text="what is that?")
    kinds = [worker.run() for _ in prompts]
    assert [bool(outcome.failure) for outcome in kinds] == [True, True, False] and kinds[2].stop is not None
    server.script = think_briefly
    again = worker.run()
    assert (
        again.failure is None and again.figures.llm_calls == 1 and json.loads(contents(again)["report.json"])["labels"]
    )


def test_a_trace_that_took_long_is_kept_for_later_cases(
    store: Store, server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tracescribe.runs.executors import case_graph
    from tracescribe.runs.store.tables import derivations
    from tracescribe.tracer import attribution

    traced: list[str] = []

    def counting(model: Any, transcoders: Any, prompt: str) -> Any:
        traced.append(prompt)
        return attribute(model, transcoders, prompt)

    monkeypatch.setattr(case_graph, "KEEP_AFTER_SECONDS", -1.0)
    monkeypatch.setattr(attribution, "attribute", counting)
    for name, keep in (("one", ["graph"]), ("two", ["graph"]), ("three", [])):
        put_cases(store, name, job_of(server, output={"keep": keep}), [DALLAS])
    first, second = Worker(store, "one").run(), Worker(store, "two").run()
    assert len(traced) == 1 and contents(first)["graph.json"] == contents(second)["graph.json"]
    assert timeless(first) == timeless(second)
    assert store.artefacts.sweep(store) == 0, "what later cases take is nobody's remains"
    assert timeless(Worker(store, "three").run()) == timeless(first) and len(traced) == 1
    query = sa.select(derivations.c.sha256)
    sha256 = store.read(lambda connection: connection.execute(query).scalar_one())
    next(path for path in tmp_path.rglob(sha256[2:]) if path.is_file()).write_bytes(b"damaged")
    put_cases(store, "four", job_of(server), [DALLAS])
    assert timeless(Worker(store, "four").run()) == timeless(first) and len(traced) == 2
