"""Agents from outside: the documented example works as it stands, and a hostile program loses its case and nothing else."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError, validate

from tests.agents.conftest import DALLAS
from tracescribe.agents.budget import Budget
from tracescribe.agents.case import InterpretationCase
from tracescribe.agents.external.agent import ExternalAgent, external_agent
from tracescribe.agents.external.answers import ToldCost
from tracescribe.agents.external.conversation import Talk, TalkLimits, converse
from tracescribe.agents.external.errors import ExternalAgentError
from tracescribe.agents.external.program import find_program
from tracescribe.agents.external.schemas import ANSWER, CASE, SCHEMAS
from tracescribe.agents.external.told_cost import cost_fault
from tracescribe.agents.loop_settings import LoopSettings
from tracescribe.agents.providers.spec import parse_agent_spec
from tracescribe.agents.report import CircuitReport, validate_report
from tracescribe.agents.testing.experiment_settings import ExperimentSettings
from tracescribe.agents.toolbox import Toolbox
from tracescribe.tracer.errors import InputError
from tracescribe.tracer.graph import AttributionGraph, NodeKind
from tracescribe.tracer.shipped_schema import ShippedSchema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmark-agents.md"
PROGRAM, CALLABLE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
READ = "import json, os, sys, time\ncase = json.loads(sys.stdin.readline())\n"
PATIENCE = 300.0
"""Seconds for a program that answers, on however busy a machine."""


def program(folder: Path, code: str, name: str = "agent.py") -> str:
    """A spec of a program with this code."""
    path = folder / name
    path.write_text(code if code.startswith("#!") else f"#!{sys.executable}\n{code}", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"exec:{path}"


def agent(spec: str) -> ExternalAgent:
    """The agent of a spec."""
    return external_agent(parse_agent_spec(spec), LoopSettings(experiments=ExperimentSettings(n_controls=50)))


def talk(spec: str, *, seconds: float = PATIENCE, **limits: int) -> Talk:
    """What a program answers to a small case."""
    found = find_program(parse_agent_spec(spec))
    return converse(found, {"tokens": ["a"]}, lambda _: {"told": 1}, TalkLimits(seconds=seconds, **limits))


def lost(spec: str, **limits: Any) -> tuple[str, str]:
    """Kind and message of the failure of a program."""
    with pytest.raises(ExternalAgentError) as caught:
        talk(spec, **limits)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return caught.value.failure_kind, str(caught.value)


def on_graph(spec: str, graph: AttributionGraph) -> CircuitReport:
    """A program's report on a graph alone."""
    report = agent(spec).interpret(InterpretationCase("x", graph=graph), Toolbox(), Budget())
    validate_report(report)
    return report


# -- the documented ones -------------------------------------------------------------------------------------------------


def test_the_documented_program_interprets(embedded_toolbox: Toolbox, tmp_path: Path) -> None:
    assert len(PROGRAM.strip().splitlines()) <= 30
    found = agent(program(tmp_path, PROGRAM.replace("/usr/bin/env python3", sys.executable)))
    report = found.interpret(InterpretationCase("x", prompt=DALLAS), embedded_toolbox, Budget())
    validate_report(report)
    assert report.provenance.agent == "exec:agent.py" and not report.failures
    assert report.tested and {claim.kind for claim in report.claims} == {"necessity"}
    assert all(len({m.position for m in s.members}) == 1 for s in report.supernodes)
    assert "Dallas" in {s.label for s in report.supernodes} and report.importance
    told = report.provenance.agent_settings["program"]
    assert isinstance(told, dict) and list(told["files"]) == ["agent.py"]
    assert str(tmp_path) not in report.model_dump_json()
    assert found.told_cost() is None


