"""No gold reaches an agent: not by import, not by file, not by a graph, not by a prompt, and nothing it writes holds any.

`tests/agents/test_blindness.py` walks the imports as they are written; here real processes and real requests are watched.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents.fake_server import Question, Reply, serving
from tests.agents.fake_thinker import think
from tests.agents.styles import DALLAS, interpret
from tests.agents.test_blindness import modules, reachable
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.llm.settings import STYLES, Style
from tracescribe.agents.toolbox import Toolbox, load_toolbox
from tracescribe.evals.gold import CANARY, GoldCircuit, GoldSet
from tracescribe.prompts import list_prompts
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_json import parse_graph, to_json

ROOT = Path(__file__).resolve().parents[2]
SECRET = CANARY.rsplit(" ", 1)[1]
"""The part of the canary that stands nowhere by chance."""

TEXT_SUFFIXES = {".py", ".md", ".json", ".html", ".css", ".js", ".j2", ".txt", ".yaml", ".yml", ".toml", ".cfg", ".csv"}
ALLOWED = {Path("evals/gold/schema.py"), Path("docs/gold.md")}
"""Where the canary is defined, and where it is explained."""

PROMPTS_OF_SCORERS = {"judge_gold_label"}
"""Templates that show gold names to a judge of labels, which scores and is no agent."""


def product_files() -> Iterator[Path]:
    for room in ("tracer", "agents", "evals", "prompts", "runs", "docs", "tests"):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def test_the_canary_stands_in_every_gold_file_and_nowhere_else() -> None:
    """Other data of scorers may carry it too, such as names that judges are calibrated with."""
    strangers, gold_files = [], 0
    for path in product_files():
        packed = path.name.endswith(".gz")
        if path.suffix not in TEXT_SUFFIXES and not packed:
            continue
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        data = path.is_relative_to(ROOT / "evals" / "data")
        if data and b'"tracescribe-gold' in content:
            gold_files += 1
            assert SECRET.encode() in content, f"{path} is gold without the canary"
        elif not data and SECRET.encode() in content and path.relative_to(ROOT) not in ALLOWED:
            strangers.append(str(path))
    assert gold_files >= 1
    assert not strangers, f"the canary stands in {strangers}"


WATCHED = """
import importlib, json, pkgutil, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "os.listdir", "os.scandir") else None)
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.offline import offline_agent
from tracescribe.agents.toolbox import load_toolbox
toolbox = load_toolbox()
report = offline_agent().interpret(InterpretationCase("dallas", prompt=sys.argv[1]), toolbox, Budget(experiments=1))
ran = sorted(name for name in sys.modules if name.startswith("tracescribe."))
import tracescribe.agents, tracescribe.prompts
failed = {}
for package in (tracescribe.agents, tracescribe.prompts):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            failed[found.name] = error.name or ""
after = sorted(name for name in sys.modules if name.startswith("tracescribe."))
print(json.dumps({"opened": opened, "ran": ran, "after": after, "failed": failed, "report": report.model_dump_json()}))
"""


@pytest.fixture(scope="module")
def watched() -> dict[str, object]:
    """A process that runs the offline agent on a case with gold, then imports every module that agents may use."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, DALLAS],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_no_gold_file_is_opened_while_an_agent_runs(watched: dict[str, object]) -> None:
    opened = watched["opened"]
    assert isinstance(opened, list)
    assert any("embedded" in path for path in opened), "the hook does see files"
    gold = {path.name for path in (ROOT / "evals" / "data").rglob("*") if path.is_file()} - {"index.json", "README.md"}
    for path in map(str, opened):
        assert "/evals/" not in path.replace("\\", "/"), f"{path} was opened while an agent ran"
        assert Path(path).name not in gold and "feature_latents" not in path, path


def test_no_module_of_gold_is_loaded_while_an_agent_runs_or_by_any_of_its_modules(watched: dict[str, object]) -> None:
    ran, after, failed = watched["ran"], watched["after"], watched["failed"]
    assert isinstance(ran, list) and isinstance(after, list) and isinstance(failed, dict)
    assert "tracescribe.agents.offline" in ran and len(after) > 100
    forbidden = ("tracescribe.evals", "tracescribe.runs", "tracescribe.tracer.embedded.training")
    assert [name for name in after if str(name).startswith(forbidden)] == []
    # only packages that are extras may be missing
    assert not [name for name in failed.values() if str(name).startswith("tracescribe")], failed


