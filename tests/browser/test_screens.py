"""Pictures of every page and state at desk and phone width, light and dark, for people to look at.

They are written into the folder that TRACESCRIBE_SCREENS names, else into the test's own. What can be told without a
person is told here: a picture that is blank, and pages whose fingers' targets are too small.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import stand_still
from tests.browser.conftest import OpenWindow, Team
from tests.browser.scenes import SCENES, TEAM_SCENES, Scene
from tests.browser.site import Site

FOLDER = "TRACESCRIBE_SCREENS"
SMALL = """() => [...document.querySelectorAll('button, select, input, summary, nav a, [role=button], [role=tab]')]
  .filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || element.closest('[hidden], .visually-hidden, svg') || element.disabled) return false;
    const target = element.closest('label')?.getBoundingClientRect() ?? box;
    return target.height < 23.5 || target.width < 23.5;
  }).slice(0, 8).map(element => element.outerHTML.slice(0, 140))"""


def _picture(page: Any, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = page.screenshot(path=str(folder / f"{name}.png"), full_page=True)
    assert len(content) > 4000, f"{name} is blank"


def _pictures(page: Any, scene: Scene, folder: Path) -> None:
    for width, height in ((1280, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours)
            stand_still(page)
            _picture(page, folder, f"{scene.name}-{width}-{colours}")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go."""
    return Path(os.environ.get(FOLDER, tmp_path / "screens"))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_pictures(scene: Scene, demo_site: Site, open_window: OpenWindow, pictures: Path) -> None:
    window = open_window(demo_site)
    if scene.status != 200:
        window.allow(f"status of {scene.status}")
    row = demo_site.cases()[0]
    scene.open(window.page, case=row["case_id"], job=row["job_id"])
    _pictures(window.page, scene, pictures)
    assert window.page.evaluate(SMALL) == []


def test_pictures_where_people_log_in(team: Team, open_window: OpenWindow, pictures: Path) -> None:
    row = team.site.cases(authorization=f"Bearer {team.tokens['ada']}")[0]
    for scene in TEAM_SCENES:
        window = open_window(team.site)
        if scene.status != 200:
            window.allow(f"status of {scene.status}")
        if scene.who is not None:
            window.log_in(team.tokens[scene.who])
        scene.open(window.page, case=row["case_id"], job=row["job_id"])
        _pictures(window.page, scene, pictures)