def test_the_documented_callable_interprets_in_a_process_of_its_own(
    embedded_toolbox: Toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = "import sys\nprint('loaded')\nassert 'tracescribe' not in sys.modules\n"
    (tmp_path / "mine.py").write_text(loud + CALLABLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = agent("python:mine:interpret")
    report = found.interpret(InterpretationCase("x", prompt=DALLAS), embedded_toolbox, Budget())
    validate_report(report)
    assert report.provenance.agent == "python:mine:interpret" and "mine" not in sys.modules
    (supernode,) = report.supernodes
    assert supernode.label.startswith("without it: ") and report.claims and report.tested


def test_the_same_program_gives_the_same_report(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    spec = program(tmp_path, PROGRAM.replace("/usr/bin/env python3", sys.executable))
    first, again = (on_graph(spec, dallas_graph) for _ in range(2))
    assert first.report_id == again.report_id
    assert first.supernodes == again.supernodes and first.importance == again.importance


# -- what it is given ------------------------------------------------------------------------------------------------------


def test_a_program_sees_no_secret_and_works_in_an_empty_folder_that_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_SETTING", "seen")
    code = READ + (
        "open('kept.txt', 'w').write('x' * 9)\n"
        "told = json.dumps([sorted(os.environ), os.getcwd(), os.environ.get('MY_SETTING'), len(os.listdir('.'))])\n"
        f"open({str(tmp_path / 'seen.json')!r}, 'w').write(told)\nprint('{{}}')\n"
    )
    spec = parse_agent_spec(program(tmp_path, code))
    for named, expected in (((), None), (("MY_SETTING",), "seen")):
        converse(find_program(spec, environment=named), {}, lambda _: {}, TalkLimits(seconds=PATIENCE))
        names, folder, value, n_files = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
        assert "OPENAI_API_KEY" not in names and "PYTHONPATH" not in names and "HOME" in names
        assert value == expected and n_files == 1
        assert not Path(folder).exists()
    with pytest.raises(InputError, match="--agent-env NOT_SET_AT_ALL: no such variable"):
        find_program(spec, environment=("NOT_SET_AT_ALL",))


def test_a_blinded_case_holds_the_graph_and_no_label(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    out = tmp_path / "case.json"
    on_graph(
        program(tmp_path, READ + f"open({str(out)!r}, 'w').write(json.dumps(case))\nprint('{{}}')\n"), dallas_graph
    )
    case = json.loads(out.read_text(encoding="utf-8"))
    ids = {node["id"]: node for node in case["nodes"]}
    assert set(ids) == set(dallas_graph.node_ids)
    weights = {(s, t): w for s, t, w in case["links"]}
    edges = dallas_graph.edges
    assert len(weights) == int((edges.weight != 0).sum()) and case["links_left_out"] == 0
    source, target = dallas_graph.node_ids[int(edges.source[0])], dallas_graph.node_ids[int(edges.target[0])]
    assert weights[source, target] == float(edges.weight[0])
    assert case["untestable"].startswith("no model weights") and case["evidence"] == {}
    assert 0 < case["budget"]["seconds"] <= 0.8 * 900


def test_questions_are_answered_metered_or_refused(embedded_toolbox: Toolbox, tmp_path: Path) -> None:
    code = READ + (
        "def ask(**act):\n"
        "    print(json.dumps({'ask': act}), flush=True)\n"
        "    return json.loads(sys.stdin.readline())\n"
        "node = max((n for n in case['nodes'] if n['kind'] == 'feature'), key=lambda n: n['influence'])\n"
        "told = [ask(act='evidence', feature=node['id']),\n"
        "        ask(act='predict', prompts=[case['prompt']]),\n"
        "        ask(act='intervene', rows=[[{'node': node['id'], 'multiplier': 0}],\n"
        "                                   [{'node': node['id'], 'multiplier': 1}]]),\n"
        "        ask(act='evidence', feature='99/99'),\n"
        "        ask(act='intervene', rows=[[{'node': 'nowhere', 'multiplier': 0}]]),\n"
        "        ask(act='predict', prompts=['zzz qqq xyzzy'])]\n"
        f"open({str(tmp_path / 'told.json')!r}, 'w').write(json.dumps(told))\nprint('{{}}')\n"
    )
    case = InterpretationCase("x", prompt=DALLAS)
    report = agent(program(tmp_path, code)).interpret(case, embedded_toolbox, Budget())
    evidence, said, moved, *refused = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert evidence["told"]["contexts"] and evidence["told"]["density"] > 0
    assert said["told"][0]["token"].strip() == "Austin"
    off, same = (row["targets"][0][1] for row in moved["told"]["rows"])
    clean = moved["told"]["clean"]["targets"][0][1]
    assert same == pytest.approx(clean, abs=1e-5) and off != pytest.approx(clean, abs=1e-4)
    assert all("refused" in one for one in refused)
    quiet = agent(program(tmp_path, "print('{}')", "quiet.py")).interpret(case, embedded_toolbox, Budget())
    assert report.cost.forward_passes >= quiet.cost.forward_passes + 3


# -- what it may not do ----------------------------------------------------------------------------------------------------

HOSTILE: Mapping[str, tuple[str, str, str]] = {
    "crashes": ("crash", "exit code 3.*it is too hard", READ + "sys.stderr.write('it is too hard\\n'); sys.exit(3)"),
    "raises": ("crash", "RuntimeError: no idea", READ + "raise RuntimeError('no idea')"),
    "kills itself": ("crash", "SIGSEGV", READ + "os.kill(os.getpid(), 11)"),
    "never reads and crashes": ("crash", "exit code 4", "import sys; sys.exit(4)"),
    "hangs": ("timeout", "no answer within 0.5", READ + "time.sleep(600)"),
    "hangs and ignores signals": (
        "timeout",
        "no answer",
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)",
    ),
    "spins": ("timeout", "no answer", "while True: pass"),
    "drips": ("timeout", "no answer", "import time\nwhile True:\n    print(end=' ', flush=True); time.sleep(0.01)"),
    "floods in one line": ("flood", "standard output", "import sys\nwhile True: sys.stdout.write('x' * 65536)"),
    "floods with lines": ("flood", "standard output", "while True: print(' ' * 999)"),
    "floods with errors": ("flood", "standard error", "import sys\nwhile True: sys.stderr.write('x' * 65536)"),
    "asks without end": ("flood", "questions", 'while True: print(\'{"ask": {"act": "evidence", "feature": "1/1"}}\')'),
    "says nothing": ("bad answer", "ended without an answer", READ),
    "closes its output": ("bad answer", "closed its output", READ + "os.close(1); time.sleep(600)"),
    "is no JSON": ("bad answer", "not JSON", "print('I think that it is Texas.')"),
    "hides text": ("bad answer", r"u\{202e\}", "print('\\u202eevil')"),
    "is a list": ("bad answer", "object was expected, found a list", "print('[1, 2]')"),
    "is not UTF-8": ("bad answer", "not UTF-8", "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n')"),
    "has NaN": ("bad answer", "NaN is no JSON number", 'print(\'{"scores": {"a": NaN}}\')'),
    "has infinity": ("bad answer", "Infinity is no JSON", 'print(\'{"scores": {"a": -Infinity}}\')'),
    "has an overflow": ("bad answer", "finite", 'print(\'{"scores": {"a": 1e999}}\')'),
    "has a huge integer": ("bad answer", "", "print('{\"scores\": {\"a\": ' + '9' * 9999 + '}}')"),
    "has a key twice": ("bad answer", "'labels' stands twice", 'print(\'{"labels": [], "labels": []}\')'),
    "has half a character": (
        "bad answer",
        "surrogate",
        'print(\'{"labels": [{"feature": "1/1", "text": "\\\\ud800"}]}\')',
    ),
    "nests": ("bad answer", "deeper than 32", "print('{\"labels\": ' + '[' * 200000 + ']' * 200000 + '}')"),
    "nests without end": ("bad answer", "deeper than 32", "print('{\"a\":' * 200000)"),
    "opens strings": ("bad answer", "not JSON", "print('{[' * 15 + '\"' + '\\\\\"' * 500000)"),
    "adds a field": ("bad answer", "verdicts: Extra inputs", "print('{\"verdicts\": []}')"),
    "has another schema": ("bad answer", "tracescribe-external/1", 'print(\'{"schema": "tracescribe-external/9"}\')'),
    "has an empty group": (
        "bad answer",
        "members",
        'print(\'{"supernodes": [{"id": "a", "label": "x", "members": []}]}\')',
    ),
    "has a label without end": (
        "bad answer",
        "at most 60",
        'print(\'{"labels": [{"feature": "1/1", "text": "\' + \'x\' * 999 + \'"}]}\')',
    ),
    "asks for what there is not": ("bad answer", "ask", 'print(\'{"ask": {"act": "gold"}}\')'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_loses_its_case(name: str, tmp_path: Path) -> None:
    kind, words, code = HOSTILE[name]
    limits = {"output_bytes": 1 << 21, "error_bytes": 1 << 20, "questions": 50}
    seconds = 0.5 if kind == "timeout" else PATIENCE
    found, message = lost(program(tmp_path, code), seconds=seconds, **limits)
    assert found == kind and re.search(words, message), message


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    "how",
    [
        "if os.fork() == 0: note(); time.sleep(600)",
        "if os.fork() == 0: os.setsid(); note(); time.sleep(600)",
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: note(); time.sleep(600)\n    os._exit(0)\nos.wait()",
        pytest.param(
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: note(); os.execve('/bin/sleep', ['sleep', '600'], {})\n"
            "    os._exit(0)\nos.wait()",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans over to us"),
        ),
    ],
    ids=["child", "child in a session of its own", "daemon", "daemon without our environment"],
)
@pytest.mark.parametrize("then", ["print('{}')", "sys.exit(5)", "time.sleep(600)"], ids=["answers", "crashes", "hangs"])
def test_no_process_of_a_program_outlives_its_case(how: str, then: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        f"{READ}def note(): open({str(note)!r}, 'w').write(str(os.getpid()))\n{how}\n"
        f"while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read(): time.sleep(0.01)\n{then}\n"
    )
    spec = program(tmp_path, code)
    if then == "print('{}')":
        talk(spec)
    elif then == "sys.exit(5)":
        assert lost(spec)[0] == "crash"
    else:
        for seconds in (1.0, 10.0, 100.0):  # until it came as far as to hang
            assert lost(spec, seconds=seconds)[0] == "timeout"
            if note.exists() and note.read_text(encoding="utf-8"):
                break
    pid = int(note.read_text(encoding="utf-8"))
    deadline = time.monotonic() + PATIENCE
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def test_an_answer_stands_though_its_program_never_reads_or_closes_early(tmp_path: Path) -> None:
    assert talk(program(tmp_path, "print('{}', flush=True)\nimport time; time.sleep(600)")).answer.supernodes == []
    no_newline = READ + "sys.stdout.write('{}'); sys.stdout.flush(); os.close(1); time.sleep(600)"
    assert talk(program(tmp_path, no_newline)).answer.labels == []
    big = find_program(parse_agent_spec(program(tmp_path, "import os; os.close(0); print('{}')")))
    assert converse(big, {"x": "y" * 5_000_000}, lambda _: {}, TalkLimits(seconds=PATIENCE)).questions == 0


def test_what_names_nothing_is_left_out_and_told(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    features = [dallas_graph.node_ids[int(i)] for i in dallas_graph.of_kind(NodeKind.FEATURE)[:3]]
    logit = dallas_graph.node_ids[int(dallas_graph.of_kind(NodeKind.LOGIT)[0])]
    answer = {
        "supernodes": [
            {"id": "a", "label": "one", "members": [features[0], "7_7_7", features[1], features[0]]},
            {"id": "a", "label": "two", "members": [features[2]]},
            {"id": "b", "label": "three", "members": [features[1]]},
            {"id": "c", "label": "<script>x</script>", "members": [features[2], logit]},
        ],
        "scores": {features[0]: 3, features[1]: 2.5, "nobody": 9, logit: 1},
        "edges": [["a", logit], ["a", "z"], [logit, "a"]],
        "labels": [
            {"feature": features[0], "text": "first"},
            {"feature": features[0], "text": "again"},
            {"feature": "77/7", "text": "nothing"},
        ],
        "claims": [
            {"kind": "necessity", "supernode": "a"},
            {"kind": "necessity", "supernode": "a"},
            {"kind": "necessity", "supernode": "b"},
            {"kind": "edge", "source": "a", "destination": "a", "sign": 1},
            {"kind": "label", "feature": "77/7"},
            {"kind": "swap", "supernode": "a", "donor_prompt": "x"},
        ],
    }
    report = on_graph(program(tmp_path, f"print({json.dumps(json.dumps(answer))})"), dallas_graph)
    told = " ".join(failure.error for failure in report.failures)
    for words in (
        "no feature node '7_7_7'", f"'{features[0]}' is used twice", "id 'a' is used twice", "'b' has no member",
        f"no feature node '{logit}'", "1 scores dropped: no node 'nobody'", "'77/7' is unknown", "is labelled twice",
        "none from 'a' to 'z'", f"none from '{logit}' to 'a'", "the same as another claim", "'b of the answer'",
        "no edge to itself", "claim 6 (swap) was dropped",
    ):  # fmt: skip
        assert words in told, words
    assert [[m.node_id for m in s.members] for s in sorted(report.supernodes, key=lambda s: s.supernode_id)] == [
        features[:2], features[2:3],
    ]  # fmt: skip
    assert [one.node.node_id for one in report.importance] == features[:2]
    assert len(report.claims) == 1 and {edge.destination for edge in report.edges} <= {logit}


def test_thousands_of_faults_are_told_in_a_few_lines(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    answer = {"supernodes": [{"id": str(i), "label": "x", "members": [f"9_9_{i}"]} for i in range(1500)]}
    report = on_graph(program(tmp_path, f"print({json.dumps(json.dumps(answer))})"), dallas_graph)
    assert not report.supernodes and len(report.failures) < 30


def test_a_lost_case_is_an_error_and_never_an_empty_report(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    with pytest.raises(ExternalAgentError, match="crash: exit code 1") as caught:
        on_graph(program(tmp_path, "raise SystemExit(1)"), dallas_graph)
    import pickle

    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.failure_kind == "crash"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"seconds": 10.0}, None),
        ({"seconds": 14.0, "llm_calls": 3, "tokens": 900, "usd": 0.1}, None),
        ({"seconds": 0.1}, "tells 0.1 seconds, and 10 were measured"),
        ({"seconds": 60.0}, "tells 60 seconds"),
        ({"seconds": -1.0}, "seconds is -1"),
        ({"tokens": -5}, "tokens is -5"),
        ({"tokens": 10, "llm_calls": 0}, "without a call"),
        ({"usd": 0.5, "llm_calls": 0}, "without a call"),
        ({"tokens": 1001}, "1001 tokens, and the budget of the case is 1000"),
        ({"usd": 3.0}, "3 usd, and the budget"),
        ({"llm_calls": 21}, "21 llm_calls"),
        ({}, None),
    ],
)
def test_a_told_cost_must_be_possible(told: dict[str, Any], words: str | None) -> None:
    fault = cost_fault(ToldCost(**told), 10.0, Budget(tokens=1000, usd=2.0, llm_calls=20))
    assert (fault is None) if words is None else (fault is not None and words in fault)


def test_a_dishonest_cost_loses_the_case_and_an_honest_one_is_told(
    dallas_graph: AttributionGraph, tmp_path: Path
) -> None:
    liar = program(tmp_path, 'print(\'{"cost": {"seconds": 999}}\')', "liar.py")
    with pytest.raises(ExternalAgentError, match="dishonest cost: it tells 999 seconds"):
        on_graph(liar, dallas_graph)
    honest = agent(program(tmp_path, 'print(\'{"cost": {"llm_calls": 2, "tokens": 7}}\')'))
    report = honest.interpret(InterpretationCase("x", graph=dallas_graph), Toolbox(), Budget())
    assert honest.told_cost() == ToldCost(llm_calls=2, tokens=7)
    assert report.cost.llm_calls == 0  # what is measured stays what was measured


# -- what cannot be started ------------------------------------------------------------------------------------------------


def test_a_spec_of_what_cannot_run_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = tmp_path / "plain.py"
    plain.write_text("raise SystemExit('never run')", encoding="utf-8")
    for spec, words in (
        ("exec:./nowhere", "no program './nowhere'"),
        ("exec:no-such-program-anywhere", "no program 'no-such-program-anywhere' on the PATH"),
        ("exec:./plain.py", "make it executable"),
        ("python:nowhere_at_all:interpret", "no module 'nowhere_at_all'"),
        ("python:plain.sub:interpret", "no module 'plain.sub'"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            agent(spec)
    assert agent("python:plain:interpret").name == "python:plain:interpret" and "plain" not in sys.modules


def test_arguments_that_are_files_here_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text(READ + "print(json.dumps({'labels': [{'feature': '1/1', 'text': sys.argv[1]}]}))")
    monkeypatch.chdir(tmp_path)
    found = find_program(parse_agent_spec(f"exec:{sys.executable} a.py 'two words'"))
    assert found.name == "exec:a.py" and "a.py" in found.files
    answer = converse(found, {}, lambda _: {}, TalkLimits(seconds=PATIENCE)).answer
    assert answer.labels[0].text == "two words"
    changed = dict(found.files)
    (tmp_path / "a.py").write_text("print('{}')")
    assert find_program(parse_agent_spec(f"exec:{sys.executable} a.py")).files != changed


def test_a_file_that_is_no_program_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(os.urandom(100))
    path.chmod(0o700)
    with pytest.raises(InputError, match="cannot be started"):
        talk(f"exec:{path}")


# -- the schemas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.file)
def test_the_shipped_schemas_are_what_the_models_say(schema: ShippedSchema) -> None:
    assert schema.shipped() == schema.generated()


def test_what_is_sent_and_answered_fits_the_shipped_schemas(dallas_graph: AttributionGraph, tmp_path: Path) -> None:
    out = tmp_path / "case.json"
    on_graph(
        program(tmp_path, READ + f"open({str(out)!r}, 'w').write(json.dumps(case))\nprint('{{}}')\n"), dallas_graph
    )
    case = json.loads(out.read_text(encoding="utf-8"))
    validate({**case, "links": case["links"][:50], "nodes": case["nodes"][::20]}, CASE.shipped())  # thousands take long
    code = PROGRAM.replace("sys.stdin.readline()", f"open({str(out)!r}).read()")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    validate(json.loads(found.stdout), ANSWER.shipped())
    wrongs: tuple[dict[str, Any], ...] = ({"verdicts": []}, {"scores": {"a": "b"}}, {"claims": [{"kind": "truth"}]})
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            validate(wrong, ANSWER.shipped())
