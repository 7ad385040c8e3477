"""Two browsers change one review at once: a conflict is shown, nothing is overwritten and nothing is lost."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.browser.chromium import Window, intercept
from tests.browser.conftest import OpenWindow, Team
from tests.browser.reviewer import Reviewer
from tests.browser.site import Site


def _open(window: Window, case: str, query: str = "") -> Any:
    """The report in a window that hears nothing of others until it saves: as one whose network is slow."""
    page = window.page
    body = json.dumps({"review_id": None, "version": 0})
    intercept(
        page, "**/review/version*", lambda route: route.fulfill(status=200, content_type="application/json", body=body)
    )
    page.goto(f"/reports/{case}{query}#supernode:s2")
    page.locator("#report[data-ready]").wait_for()
    return page


def _accept(page: Any) -> None:
    page.locator("#inspector").get_by_role("button", name=re.compile("^Accept")).click()


def _rename(page: Any, text: str) -> None:
    page.locator("#inspector").get_by_role("button", name=re.compile("Edit label")).click()
    field = page.locator("#inspector").get_by_role("textbox").first
    field.fill(text)
    field.press("Enter")


def _bar(page: Any, words: str) -> None:
    page.locator("#review-bar").get_by_text(words).wait_for()


def test_one_person_in_two_browsers_is_asked(fresh_site: Site, open_window: OpenWindow) -> None:
    case = fresh_site.cases()[0]["case_id"]
    first, second = open_window(fresh_site), open_window(fresh_site)
    for window in (first, second):
        window.allow("status of 409")
    a, b = _open(first, case), _open(second, case)
    _rename(a, "the state of Texas")
    _bar(a, "All saved, version 1")

    _rename(b, "what is Texan")
    dialog = b.get_by_role("dialog")
    dialog.get_by_role("heading", name="You changed this review in another window").wait_for()
    assert "the state of Texas" in dialog.inner_text(), "it tells what the other did"
    assert "what is Texan" in dialog.inner_text(), "and what is not saved"
    with Reviewer(fresh_site.address, case) as reader:
        assert reader.look()["version"] == 1, "nothing is overwritten while nobody has answered"
        dialog.get_by_role("button", name="Keep those, do these on top").click()
        _bar(b, "All saved, version 2")
        history = [done["act"]["text"] for done in reader.look()["history"]]
    assert history == ["the state of Texas", "what is Texan"], "both are in the history"

    # the first one, who has not seen that, drops what they were about to do; their text comes back
    _rename(a, "Lone Star")
    a.get_by_role("dialog").get_by_role("button", name="Keep those, drop these").click()
    a.locator('#circuit-supernodes [data-target="supernode:s2"]').filter(has_text="what is Texan").first.wait_for()
    with Reviewer(fresh_site.address, case) as reader:
        assert reader.look()["version"] == 2
    assert a.locator("#inspector").get_by_role("textbox").first.input_value() == "Lone Star"


def test_two_reviewers_have_a_review_each_and_may_share_one(team: Team, open_window: OpenWindow) -> None:
    site = team.site
    case = site.cases(authorization=f"Bearer {team.tokens['ada']}")[0]["case_id"]
    rosa, rolf = open_window(site), open_window(site)
    rosa.log_in(team.tokens["rosa"])
    rolf.log_in(team.tokens["rolf"])
    a, b = _open(rosa, case), _open(rolf, case)
    _accept(a)
    _bar(a, "All saved, version 1")
    _accept(b)  # a review of his own: no conflict
    _bar(b, "All saved, version 1")

    with Reviewer(site.address, case, team.tokens["rosa"]) as reader:
        review = reader.look()
    assert review["reviewer"] == "token:rosa"
    rolf.allow("status of 409")
    shared = _open(rolf, case, f"?review={review['review_id']}")
    _bar(shared, "Review of rosa")
    _rename(a, "the state of Texas")
    _bar(a, "All saved, version 2")
    _rename(shared, "what is Texan")
    dialog = shared.get_by_role("dialog")
    assert "rosa" in dialog.inner_text()
    dialog.get_by_role("button", name="Keep theirs, do mine on top").click()
    _bar(shared, "All saved, version 3")
    with Reviewer(site.address, case, team.tokens["rosa"]) as reader:
        actors = [done["actor"] for done in reader.look()["history"]]
    assert actors == ["token:rosa", "token:rosa", "token:rolf"]


def test_many_acts_at_once_each_win_or_conflict(fresh_site: Site) -> None:
    case = fresh_site.cases()[0]["case_id"]
    with Reviewer(fresh_site.address, case) as starter:
        starter.act({"kind": "comment", "target": "report", "text": "the first"})
        people = [Reviewer(fresh_site.address, case) for _ in range(4)]
        won: list[str] = []

        def work(number: int) -> None:
            person = people[number]
            person.look()
            for place in range(10):
                text = f"remark {number}.{place}"
                while True:
                    answer = person.post({"kind": "comment", "target": "report", "text": text})
                    if answer.status_code == 200:
                        person.version = answer.json()["version"]
                        won.append(text)
                        break
                    if answer.status_code == 503:  # the others had the store for longer than the server waits
                        time.sleep(float(answer.headers.get("retry-after", "1")))
                        continue
                    assert answer.status_code == 409, answer.text
                    assert answer.json()["since"], "it tells what was done meanwhile"
                    person.version = answer.json()["state"]["version"]

        try:
            with ThreadPoolExecutor(len(people)) as pool:
                list(pool.map(work, range(len(people))))
        finally:
            for person in people:
                person.http.close()
        texts = [done["act"]["text"] for done in starter.look()["history"]]
    assert texts[0] == "the first"
    assert sorted(texts[1:]) == sorted(won)
    assert len(won) == 40
    fresh_site.run("audit", "verify", "--store", str(fresh_site.store))
