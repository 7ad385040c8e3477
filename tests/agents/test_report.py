"""The report's validator: what a report must not do, done to a real report."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tracescribe.agents.claims import FeatureAt, LabelClaim
from tracescribe.agents.findings import CircuitEffect
from tracescribe.agents.registration import FIRST_PREVIOUS, Registration, chain_sha256
from tracescribe.agents.report import CircuitReport, Sentence, StepFailure, Stopped, parse_report, validate_report
from tracescribe.agents.reporting.report_checks import report_faults
from tracescribe.agents.reporting.report_numbers import SourcedNumber
from tracescribe.agents.reporting.report_schema import generated_schema, report_schema
from tracescribe.agents.reporting.report_seal import report_sha256, seal_faults
from tracescribe.agents.reporting.report_story_checks import sentence_faults
from tracescribe.agents.reporting.report_whole_checks import standing_features
from tracescribe.agents.reporting.story import tell_story
from tracescribe.tracer.errors import ReportError


def changed(report: CircuitReport, **update: object) -> CircuitReport:
    return report.model_copy(update=update)


def rechained(entries: list[Registration]) -> tuple[Registration, ...]:
    """The entries in this order with a chain that fits: what a careful forger would write."""
    previous, out = FIRST_PREVIOUS, []
    for number, entry in enumerate(entries):
        chain = chain_sha256(number, entry.event, entry.subject, entry.sha256, previous)
        out.append(entry.model_copy(update={"sequence": number, "previous": previous, "chain": chain}))
        previous = chain
    return tuple(out)


def forged(report: CircuitReport, entries: list[Registration] | None = None) -> CircuitReport:
    """The report with a seal and a chain that fit it: what a forger writes who keeps all of the rules of hashing."""
    log = list(report.registry if entries is None else entries)
    if log and log[-1].event == "reported":
        log[-1] = log[-1].model_copy(update={"subject": report.report_id, "sha256": report_sha256(report)})
    return report.model_copy(update={"registry": rechained(log)})


def faults_of(report: CircuitReport) -> str:
    """Every fault of a report, whose seal fits it."""
    return "; ".join(report_faults(forged(report)))


def test_a_real_report_is_valid_and_survives_its_json(dallas_report: CircuitReport) -> None:
    validate_report(dallas_report)
    assert parse_report(dallas_report.model_dump_json()) == dallas_report


def test_an_uncited_sentence_is_refused(dallas_report: CircuitReport) -> None:
    document = dallas_report.model_dump(mode="json")
    document["summary"][0]["claims"] = []
    with pytest.raises(ReportError, match=r"summary\.0\.claims"):
        parse_report(json.dumps(document))


def test_unknown_ids_are_refused_all_at_once(dallas_report: CircuitReport) -> None:
    sentence = Sentence(text="Made up.", claims=("c999",))
    faulty = changed(dallas_report, summary=(sentence,), supernodes=dallas_report.supernodes[1:])
    with pytest.raises(ReportError) as error:
        validate_report(faulty)
    assert "summary[0] cites unknown claim c999" in str(error.value)
    assert f"names unknown supernode {dallas_report.supernodes[0].supernode_id}" in str(error.value)


def test_a_claim_tested_before_it_was_registered_is_refused(dallas_report: CircuitReport) -> None:
    """Even by someone who makes the chain fit."""
    entries = list(dallas_report.registry)
    registered = next(i for i, e in enumerate(entries) if e.event == "registered" and e.subject == "c1")
    measured = next(i for i, e in enumerate(entries) if e.event == "measured" and e.subject == "c1")
    entries.insert(measured, entries.pop(registered))
    with pytest.raises(ReportError, match="claim c1 was planned before it was registered"):
        validate_report(changed(dallas_report, registry=rechained(entries)))


def test_a_claim_changed_after_registration_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.claims[0].model_copy(update={"min_effect": 0.001})
    with pytest.raises(ReportError, match="claim c1 differs from what was registered"):
        validate_report(changed(dallas_report, claims=(first, *dallas_report.claims[1:])))


def test_a_supernode_changed_after_its_claims_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.supernodes[0]
    grown = first.model_copy(update={"members": (*first.members, FeatureAt(layer=0, position=1, feature=0))})
    with pytest.raises(
        ReportError, match=f"the members of supernode {first.supernode_id} differ from what was defined"
    ):
        validate_report(changed(dallas_report, supernodes=(grown, *dallas_report.supernodes[1:])))


def test_a_log_that_was_tampered_with_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="the log was changed"):
        validate_report(changed(dallas_report, registry=dallas_report.registry[1:]))


def test_a_verdict_without_an_experiment_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="supported without an experiment"):
        validate_report(changed(dallas_report, plans=()))


def test_a_claim_without_a_verdict_is_refused(dallas_report: CircuitReport) -> None:
    with pytest.raises(ReportError, match="claim c1 has no verdict"):
        validate_report(changed(dallas_report, verdicts=dallas_report.verdicts[1:]))


def test_a_verdict_that_the_rule_does_not_give_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.verdicts[0]
    assert first.outcome == "supported"
    for update in ({"outcome": "refuted"}, {"q_value": 0.0001}, {"effect": 99.0}):
        verdicts = (first.model_copy(update=update), *dallas_report.verdicts[1:])
        with pytest.raises(ReportError, match=r"but the rule makes it supported|differ from what the rule makes of"):
            validate_report(changed(dallas_report, verdicts=verdicts))


def test_a_reason_that_tells_other_numbers_is_refused(dallas_report: CircuitReport) -> None:
    first = dallas_report.verdicts[0]
    verdicts = (first.model_copy(update={"reason": first.reason.replace(" ", " 9", 1)}), *dallas_report.verdicts[1:])
    with pytest.raises(ReportError, match="the numbers in the verdict of claim c1 differ"):
        validate_report(changed(dallas_report, verdicts=verdicts))


def refused(document: dict[str, Any]) -> str:
    """Why a document is refused; empty where it is not."""
    try:
        parse_report(json.dumps(document))
    except ReportError as error:
        return str(error)
    return ""


def test_every_changed_figure_of_the_story_is_refused(dallas_report: CircuitReport) -> None:
    """Each digit outside quotations becomes another one, of any script, or none; words say numbers; sources change places."""
    document = dallas_report.model_dump(mode="json")
    tried = 0

    def faulty(place: int, sentence: Sentence, **update: object) -> bool:
        nonlocal tried
        tried += 1
        return bool(sentence_faults(dallas_report, document, place, sentence.model_copy(update=update)))

    for place, sentence in enumerate(dallas_report.summary):
        assert not faulty(place, sentence)
        text, numbers = sentence.text, sentence.numbers
        quoted = [match.span() for match in re.finditer(r"'[^']*'", text)]
        for at, character in enumerate(text):
            if character.isdigit() and not any(start <= at < end for start, end in quoted):
                for digit in {"0", "5", "9", "٣", "²", ""} - {character}:
                    assert faulty(place, sentence, text=text[:at] + digit + text[at + 1 :])
        for word in ("two", "half", "%", "1", "percent"):
            assert faulty(place, sentence, text=f"{text[:-1]} {word}.")
        if numbers:
            assert faulty(place, sentence, numbers=())
        if len({number.text for number in numbers}) > 1:
            assert faulty(place, sentence, numbers=numbers[::-1])
            sources = [number.source for number in numbers]
            assert faulty(
                place,
                sentence,
                numbers=tuple(
                    number.model_copy(update={"source": source})
                    for number, source in zip(numbers, sources[1:] + sources[:1], strict=True)
                ),
            )
    assert tried > 200
    first = dallas_report.summary[0]
    false = first.model_copy(update={"text": first.text.replace("1.00", ".95").replace(".97", ".95")})
    with pytest.raises(ReportError, match=r"summary\[0\] lists the number"):
        validate_report(changed(dallas_report, summary=(false, *dallas_report.summary[1:])))


def test_a_number_of_a_claim_that_the_sentence_does_not_cite_is_refused(dallas_report: CircuitReport) -> None:
    number = SourcedNumber(text="1", source="/verdicts/1/rank")
    for source, words in (
        ("/verdicts/1/rank", "which is none of the claims"),
        ("/provenance/seed", "which is none"),
        ("/", "no number"),
    ):
        sentence = Sentence(text="It is 1.", claims=("c1",), numbers=(number.model_copy(update={"source": source}),))
        with pytest.raises(ReportError, match=words):
            validate_report(changed(dallas_report, summary=(sentence,)))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """Every number in a JSON value, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        if isinstance(child, int | float) and not isinstance(child, bool):
            yield (*path, key), float(child)
        yield from leaves(child, (*path, key))