def test_nothing_that_the_agent_wrote_is_gold(watched: dict[str, object], oracle_gold: GoldSet) -> None:
    report = str(watched["report"])
    gold = oracle_gold.of_prompt(DALLAS)
    assert gold is not None and SECRET not in report
    assert not _told(report, gold)


def test_scorers_prompts_are_named_by_no_agent() -> None:
    """Gold names are shown to the judge of labels alone, whose template no module of an agent knows."""
    known = {template.name for template in list_prompts()}
    paths = modules()
    for module in reachable({name for name in paths if name.startswith("tracescribe.agents")}, paths):
        text = paths[module].read_text(encoding="utf-8")
        assert not [name for name in PROMPTS_OF_SCORERS & known if name in text], f"{module} names a scorer's prompt"


def _told(text: str, gold: GoldCircuit) -> list[str]:
    """What of a circuit's gold, in the form that only gold files have it, stands in a text."""
    found = [supernode.concept for supernode in gold.supernodes if supernode.concept and supernode.concept in text]
    found += [gold.gold_id] if gold.gold_id in text else []
    for supernode in gold.supernodes:
        listed = (json.dumps(supernode.accepted_labels), ", ".join(supernode.accepted_labels))
        found += [one for one in listed if len(supernode.accepted_labels) > 1 and one in text]
    return found


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return load_toolbox()


@pytest.mark.parametrize("style", STYLES)
def test_no_request_to_a_language_model_holds_gold(style: Style, toolbox: Toolbox, oracle_gold: GoldSet) -> None:
    """Every template that an agent renders, rendered for a real case whose gold is known."""
    asked: list[Question] = []

    def listen(question: Question) -> Reply:
        asked.append(question)
        return think(question)

    with serving(listen) as server:
        report = interpret(server, toolbox, style, budget=Budget(experiments=0))
    gold = oracle_gold.of_prompt(DALLAS)
    assert gold is not None and asked and report.supernodes
    for question in asked:
        text = repr(question)
        assert SECRET not in text and "tracescribe-gold" not in text
        assert not _told(text, gold), _told(text, gold)
    assert SECRET not in report.model_dump_json()


def test_templates_hold_no_gold(oracle_gold: GoldSet) -> None:
    labels = {label for circuit in oracle_gold.circuits for s in circuit.supernodes for label in s.accepted_labels}
    rare = {label for label in labels if label.count(" ") > 1}
    concepts = {s.concept for circuit in oracle_gold.circuits for s in circuit.supernodes if s.concept}
    assert rare and concepts
    for path in (ROOT / "prompts" / "templates").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert SECRET not in text
        assert not [word for word in concepts if word in text], path
        assert not [label for label in rare if f"{label}" in text], path


def _with_hints(graph: AttributionGraph) -> AttributionGraph:
    """The graph as somebody might publish it: labels, pins, supernodes, a telling title and the canary."""
    document = to_json(graph)
    feature = next(row for row in document["nodes"] if row["feature_type"] == "cross layer transcoder")
    feature["clerp"] = f"hint-clerp {SECRET}"
    feature["remote_label"] = "hint-row"
    document["qParams"] = {
        "pinnedIds": [feature["node_id"]],
        "supernodes": [["hint-group", feature["node_id"]]],
        "clerps": [[feature["node_id"], "hint-page"]],
    }
    document["metadata"] |= {"title_prefix": "hint-title", "info": {"description": "hint-info"}, "slug": "hint-slug"}
    document["hint-key"] = {"canary": CANARY}
    return parse_graph(json.dumps(document).encode())


def test_hints_in_a_graph_reach_neither_a_request_nor_a_report(dallas_graph: AttributionGraph) -> None:
    asked: list[Question] = []

    def listen(question: Question) -> Reply:
        asked.append(question)
        return think(question)

    hinted = _with_hints(dallas_graph)
    assert "hint-clerp" in str(hinted.labels) and "hint-group" in str(hinted.extra)
    case = InterpretationCase("hinted", graph=hinted)
    with serving(listen) as server:
        report = interpret(server, Toolbox(), "one-shot", case=case, budget=Budget(experiments=0))
    assert asked
    for text in (*map(repr, asked), report.model_dump_json()):
        assert "hint-" not in text and SECRET not in text
    # and it is no less blind where the same graph comes without them
    plain = replace(dallas_graph, extra={})
    with serving(think) as server:
        other = interpret(
            server, Toolbox(), "one-shot", case=InterpretationCase("hinted", graph=plain), budget=Budget(experiments=0)
        )
    assert [s.members for s in other.supernodes] == [s.members for s in report.supernodes]
