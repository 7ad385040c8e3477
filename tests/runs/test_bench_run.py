"""`tracescribe bench run` and `bench show`: from a call to tables, with programs from outside and with published gold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import Done
from tracescribe.evals.gold import GoldGraph, ModelStamp
from tracescribe.evals.oracle.building import load_oracle_gold
from tracescribe.runs.bench_agents import split_specs
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import write_graph

Run = Callable[..., Done]
SHOWN_BY_BOTH = {
    "selection": ("precision", "recall", "f1", "auc", "rprec"),
    "grouping": (
        "ari",
        "pair_precision",
        "pair_recall",
        "pair_f1",
        "b3_precision",
        "b3_recall",
        "b3_f1",
        "name",
        "cover",
    ),
    "labels": ("word_f1_all", "word_f1_given", "exact", "cover"),
}
"""Scores of the scorer beside published gold, by its tasks; `labels` are our `node_labels`."""


@pytest.fixture
def gold_dir(tmp_path: Path, dallas_graph: AttributionGraph) -> Path:
    """A folder of gold with one graph and no weights."""
    circuit = next(c for c in load_oracle_gold().circuits if c.prompt == dallas_graph.prompt)
    stamp = ModelStamp(model="elsewhere", model_sha256=None, transcoder="elsewhere", transcoder_sha256=None)
    own = circuit.model_copy(update={"stamp": stamp, "graph": GoldGraph(path="graphs/one.json")})
    other = own.model_copy(update={"gold_id": "nothing-01", "can_score": ()})
    folder = tmp_path / "held_out"
    (folder / "graphs").mkdir(parents=True)
    write_graph(folder / "graphs" / "one.json", dallas_graph)
    document = {"schema_id": "tracescribe-gold-set/2", "name": "held_out"}
    circuits = [one.model_dump(mode="json") for one in (own, other)]
    (folder / "gold.json").write_text(json.dumps({**document, "circuits": circuits}), encoding="utf-8")
    return folder


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_programs_from_outside_lose_their_cases_and_the_run_goes_on(run: Run, gold_dir: Path, tmp_path: Path) -> None:
    agents = ["position"]
    for name, body in (
        ("crash.py", "import sys; print('no idea', file=sys.stderr); sys.exit(3)\n"),
        ("hang.py", "import time; time.sleep(600)\n"),
        ("flood.py", "import sys\nwhile True: sys.stdout.write('x' * 100000)\n"),
    ):
        agents.append(f"exec:{program(tmp_path / name, body)}")
    call = ("bench", "run", "--gold", gold_dir, "--agents", ",".join(agents), "--out", "out", "--jobs", "1")
    done = run(*call, "--max-seconds", "12", "--predictions", "p.json", "--html", "board.html", "--json")
    assert done.code == 0, done.err
    found = done.json
    kinds = {failure["agent"]: failure["kind"] for failure in found["failures"]}
    assert kinds == {"exec:crash.py": "crash", "exec:hang.py": "timeout", "exec:flood.py": "flood"}
    (suite,) = found["suites"]
    assert {row["agent"]: (row["cases_scored"], row["cases_failed"]) for row in suite["agents"]} == {
        "position": (1, 0),
        "exec:crash.py": (0, 1),
        "exec:hang.py": (0, 1),
        "exec:flood.py": (0, 1),
    }
    assert found["left_out"] == ["nothing-01: its gold can score nothing"]
    assert (found["missing"], found["damaged"]) == (0, [])
    (scored,) = [result for result in found["results"] if result["status"] == "scored"]
    assert 0 <= scored["scores"]["selection.f1"] <= 1
    predictions = sorted(Path(path).name for path in found["predictions"])
    assert list(json.loads(Path("p-position.json").read_text())) == ["states-01"]
    assert len(predictions) == 4
    assert "<html" in Path("board.html").read_text(encoding="utf-8")
    assert json.loads(Path("out/leaderboard.json").read_text())["suites"] == found["suites"]

    shown = run("bench", "show", "out", "--json")
    assert shown.json["suites"] == found["suites"]
    assert "failed: exec:crash.py on held_out states-01: crash: " in run("bench", "show", "out").out
    assert "| position |" in run("bench", "show", "out", "--markdown").out
    assert "selection.f1" in run("bench", "show", "out", "--case", "states-01", "--agent", "position").out
    (one,) = run("bench", "show", "out", "--case", "states-01", "--agent", "exec:hang.py", "--json").json
    assert one["failure"]["kind"] == "timeout"
    for wrong in (("--case", "nowhere"), ("--case", "states-01", "--agent", "nobody"), ("--agent", "position")):
        assert run("bench", "show", "out", *wrong).code == 2
    no_torch = (
        "import sys; from tracescribe.runs.cli import main; code = main(['bench', 'show', 'out']);"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", no_torch], capture_output=True, check=False).returncode == 0


def test_the_embedded_models_circuits(run: Run) -> None:
    call = ("bench", "run", "--suite", "oracle", "--task", "states", "--limit", "1", "--agents", "influence")
    done = run(*call, "--out", "out", "--jobs", "1", "--max-experiments", "2", "--json")
    assert done.code == 0, done.err
    (result,) = done.json["results"]
    assert result["status"] == "scored" and result["unmeasured"] is None
    assert {"selection.f1", "edges.f1", "circuit.cpr"} <= set(result["scores"])
    control = done.json["suites"][0]["agents"][0]["control"]
    assert control["selection.auc"]["chance"] == pytest.approx(0.5) if "selection.auc" in control else control
    assert Path("out", result["report"]).is_file()
    again = run(*call, "--out", "out", "--max-experiments", "2")
    assert again.code == 0 and "1 kept" in again.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--agents", "nobody"), "nobody"),
        (("--agents", "offline,offline"), "agent 'offline' is named twice"),
        (("--agents", "offline,,random"), "empty name"),
        (("--agents", "top-influence"), "influence"),
        (("--suite", "nowhere"), "no suite nowhere"),
        (("--suite", "oracle", "--suite", "oracle"), "suite 'oracle' is named twice"),
        (("--task", "chess"), "no gold circuit belongs to task 'chess'"),
        (("--gold", "empty"), "no gold in it"),
        (("--model", "somewhere"), "--model and --transcoders belong together"),
        (("--label-judge", "offline"), "asks no language model"),
        (("--agents", "exec:./absent.py"), "absent.py"),
        (("--seeds", "0"), "--seeds"),
    ],
)
def test_calls_that_make_no_sense(options: tuple[str, ...], told: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    if "--model" in options:
        (tmp_path / "empty.json").touch()
        options = (*options, "--suite", "empty.json")
    done = run("bench", "run", "--out", "out", *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not list(tmp_path.glob("out/cases/**/*.json"))


def test_folders_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run("bench", "run", "--out", "file").code == 1
    assert run("bench", "run", "--predictions", "file/p.json").code == 1
    if os.geteuid():  # whoever may do anything may also write there
        (tmp_path / "closed").mkdir(mode=0o500)
        assert run("bench", "run", "--out", "closed").code == 1
    absent = run("bench", "show", "absent")
    assert (absent.code, "give a folder that 'tracescribe bench run' wrote" in absent.err) == (2, True)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "bench.json").write_text("{", encoding="utf-8")
    assert "is damaged" in run("bench", "show", "old").err


def test_agents_that_may_cost_money_need_a_yes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing-that-anybody-would-take")
    done = run("bench", "run", "--agents", "openai:gpt-5-mini,random", "--limit", "1", "--max-usd-run", "2")
    assert done.code == 2
    assert "openai:gpt-5-mini may cost money on each of" in done.err and "a limit of 2 USD for the run" in done.err
    assert "sk-nothing" not in done.err


def test_specs_are_divided_where_a_name_follows() -> None:
    assert split_specs(["offline,random", "openai:gpt-5"]) == ("offline", "random", "openai:gpt-5")
    assert split_specs(["exec:./a.py --x=1,2,random"]) == ("exec:./a.py --x=1,2", "random")
    assert split_specs(["random,exec:./a.py,python:m:f,one-shot@openai:x"]) == (
        "random",
        "exec:./a.py",
        "python:m:f",
        "one-shot@openai:x",
    )
    assert split_specs([" offline , random "]) == ("offline", "random")
    assert split_specs([]) == ()
    with pytest.raises(InputError, match="empty name"):
        split_specs([""])


def test_scores_equal_those_of_the_scorer_beside_published_gold(run: Run, shared_folder: Path) -> None:
    """What the command writes, scored by a program of somebody else: the same to 1e-9, circuit by circuit."""
    gold = shared_folder / "gold"
    if not (gold / "score_gold.py").is_file():
        pytest.skip(
            f"no shared test data at {gold}; set TRACESCRIBE_SHARED to the folder that holds gold/score_gold.py"
        )
    call = ("bench", "run", "--gold", gold, "--agents", "position", "--out", "out", "--no-interventions")
    done = run(*call, "--predictions", "p.json", "--json")
    assert done.code == 0, done.err
    ours = {result["gold_id"]: result["scores"] for result in done.json["results"]}
    scorer = [sys.executable, str(gold / "score_gold.py"), "p.json", str(gold), "--json", "theirs.json"]
    subprocess.run(scorer, check=True, capture_output=True)
    theirs = json.loads(Path("theirs.json").read_text())["per_circuit"]
    compared = 0
    for task, names in SHOWN_BY_BOTH.items():
        for gold_id, scores in theirs[task].items():
            for name in names:
                own = ours[gold_id].get(f"{'node_labels' if task == 'labels' else task}.{name}")
                if own is not None and scores.get(name) is not None:
                    assert own == pytest.approx(scores[name], abs=1e-9), (gold_id, task, name)
                    compared += 1
    assert compared > 100