def reforged(document: dict[str, Any]) -> dict[str, Any]:
    """A document whose seal fits it, chain and all; the document itself where it is no report any more."""
    try:
        report = CircuitReport.model_validate_json(json.dumps(document))
    except ValueError:
        return document
    if [entry.sequence for entry in report.registry] != list(range(len(report.registry))):
        return document
    entries = list(report.registry)
    last = entries[-1].model_copy(update={"sha256": report_sha256(report)})
    last = last.model_copy(
        update={"chain": chain_sha256(last.sequence, last.event, last.subject, last.sha256, last.previous)}
    )
    return report.model_copy(update={"registry": (*entries[:-1], last)}).model_dump(mode="json")


def put(document: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value


@pytest.mark.parametrize("part", ["claims", "plans", "measurements", "verdicts", "registry", "swaps", "supernodes"])
def test_every_changed_value_is_refused(dallas_report: CircuitReport, part: str) -> None:
    """Numbers of claims, plans, measurements, verdicts, the log and what sums them up: none can be changed alone."""
    document = dallas_report.model_dump(mode="json")
    free = {"influence", "quality"}  # of supernodes: no claim, and nothing that the log fixes
    found = [(path, value) for path, value in leaves(document[part], (part,)) if not free & set(path)]
    rng = random.Random(7)
    for number, (path, value) in enumerate(rng.sample(found, min(len(found), 25))):
        others = (value + 1.0, value * 0.5 + 0.25)  # in turns: a value of one's half is its own
        other = others[number % 2] if others[number % 2] != value else others[0]
        put(document, path, other)
        assert refused(reforged(document)), path
        put(document, path, int(value) if value.is_integer() and "e" not in repr(value) else value)
    assert found


def test_results_cannot_be_left_out(dallas_report: CircuitReport) -> None:
    """Neither a measured claim with all that belongs to it, nor its measurement alone."""
    claim = dallas_report.claims[0].claim_id
    plan = next(p for p in dallas_report.plans if p.claim_id == claim)
    without = changed(
        dallas_report,
        claims=dallas_report.claims[1:],
        verdicts=tuple(v for v in dallas_report.verdicts if v.claim_id != claim),
        plans=tuple(p for p in dallas_report.plans if p.claim_id != claim),
        measurements=tuple(m for m in dallas_report.measurements if m.plan_id != plan.plan_id),
    )
    with pytest.raises(ReportError, match=rf"claim {claim} was measured \(entry \d+\), but the report leaves it out"):
        validate_report(without)
    unmeasured = changed(dallas_report, measurements=without.measurements)
    with pytest.raises(ReportError, match=rf"claim {claim} was measured .* leaves the result out"):
        validate_report(unmeasured)


def test_what_is_said_of_the_whole_must_fit_the_claims(dallas_report: CircuitReport) -> None:
    report = with_circuit(dallas_report)
    circuit, stopped = report.circuit, report.stopped
    assert circuit is not None
    validate_report(report)
    false: list[tuple[dict[str, object], str]] = [
        (
            {"circuit": circuit.model_copy(update={"n_features": circuit.n_features + 1})},
            "but the supernodes that stand have",
        ),
        ({"circuit": circuit.model_copy(update={"n_active": 0})}, "of 0 that are active"),
        ({"circuit": circuit.model_copy(update={"sufficiency_p": 0.001})}, "the circuit's sufficiency has p 0.001"),
        ({"circuit": circuit.model_copy(update={"necessity": -5.0})}, "the circuit's necessity has p"),
        ({"circuit": circuit.model_copy(update={"target": "nonsense"})}, "which is no target of the report"),
        ({"swaps": ()}, "are not summed up"),
        (
            {"swaps": tuple(s.model_copy(update={"n_supported": 0}) for s in report.swaps)},
            "does not follow from their verdicts",
        ),
        ({"swaps": (*report.swaps, report.swaps[0])}, "summed up twice"),
        ({"stopped": Stopped(reason="untestable", detail="", rounds=0)}, "but experiments were run"),
        ({"stopped": Stopped(reason="complete", detail="", rounds=0), "circuit": None}, "does not carry the answer"),
        ({"stopped": Stopped(reason="nothing new", detail="", rounds=0), "cut_short": "no money"}, "was cut short"),
        (
            {"supernodes": tuple(s.model_copy(update={"rejected": True}) for s in report.supernodes)},
            "marked as rejected",
        ),
    ]
    assert stopped is None or stopped.reason
    for update, words in false:
        assert words in faults_of(changed(report, **update))


def with_circuit(report: CircuitReport) -> CircuitReport:
    """The report with effects of the circuit as a whole, made up."""
    n = len(standing_features(report.supernodes))
    circuit = CircuitEffect(
        target=report.targets[0].token,
        foil="x",
        n_features=n,
        n_active=n + 4,
        sufficiency=0.85,
        necessity=0.8,
        random_sufficiency=(0.1, 0.2, 0.86),
        random_necessity=(0.1, 0.2, 0.3),
        sufficiency_p=0.5,
        necessity_p=0.25,
        logit_difference=3.0,
        logit_difference_empty=0.0,
    )
    stopped = Stopped(reason="nothing new", detail="no claim was proposed", rounds=0)
    whole = report.model_copy(update={"circuit": circuit, "stopped": stopped})
    return forged(whole.model_copy(update={"summary": tell_story(whole)}))


def test_a_report_of_another_version_is_told_apart_from_no_report(dallas_report: CircuitReport) -> None:
    document = dallas_report.model_dump(mode="json")
    document["schema_id"] = "tracescribe-report/1"
    assert (
        "found 'tracescribe-report/1', expected 'tracescribe-report/2'; run `tracescribe interpret` again"
        in refused(document)
    )
    for other in ({"schema_id": "graph/1"}, {}, {"schema_id": 1}):
        assert refused(other).startswith("not a circuit report")
    with pytest.raises(ReportError, match="not a circuit report"):
        parse_report("[" * 100_000)


def test_the_shipped_schema_is_the_models_own() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert report_schema() == generated_schema(), "run: python -m tracescribe.agents.reporting.report_schema --write"


def test_reports_follow_the_schema_and_it_refuses_what_the_reader_refuses(dallas_report: CircuitReport) -> None:
    validator = jsonschema.Draft202012Validator(report_schema())
    for report in (dallas_report, with_circuit(dallas_report)):
        validator.validate(report.model_dump(mode="json"))
    document = dallas_report.model_dump(mode="json")
    for path, value in (
        (("summary", 0, "claims"), []),
        (("schema_id",), "x"),
        (("claims", 0, "kind"), "x"),
        (("more",), 1),
    ):
        broken = json.loads(json.dumps(document))
        put(broken, path, value)
        assert not validator.is_valid(broken)
        assert refused(broken)


def test_every_field_is_documented() -> None:
    """docs/report.md names every field of every part of a report."""
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    schema = report_schema()
    for name, part in {"CircuitReport": schema, **schema["$defs"]}.items():
        missing = [field for field in part.get("properties", {}) if f"`{field}`" not in page]
        assert not missing, f"docs/report.md does not tell of {name}: {missing}"


def place(report: CircuitReport, event: str, subject: str) -> int:
    return next(i for i, e in enumerate(report.registry) if (e.event, e.subject) == (event, subject))


def test_nothing_may_stand_in_the_log_twice_or_before_its_time(dallas_report: CircuitReport) -> None:
    """A claim tested twice could tell the better result; whoever logs honestly and does so is found out."""
    entries = list(dallas_report.registry)
    planned, measured = place(dallas_report, "planned", "c1"), place(dallas_report, "measured", "c1")
    registered, defined = place(dallas_report, "registered", "c1"), place(dallas_report, "defined", "s1")
    other = {"sha256": "ab" * 32}
    again = [entries[planned].model_copy(update=other), entries[measured].model_copy(update=other)]
    cases = {
        "claim c1 was measured twice": [*entries[:planned], *again, *entries[planned:]],
        "claim c1 was measured before it was registered": [
            *entries[:registered],
            entries[measured],
            *entries[registered:],
        ],
        "claim c1 was registered twice": [
            *entries[:registered],
            entries[registered].model_copy(update=other),
            *entries[registered:],
        ],
        "supernode s1 was defined twice": [
            *entries[:defined],
            entries[defined].model_copy(update=other),
            *entries[defined:],
        ],
        "claim c1 was measured before its experiment was planned": [
            *entries[:planned],
            entries[measured],
            *entries[planned:measured],
            *entries[measured + 1 :],
        ],
        "claim c99 was registered (entry 0), but the report leaves it out": [
            entries[registered].model_copy(update={"subject": "c99"}),
            *entries,
        ],
        "supernode s99 was defined (entry 0), but the report leaves it out": [
            entries[defined].model_copy(update={"subject": "s99"}),
            *entries,
        ],
    }
    for words, log in cases.items():
        assert words in "; ".join(report_faults(forged(dallas_report, log)))


def test_the_seal_holds_everything_but_the_seconds(dallas_report: CircuitReport) -> None:
    """One value of every field, wherever it stands: changed alone, it is refused; seconds are free."""
    document = dallas_report.model_dump(mode="json")
    kinds: dict[tuple[str, ...], tuple[str | int, ...]] = {}
    for path, _ in scalars(document):
        kinds.setdefault(tuple("*" if isinstance(key, int) else key for key in path), path)
    for kind, path in kinds.items():
        if kind[0] in ("registry", "schema_id"):
            continue  # the chain holds the one, and the type the other
        value = at(document, path)
        other = (
            not value
            if isinstance(value, bool)
            else value + ("x" if isinstance(value, str) else 1)
            if value is not None
            else "x"
        )
        put(document, path, other)
        free = kind[0] == "cost" and kind[1].startswith("seconds")
        try:
            report = CircuitReport.model_validate_json(json.dumps(document))
        except ValueError:
            assert not free, kind
        else:
            assert bool(seal_faults(report)) != free, kind
        put(document, path, value)
    assert len(kinds) > 200


def scalars(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value that holds no others, with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
        return
    for key, child in items:
        yield from scalars(child, (*path, key))


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def test_a_report_that_was_never_sealed_or_worked_on_afterwards_is_refused(dallas_report: CircuitReport) -> None:
    entries = list(dallas_report.registry)
    for log in ([], entries[:-1], [entries[-1], *entries[:-1]], [*entries, entries[-1]]):
        faults = "; ".join(report_faults(changed(dallas_report, registry=rechained(log))))
        assert "the log does not end in one entry 'reported'" in faults
    other = changed(dallas_report, registry=rechained([*entries[:-1], entries[-1].model_copy(update={"subject": "r"})]))
    assert "the log seals report r, not" in "; ".join(report_faults(other))


def test_values_that_cannot_be_are_refused(dallas_report: CircuitReport) -> None:
    document = dallas_report.model_dump(mode="json")
    scored = next(i for i, label in enumerate(document["labels"]) if label["score"] and label["judged"])
    judged = ("labels", scored, "judged", 0)
    cases: list[tuple[tuple[str | int, ...], float, str]] = [
        (
            ("labels", scored, "score", "auc"),
            1.5,
            f"/labels/{scored}/score/auc is 1.5, but it must lie between 0 and 1",
        ),
        (("labels", scored, "score", "f1"), 0.123, "which its precision and recall do not give"),
        ((*judged, "right_positive"), 10_000, "told right in more contexts than were judged"),
        ((*judged, "balanced_accuracy"), 0.123, "that its counts do not give"),
        ((*judged, "interval", "low"), 2.0, f"/labels/{scored}/judged/0/interval ends at"),
        ((*judged, "interval", "low"), -1.0, "but what it is of lies between 0 and 1"),
        (("unexplained", "error_influence"), -3.5, "unexplained.error_influence"),
        (("unexplained", "replacement_score"), 1.88, "unexplained.replacement_score"),
        (("verdicts", 0, "q_value"), 1.5, "verdicts.0.q_value"),
        (("plans", 0, "alpha"), 1.5, "/plans/0/alpha is 1.5"),
    ]
    for path, value, words in cases:
        before = at(document, path)
        put(document, path, value)
        assert words in refused(reforged(document))
        put(document, path, before)
    assert not refused(document)


def test_a_label_beside_a_claim_on_another_predicate_is_refused(dallas_report: CircuitReport) -> None:
    claim = next(c for c in dallas_report.claims if isinstance(c, LabelClaim))
    other = claim.predicate.model_copy(update={"words": ("banana",)})
    labels = tuple(
        label.model_copy(update={"predicate": other})
        if (label.layer, label.feature) == (claim.layer, claim.feature)
        else label
        for label in dallas_report.labels
    )
    words = f"claim {claim.claim_id} tested another predicate than the label of feature {claim.layer}/{claim.feature}"
    assert words in faults_of(changed(dallas_report, labels=labels))


def test_why_the_agent_stopped_follows_from_the_report(dallas_report: CircuitReport) -> None:
    stopped = dallas_report.stopped
    assert stopped is not None and stopped.reason == "complete" and not faults_of(dallas_report)
    settings = dallas_report.provenance.model_copy(update={"agent_settings": {"loop": {"max_rounds": 0}}})
    weak = changed(with_circuit(dallas_report), provenance=settings)
    limit = Stopped(reason="round limit", detail="0 of 0 rounds of revision done", rounds=0)
    assert "the reason for stopping" not in faults_of(changed(weak, stopped=limit))
    cases = (
        (dallas_report, {"detail": stopped.detail.replace("1.00", "0.10")}, "but the report gives 'the circuit alone"),
        (dallas_report, {"reason": "nothing new"}, "'nothing new', but the report gives 'complete'"),
        (weak, {"reason": "nothing new", "detail": "no claim was proposed"}, "but the report gives 'round limit'"),
        (with_circuit(dallas_report), {"reason": "nothing new", "detail": "recovers .99"}, "words that do not say why"),
        (with_circuit(dallas_report), {"reason": "round limit"}, "which the report does not bear out"),
    )
    for report, update, words in cases:
        assert words in faults_of(changed(report, stopped=stopped.model_copy(update=update))), words


def test_what_was_tested_is_told(dallas_report: CircuitReport) -> None:
    assert "the report says tested: false, but has" in faults_of(changed(dallas_report, tested=False))
    untold = changed(dallas_report, summary=())
    assert "the story is missing" in faults_of(untold)
    failure = StepFailure(step="report", error="the story was left out")
    assert not faults_of(changed(untold, failures=(*untold.failures, failure)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"tested": true', '"tested": false, "tested": true', "the key 'tested' stands twice"),
        ('"seed": 0', '"seed": 0, "seed": 0', "the key 'seed' stands twice"),
        ('"failures": []', '"failures": NaN', "NaN, which is no JSON number"),
    ],
)
def test_json_that_readers_disagree_about_is_refused(
    dallas_report: CircuitReport, old: str, new: str, words: str
) -> None:
    text = json.dumps(dallas_report.model_dump(mode="json"))
    assert old in text
    with pytest.raises(ReportError, match=words):
        parse_report(text.replace(old, new, 1))
