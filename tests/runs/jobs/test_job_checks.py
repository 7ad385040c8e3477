"""What a job must be beyond its schema, and what it interprets: all found out before anything is stored."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tracescribe.runs.jobs.example import EXAMPLE, write_example
from tracescribe.runs.jobs.expanding import PlannedJob, cases_of, graph_bytes, plan_job
from tracescribe.runs.jobs.faults import SpecificationError
from tracescribe.runs.jobs.reading import read_job
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import parse_graph, write_graph
from tracescribe.tracer.redaction import redactor_of

PAID = "agent.spec=openai:gpt-5-mini"


def plan(folder: Path, prompts: str = "{inline: [a prompt]}", *sets: str, **how: Any) -> PlannedJob:
    """Plan a job whose file lies in a folder."""
    path = folder / "job.yaml"
    path.write_text(f"prompts: {prompts}\n")
    return plan_job(read_job(path, sets), **how)


def faults(folder: Path, prompts: str = "{inline: [a prompt]}", *sets: str) -> list[str]:
    """What is wrong with a job, without the folder."""
    with pytest.raises(SpecificationError) as caught:
        plan(folder, prompts, *sets)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def prompts_of(planned: PlannedJob) -> list[str | None]:
    return [source.prompt for source in planned.sources]


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["agent.spec=oflfine"], "agent.spec: no agent 'oflfine'; did you mean offline?"),
        (["agent.style=pipeline"], "agent.style: agent offline asks no language model; leave it out"),
        (["agent.price_input=1"], "agent.price_input: agent offline asks no language model"),
        ([PAID, "agent.agent_env=[A]"], "agent.agent_env: names variables for exec: and python: agents alone"),
        (
            ["agent.spec=one-shot@openai:m", "agent.style=pipeline"],
            "agent.style: the spec names the style one-shot already",
        ),
        (["agent.paraphrases=['a', ' ']"], "agent.paraphrases.1: found no word"),
        (["agent.spec=openai:unheard-of", "budget.case.usd=1"], "the price of model 'unheard-of'"),
        ([PAID, "budget.job.usd=1"], "budget.job.usd: a job's limit is kept by what each case may cost"),
        ([PAID, "budget.job.usd=1", "budget.case.usd=2"], "budget.case.usd: one case may cost 2 USD, the whole job 1"),
        (["seeds=[]"], "seeds: found an empty list"),
        (["seeds=[1,1]"], "seeds: found 1 2 times; expected every seed once"),
        (["weights.load=false"], "weights.load: prompts cannot be traced without weights"),
        (["weights.model=./none", "weights.transcoders=./none"], "weights.model: no folder none; check the path"),
        (["weights.model=org/name"], "weights.model: model 'org/name' needs transcoders of its own"),
        (["scoring.gold=none"], "scoring.gold: cannot read gold folder none"),
        (["scoring.gold=oracle"], "scoring.gold: none of the 1 prompts has gold there"),
        (["scoring.interventions=true"], "scoring.interventions: there is no gold to score against"),
        (
            ["scoring={gold: oracle, metrics: [edges.f2]}"],
            "scoring.metrics.0: no score 'edges.f2'; did you mean edges.f1?",
        ),
        (["privacy.patterns=[emial]"], "privacy.patterns.0: no pattern 'emial'; did you mean email?"),
        (["privacy.more={a: '('}"], "privacy.more.a: privacy pattern a: not a regular expression"),
        (["privacy.more={a: '(x+)+y'}"], "privacy.more.a: privacy pattern a: "),
        (["output.export=true"], "output.export: there is no folder to export to"),
        (["output.folder=job.yaml"], "output.folder: cannot write to"),
        (["prompts.file=x.txt"], "prompts: inline and file are given; expected exactly one of inline, file, dataset"),
        (["prompts={}"], "prompts: nothing to interpret"),
        (["prompts.inline=[]"], "prompts.inline: holds nothing to interpret"),
        (["prompts={file: none.txt}"], "prompts.file: cannot read none.txt"),
        (["prompts={file: p.doc}"], "prompts.file: found text 'p.doc'; expected a name that ends in .txt"),
        (["prompts={graphs: none}"], "prompts.graphs: cannot read none"),
        (["prompts={gold: none}"], "prompts.gold: cannot read gold folder none"),
    ],
)
def test_what_does_not_belong_together_is_told_with_its_field(tmp_path: Path, sets: list[str], told: str) -> None:
    found = faults(tmp_path, "{inline: [a prompt]}", *sets)
    assert any(told in fault for fault in found), found


@pytest.mark.parametrize("name", ["x" * 5000, "./" + "x" * 5000, "~nobody-of-that-name/x", "a\0b"])
def test_a_name_that_no_file_can_have_is_a_fault_of_its_field(tmp_path: Path, name: str) -> None:
    for field in (
        "prompts.file",
        "prompts.graphs",
        "prompts.gold",
        "output.folder",
        "weights.model",
        "weights.evidence",
    ):
        value = json.dumps(name + ".txt" if field == "prompts.file" else name)
        sets = (f"{field}={value}",) if "prompts" not in field else (f"prompts={{{field.partition('.')[2]}: {value}}}",)
        try:
            plan(tmp_path, "{inline: [a prompt]}", *sets)
        except SpecificationError as error:
            assert {fault.field for fault in error.faults} <= {field, "prompts", "prompts.gold"}
        else:
            assert field == "output.folder" and name.startswith("~")  # a folder of that very name can be made


def test_a_limit_below_what_one_request_may_cost_is_told(tmp_path: Path) -> None:
    prices = ("agent.price_input=20", "agent.price_output=100")

    def told(*sets: str) -> list[str]:
        return [note for note in plan(tmp_path, "{inline: [a prompt]}", *sets).notes if "one request" in note]

    (never,) = told(PAID, *prices, "budget.case.usd=0.01")
    assert "budget.case.usd is 0.01, and one request may cost" in never and "will never be asked" in never
    (some,) = told("agent.spec=one-shot@openai:gpt-5-mini", *prices, "budget.case.usd=0.8")
    assert "larger requests than the limit has room for are not sent" in some
    assert told(PAID, *prices, "budget.case.usd=50") == told(PAID, *prices) == told("budget.case.usd=0.01") == []


def test_faults_of_several_parts_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "prompts: {inline: [a]}\nseeds: []\nweights: {load: false}\noutput: {export: true}\nagent: {spec: nobody}\n"
    )
    with pytest.raises(SpecificationError) as caught:
        plan_job(read_job(tmp_path / "job.yaml"))
    assert [fault.place.line for fault in caught.value.faults] == [2, 3, 4]
    (tmp_path / "job.yaml").write_text("prompts: {inline: ['a', ' ', \"x\\0\"]}\n")
    with pytest.raises(SpecificationError) as caught:
        plan_job(read_job(tmp_path / "job.yaml"))
    assert [fault.problem for fault in caught.value.faults] == [
        "the prompt is empty; expected at least one word",
        "the prompt holds a NUL character; expected text",
    ]


def test_prompts_of_a_text_file_are_its_lines(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("\ufeffone\r\n\n  two \nthree".encode())
    planned = plan(tmp_path, "{file: p.txt, limit: 2}")
    assert prompts_of(planned) == ["one", "  two "]
    assert [source.source for source in planned.sources] == ["p.txt line 1", "p.txt line 3"]
    (tmp_path / "p.txt").write_bytes(b"one\n\xff\n" + b"x" * (1 << 21))
    assert faults(tmp_path, "{file: p.txt}") == [
        "p.txt:2:1: not UTF-8 text (byte 0); save the file as UTF-8",
        "p.txt:3:1: the line is longer than 1048576 bytes; expected a prompt a line",
    ]


def test_prompts_of_json_lines_are_told_by_line(tmp_path: Path) -> None:
    rows = ['{"prompt": "one", "id": 7, "more": []}', "", '{"prompt": "two"}']
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    planned = plan(tmp_path, "{file: p.jsonl}")
    assert prompts_of(planned) == ["one", "two"] and planned.sources[0].name == "7"
    (tmp_path / "p.jsonl").write_text('{"prompt": 1}\n[]\n{\n{"id": "a"}\n{"prompt": "x", "id": []}\n{"prompt": " "}')
    found = faults(tmp_path, "{file: p.jsonl}")
    assert [fault.partition(": ")[0] for fault in found] == [f"p.jsonl:{line}:1" for line in (1, 2, 3, 4, 5, 6)]
    assert "prompt: found number 1; expected text" in found[0]


def test_prompts_of_a_table_are_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('id,prompt\na,"one\ntwo"\nb,three\n')
    planned = plan(tmp_path, "{file: p.csv}")
    assert prompts_of(planned) == ["one\ntwo", "three"]
    assert [source.source for source in planned.sources] == ["p.csv line 2", "p.csv line 4"]
    (tmp_path / "p.csv").write_bytes(b'prompt,id\n"\xff",1\n"",2\n')
    assert [fault[:9] for fault in faults(tmp_path, "{file: p.csv}")] == ["p.csv:2:1", "p.csv:3:1"]
    (tmp_path / "p.csv").write_text("text\nx\n")
    assert "found columns 'text'; expected a column 'prompt'" in faults(tmp_path, "{file: p.csv}")[0]

    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["one", None, "two"]}), tmp_path / "p.parquet")
    assert faults(tmp_path, "{file: p.parquet}") == ["p.parquet row 2: prompt: found nothing; expected text"]
    assert prompts_of(plan(tmp_path, "{file: p.parquet, limit: 1}")) == ["one"]
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no")
    assert "not Parquet" in faults(tmp_path, "{file: p.parquet}")[0]


def test_prompts_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*names: Any, **how: Any) -> list[dict[str, Any]]:
        asked.append((names, how))
        return [{"question": "one"}, {"question": " "}, {"question": "two"}, {"question": 3}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    named = "{dataset: {name: org/data, split: test, column: question, revision: abc, limit: 2}}"
    assert prompts_of(plan(tmp_path, named)) == ["one", "two"]
    assert asked == [(("org/data", None), {"split": "test", "streaming": True, "revision": "abc"})]
    (tmp_path / "data").mkdir()
    plan(tmp_path, "{dataset: {name: data, column: question, limit: 1}}")
    assert asked[-1][0][0] == str(tmp_path / "data")
    assert "row 4: field 'question' is int" in faults(tmp_path, "{dataset: {name: org/data, column: question}}")[0]
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'tracescribe[datasets]'" in faults(tmp_path, "{dataset: {name: x}}")[0]


def test_graphs_of_a_folder_are_read_checked_and_redacted(tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    write_graph(folder / "b.json", dallas_graph, slug="mail bob@example.com")
    (folder / "notes.md").write_text("no graph")
    planned = plan(tmp_path, "{graphs: graphs}", "weights.load=false", "seeds=[0, 1]")
    assert planned.notes == [f"left alone in {folder}, as no graphs by their names: 1"]
    stored: dict[str, bytes] = {}

    def keep(case_id: str, path: Path, content: bytes) -> str:
        stored[case_id] = content
        return "0" * 64

    cases = list(cases_of(planned, "job", keep))
    assert [case.graph_sha256 for case in cases] == ["0" * 64] * 2 and set(stored) == {"job.0", "job.1"}
    assert b"bob@example.com" not in stored["job.0"] and b"[redacted email]" in stored["job.0"]
    assert parse_graph(stored["job.0"]).node_ids == dallas_graph.node_ids

    (folder / "a.json").write_text('{"nodes": 3}')
    assert "a.json" in faults(tmp_path, "{graphs: graphs}", "weights.load=false")[0]
    left = plan(tmp_path, "{graphs: graphs}", "weights.load=false", skip_bad=True)
    assert len(left.sources) == 1 and any(note.startswith("left out: ") and "a.json" in note for note in left.notes)


def test_a_graph_without_anything_to_redact_keeps_its_bytes(tmp_path: Path, dallas_graph: AttributionGraph) -> None:
    write_graph(tmp_path / "g.json", dallas_graph)
    assert graph_bytes(tmp_path / "g.json", redactor_of()) == (tmp_path / "g.json").read_bytes()


def test_gold_gives_prompts_and_what_they_are_scored_against(tmp_path: Path) -> None:
    planned = plan(tmp_path, "{gold: oracle, limit: 3}")
    cases = list(cases_of(planned, "job"))
    assert all(case.gold_id and case.prompt and case.more == {"id": case.gold_id} for case in cases)
    known = cases[0].prompt
    scored = plan(tmp_path, json.dumps({"inline": [known, "nobody knows this"]}), "scoring.gold=oracle")
    assert [case.gold_id for case in cases_of(scored, "job")] == [cases[0].gold_id, None]
    assert scored.notes[0] == "1 of 2 prompts have no gold: they are interpreted, and not scored"


def test_cases_are_the_same_in_every_job_and_redacted_in_all(tmp_path: Path) -> None:
    inline = "{inline: ['write to bob@example.com', 'again', 'again', \"hostile \\e[31m\\u202e\"]}"
    planned = plan(tmp_path, inline, "seeds=[3, 5]", "name='for bob@example.com'")
    one, other = list(cases_of(planned, "one")), list(cases_of(planned, "other"))
    assert [case.case_key for case in one] == [case.case_key for case in other]
    assert len({case.case_key for case in one}) == 6 and len({case.case_id for case in one}) == 8
    assert [case.seed for case in one] == [3, 5] * 4
    assert "bob@" not in "".join(case.model_dump_json() for case in one) + planned.specification.model_dump_json()
    assert planned.notes[:2] == [
        "1 prompt holds what looks like email: redacted",
        "1 prompt repeats another, such as 'again': each is interpreted as often as it is given",
    ]
    assert all(character.isprintable() for character in one[-1].title)


def test_paths_are_relative_to_the_file_and_absolute_once_planned(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "weights").mkdir()
    program = inside / "agent.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    sets = [
        "weights={model: weights, transcoders: ./weights}",
        "output.folder=out",
        "agent.spec=exec:./agent.sh --fast",
    ]
    job = plan(inside, "{inline: [a]}", *sets).specification
    assert job.weights.model == job.weights.transcoders == str(inside / "weights")
    assert job.output.folder == str(inside / "out") and not (inside / "out").exists()
    assert job.agent.spec == f"exec:{program} --fast"


def test_the_example_is_in_order_and_overwrites_nothing(tmp_path: Path) -> None:
    path = write_example(tmp_path / "new" / "job.yaml")
    assert plan_job(read_job(path)).n_cases == 2
    with pytest.raises(OutputError, match="is there already"):
        write_example(path)
    # what stands behind comments is in order too
    whole = (
        EXAMPLE.replace("  # gold: oracle", "  #")
        .replace("  # file: prompts.txt", "  #")
        .replace("style: pipeline", "")
    )
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith("#") and ":" in line else line
        for line in whole.splitlines()
    ]
    path.write_text("\n".join(line for line in lines if not line.startswith(("A batch", "Everything"))))
    job = read_job(path).specification
    assert job.budget.job.usd == 5 and job.executor.workers == 2 and job.output.export and job.scoring.gold == "oracle"


def test_words_that_the_model_does_not_know_are_told_before_a_job_is_submitted(tmp_path: Path) -> None:
    """For the embedded model, with the prompts that hold them; a model whose words nobody can look up is left alone."""
    inline = "{inline: [the opposite of hot is, 'zzqx of hot', 'zzqx \\e[31m', 'mail bob@example.com', 'again']}"
    notes = [note for note in plan(tmp_path, inline).notes if "does not know" in note]
    assert len(notes) == 1 and notes[0].startswith("4 of 5 prompts hold words")
    assert "prompts.inline[1]: text 'zzqx'" in notes[0] and notes[0].endswith("; and 1 more")
    assert "bob@" not in notes[0] and "\x1b" not in notes[0]
    assert not any("does not know" in note for note in plan(tmp_path, "{inline: [the opposite of hot is]}").notes)
