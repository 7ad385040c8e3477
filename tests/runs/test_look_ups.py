"""Commands that look things up: evidence, gold, prompts, models, doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracescribe.agents.durable import run_store
from tracescribe.agents.providers import secrets
from tracescribe.prompts import list_prompts
from tracescribe.runs import doctor, model_check
from tracescribe.tracer import embedded
from tracescribe.tracer.evidence_store import EvidenceStore
from tracescribe.tracer.graph import AttributionGraph, FeatureRef, NodeKind

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def live_feature() -> FeatureRef:
    """The feature of the first layer that fires most often in the corpus."""
    counts = EvidenceStore.load(embedded.evidence_dir()).n_active(0)
    return FeatureRef(0, int(counts.argmax()))


def test_evidence_show_marks_the_tokens_that_it_fires_on(run: Run, live_feature: FeatureRef) -> None:
    done = run("evidence", "show", str(live_feature), "--contexts", "3")
    assert done.code == 0, done.err
    assert f"feature {live_feature}" in done.out
    lines = [line for line in done.out.splitlines() if line.strip().startswith("top ")]
    assert len(lines) == 3
    assert all("[" in line and "]" in line for line in lines)


def test_evidence_show_tells_programs_the_same(run: Run, live_feature: FeatureRef) -> None:
    told = run("evidence", "show", str(live_feature), "--contexts", "2", "--json").json
    assert (told["layer"], told["feature"]) == live_feature
    assert len(told["contexts"]) == 2
    for context in told["contexts"]:
        assert len(context["tokens"]) == len(context["activations"])
        assert max(context["activations"]) > 0


@pytest.mark.parametrize(("feature", "told"), [("0/999999", "no feature 0/999999"), ("Texas", "names no feature")])
def test_evidence_of_no_feature(feature: str, told: str, run: Run) -> None:
    done = run("evidence", "show", feature)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_evidence_that_is_not_there(run: Run, tmp_path: Path) -> None:
    done = run("evidence", "show", "0/0", "--evidence", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: no evidence in ")


def test_evidence_build_scans_a_corpus_of_ones_own(run: Run, tmp_path: Path) -> None:
    sentences = embedded.corpus_path().read_text(encoding="utf-8").splitlines()[:40]
    (tmp_path / "corpus.txt").write_text("\n".join(sentences) + "\n\n", encoding="utf-8")
    done = run("evidence", "build", "--corpus", "corpus.txt", "--out", "scan", "--json")
    assert done.code == 0, done.err
    assert done.json["sentences"] == 40
    assert EvidenceStore.load(tmp_path / "scan").corpus == tuple(sentences)


@pytest.mark.parametrize(
    ("corpus", "told"),
    [
        ("", "the corpus has no sentences"),
        ("the capitol of Texas", "corpus sentence 1"),
        (None, "cannot read the corpus"),
    ],
)
def test_a_corpus_that_cannot_be_scanned(corpus: str | None, told: str, run: Run, tmp_path: Path) -> None:
    if corpus is not None:
        (tmp_path / "corpus.txt").write_text(corpus, encoding="utf-8")
    done = run("evidence", "build", "--corpus", "corpus.txt", "--out", "scan")
    assert done.code == 1
    assert told in done.err
    assert not (tmp_path / "scan").exists()


def test_another_model_needs_a_folder_for_its_scan(run: Run) -> None:
    done = run("evidence", "build", "--model", str(embedded.model_dir()))
    assert done.code == 2
    assert "give --out" in done.err


def test_gold_list_and_show_agree(run: Run, dallas_graph: AttributionGraph) -> None:
    told = run("gold", "list", "--json").json
    assert len(told["circuits"]) >= 60
    (dallas,) = [c for c in told["circuits"] if c["prompt"] == dallas_graph.prompt]
    shown = run("gold", "show", dallas["gold_id"], "--json").json
    features = {dallas_graph.node_ids[i] for i in dallas_graph.of_kind(NodeKind.FEATURE)}
    texas = next(s for s in shown["supernodes"] if s["label"] == "Texas")
    assert set(texas["members"]) <= features
    assert texas["members"]
    for_people = run("gold", "show", dallas["gold_id"]).out
    assert "Texas" in for_people
    assert "intermediate" in for_people
    assert f"{len(told['circuits'])} circuits" in run("gold", "list").out


def test_gold_that_is_not_there(run: Run, tmp_path: Path) -> None:
    done = run("gold", "show", "nowhere-01")
    assert (done.code, done.out) == (2, "")
    assert "nowhere-01" in done.err
    (tmp_path / "bad.json").write_text('{"schema_id": "tracescribe-gold/1"}', encoding="utf-8")
    done = run("gold", "list", "--file", "bad.json")
    assert done.code == 2
    assert "bad.json" in done.err


def test_every_prompt_is_listed_and_shown_word_for_word(run: Run) -> None:
    listed = run("prompts", "list", "--json").json
    assert [(p["name"], p["version"]) for p in listed] == [(t.name, t.version) for t in list_prompts()]
    for template in list_prompts():
        assert run("prompts", "show", template.reference, "--json").json["user"] == template.user
        assert template.system.splitlines()[0] in run("prompts", "show", template.reference).out
    assert run("prompts", "show", "nope").code == 2


def test_models_list_names_the_embedded_one(run: Run) -> None:
    told = run("models", "list", "--json").json
    assert told["models"][0]["name"] == "embedded"
    assert "llama" in told["architectures"]
    assert "trained to implement a known causal model" in run("models", "list").out


def test_models_check_without_a_card_tells_that_the_pair_fits(run: Run, tmp_path: Path) -> None:
    """A copy of the transcoders alone: they fit, and no card belongs to the pair."""
    import shutil

    shutil.copytree(embedded.transcoder_dir(), tmp_path / "clt")
    done = run("models", "check", "--transcoders", "clt", "--json")
    assert done.code == 0, done.err
    assert done.json["passed"] is True
    assert done.json["figures"] == []


def _card(**changed: float) -> Any:
    from tracescribe.tracer.embedded.training.card import Card

    document = json.loads(embedded.card_path().read_text(encoding="utf-8"))
    for task, value in changed.items():
        document["accuracy"][task]["held_out"] = value
    return Card.model_validate(document)


@pytest.mark.parametrize("quick", [False, True])
def test_a_card_that_claims_too_much_is_found_out(quick: bool) -> None:
    honest, boastful = _card(states=0.7), _card(states=1.0)
    checked = model_check.compare_cards(boastful, honest, quick=quick)
    assert [figure.name for figure in checked if not figure.holds] == ["accuracy, states, held-out"]
    assert all(figure.holds for figure in model_check.compare_cards(honest, honest, quick=quick))


def test_doctor_finds_this_installation_healthy(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--json")
    broken = [finding for finding in done.json["findings"] if finding["status"] == "broken"]
    assert (done.code, broken) == (0, [])
    names = {finding["name"] for finding in done.json["findings"]}
    assert {"python", "torch", "embedded files", "embedded model", "evidence", "OPENAI_API_KEY", "workspace"} <= names
    assert {"keyring", "durable runs"} <= names
    assert list(tmp_path.iterdir()) == [], "an examination leaves nothing behind"
    assert "Everything that is needed is here." in run("doctor").out


def test_doctor_never_shows_a_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    done = run("doctor")
    assert "very-secret" not in done.out + done.err
    assert {f.name: f.found for f in doctor._keys()}["OPENAI_API_KEY"] == "set"


def test_doctor_says_that_a_key_is_in_the_keyring_and_not_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in doctor.KEYS:
        monkeypatch.delenv(key, raising=False)
    kept = {"ANTHROPIC_API_KEY": "sk-ant-very-secret"}
    monkeypatch.setattr(secrets, "stored_key", kept.get)
    found = {finding.name: finding for finding in doctor._keys()}
    assert (found["ANTHROPIC_API_KEY"].status, found["ANTHROPIC_API_KEY"].found) == ("ok", "in the keyring")
    assert found["OPENAI_API_KEY"].status == "optional"
    assert "keyring set tracescribe OPENAI_API_KEY" in found["OPENAI_API_KEY"].cure
    assert "very-secret" not in repr(found)


def test_doctor_says_where_runs_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._durable_runs().status == "ok"
    monkeypatch.setattr(run_store.RunStore, "is_unfinished", property(lambda _: False))
    assert doctor._durable_runs().status == "broken"


def test_doctor_says_what_is_broken_and_what_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    monkeypatch.setattr(embedded, "evidence_dir", lambda: tmp_path / "nowhere")
    done = run("doctor", "--workspace", "taken/here", "--json")
    assert done.code == 1
    broken = {f["name"]: f for f in done.json["findings"] if f["status"] == "broken"}
    assert set(broken) == {"embedded files", "evidence", "workspace"}
    assert "no evidence in" in broken["evidence"]["found"]
    assert all(finding["cure"] for finding in broken.values())
