"""docs/review.md as a first-time reviewer has it: its commands as they stand, its keys, its links and its pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.browser.conftest import OpenWindow
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site

PAGE = Path(__file__).resolve().parents[2] / "docs" / "review.md"


def _text() -> str:
    return PAGE.read_text(encoding="utf-8")


def _commands(section: str) -> list[list[str]]:
    """Commands of one section, without the program's name."""
    part = _text().split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", part, flags=re.DOTALL) for line in block.splitlines()]
    assert all(line.startswith("tracescribe ") for line in lines), lines
    return [shlex.split(line)[1:] for line in lines]


def test_its_commands_lead_from_the_demo_to_a_score(tmp_path: Path) -> None:
    user = Site(tmp_path)
    user.store = tmp_path / "tracescribe-workspace" / "store"  # where it is when nobody names one
    demo, serve, interpret, serve_more = _commands("Begin")
    assert serve == ["serve"]
    assert serve_more[0] == "serve"
    user.run(*demo)
    try:
        user.start(words=serve)
        assert len(user.cases()) == 1
        user.stop()
        user.run(*interpret)
        user.reports = [tmp_path / "the demo's", tmp_path / serve_more[1]]  # how many to wait for
        user.start(words=serve_more)
        case = next(row["case_id"] for row in user.cases() if row["agent"] == "offline")
        with Reviewer(user.address, case) as reviewer:
            reviewer.look()
            reviewer.act({"kind": "judge", "target": "supernode:s2", "decision": "accepted"})
            reviewer.act({"kind": "close", "status": "accepted"}, why="as the guide says")
            gold = reviewer.http.post(f"{reviewer.path}/export/gold", params={"review": reviewer.review_id})
        assert gold.status_code == 200, gold.text
        (tmp_path / "gold.json").write_bytes(gold.content)
        score, show, verify = _commands("Finish, and take it out")
        assert "GOLD" in score
        assert "selection" in user.run(*["gold.json" if word == "GOLD" else word for word in score])
        assert "human review" in user.run(*show)
        user.run(*verify)
    finally:
        user.stop()


def test_its_keys_are_those_of_the_help_sheet(demo_site: Site, open_window: OpenWindow) -> None:
    table = _text().split("### Keys\n", 1)[1].split("\n###", 1)[0]
    told = {
        key
        for row in re.findall(r"^\| (`.*?|Esc) \|", table, flags=re.MULTILINE)
        for key in re.findall(r"`(.+?)`|(Esc)", row)
    }
    keys = {one or other for one, other in told}
    assert {"a", "r", "u", "M", "Esc"} <= keys
    page = open_window(demo_site).page
    page.goto(f"/reports/{demo_site.cases()[0]['case_id']}")
    page.locator("#report[data-ready]").wait_for()
    page.keyboard.press("?")
    shown = set(page.get_by_role("dialog").locator("kbd").all_inner_texts())
    assert {"Esc" if key == "Escape" else key for key in keys} <= shown | {
        key.replace("Escape", "Esc") for key in shown
    }


def test_its_links_and_pictures_are_there() -> None:
    text = _text()
    places = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert len([place for place in places if place.startswith("images/")]) == 5
    assert [place for place in places if not (PAGE.parent / place).is_file()] == []
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    }
    assert [anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in headings] == []
