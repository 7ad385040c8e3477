"""The commands on gold files: what they print, write, refuse, and exit with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.evals.test_gold_folders import published_circuit, published_graph, write_folder

Run = Callable[..., Any]


def test_a_folder_is_listed_imported_checked_and_exported(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "gold", published_circuit())
    told = run("gold", "list", "--gold", folder, "--kind", "human", "--tag", "sensitive", "--json").json
    assert [circuit["gold_id"] for circuit in told["circuits"]] == ["Case-1"]
    assert "Case-1" in run("gold", "show", "Case-1", "--gold", folder).out

    imported = run("gold", "import", folder, "--out", "copy", "--licence", "CC0-1.0", "--json").json
    assert imported["circuits"][0]["source"]["licence"] == "CC0-1.0"
    assert (tmp_path / "copy" / "graphs" / "Case-1.json").is_file()
    checked = run("gold", "check", "copy", "--json")
    assert checked.code == 0 and checked.json["errors"] == 0 and checked.json["circuits"] == 1
    assert "1 circuits: 0 errors" in run("gold", "check", "copy").out

    again = run("gold", "import", folder, "--out", "copy")
    assert again.code == 1 and "is there already" in again.err
    assert run("gold", "export", "Case-1", "--gold", "copy", "--form", "neuronpedia", "--out", "page.json").code == 0
    page = json.loads((tmp_path / "page.json").read_text())
    assert page["supernodes"][0][0] == "first" and "canary" in page
    back = run("gold", "import", "page.json", "--graph", folder / "graphs" / "case.json", "--out", "back.json")
    assert back.code == 0 and "selection" in back.out
    assert run("gold", "export", "--gold", "copy", "--out", "whole").code == 0
    assert run("gold", "check", "whole").code == 0


def test_errors_of_a_check_exit_with_one_and_say_what(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "gold", published_circuit(selected=["5_5_5"]))
    done = run("gold", "check", folder)
    assert done.code == 1 and "error: Case-1" in done.out and "5_5_5 is not in the graph" in done.out
    nothing = run("gold", "check", tmp_path / "gold" / "graphs")
    assert nothing.code == 2 and "no gold in it" in nothing.err


def test_the_shipped_gold_has_no_errors(run: Run) -> None:
    from tracescribe.evals.oracle.building import oracle_path

    assert run("gold", "check", oracle_path(), "--json").json["errors"] == 0


def test_bad_calls_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text(json.dumps(published_graph()))
    folder = write_folder(tmp_path / "gold", published_circuit(), published_circuit(circuit_id="Case-2"))
    for arguments, message in (
        (("list", "--gold", "none"), "cannot read gold folder"),
        (("list", "--gold", folder, "--kind", "divine"), "no circuit of"),
        (("import", "none.json", "--out", "x"), "cannot read"),
        (("import", "g.json", "--out", "x"), "neither pinned ids nor supernodes"),
        (("export", "--gold", folder, "--form", "neuronpedia", "--out", "x.json"), "a graph page holds one circuit"),
    ):
        done = run("gold", *arguments)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "x").exists()
