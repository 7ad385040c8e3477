"""A written report: four files that agree with the report, the same every time, or none at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tracescribe.agents.rendering import EvidenceLookup, render_html, write_report
from tracescribe.agents.report import CircuitReport, parse_report
from tracescribe.tracer.errors import OutputError, ReportError
from tracescribe.tracer.graph import AttributionGraph

ReportMaker = Callable[..., CircuitReport]


def test_json_is_the_report_and_nothing_else_is_written(
    dallas_report: CircuitReport, store: EvidenceLookup, tmp_path: Path
) -> None:
    files = write_report(dallas_report, None, tmp_path / "new" / "folder", evidence=store)
    assert parse_report(files.json.read_text()) == dallas_report
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"report.json", "report.md", "report.html", "circuit.svg"}


def test_two_runs_give_the_same_bytes(
    hostile_report: CircuitReport, hostile_store: EvidenceLookup, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        write_report(hostile_report, None, tmp_path / folder, evidence=hostile_store)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_only_seconds_differ_between_reports_that_differ_in_seconds(dallas_report: CircuitReport) -> None:
    other = dallas_report.model_copy(update={"cost": dallas_report.cost.model_copy(update={"seconds": 99.0})})
    pages = render_html(dallas_report).splitlines(), render_html(other).splitlines()
    different = [a for a, b in zip(*pages, strict=True) if a != b]
    assert len(different) == 1 and "8.31 s" in different[0]


def test_a_real_graph_names_the_prompt_tokens(dallas_report: CircuitReport, dallas_graph: AttributionGraph) -> None:
    page = render_html(dallas_report, dallas_graph)
    assert page.count('class="token"') == len(dallas_graph.tokens)


def test_report_with_a_number_that_json_lacks_is_refused(dallas_report: CircuitReport, tmp_path: Path) -> None:
    unexplained = dallas_report.unexplained.model_copy(update={"error_influence": math.nan})
    report = dallas_report.model_copy(update={"unexplained": unexplained})
    with pytest.raises(ReportError, match="cannot be written as JSON"):
        write_report(report, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_report_that_breaks_its_contract_is_refused(dallas_report: CircuitReport, tmp_path: Path) -> None:
    report = dallas_report.model_copy(update={"verdicts": dallas_report.verdicts[1:]})
    with pytest.raises(ReportError, match="claim c0 has no verdict"):
        write_report(report, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_that_is_a_file_is_one_line(dallas_report: CircuitReport, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*; choose a folder that you can write to"):
        write_report(dallas_report, None, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_report_without_anything_found_renders(report_maker: ReportMaker, tmp_path: Path) -> None:
    report = report_maker(supernodes=(), edges=(), labels=(), claims=(), summary=())
    files = write_report(report, None, tmp_path)
    page = files.html.read_text()
    for words in ("No story was told.", "No steps were found.", "Nothing was claimed.", "No feature was labelled."):
        assert words in page
