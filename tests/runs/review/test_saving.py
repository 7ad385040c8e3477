"""Acts in the store: one who has not seen everything saves nothing, and whoever dies while saving leaves no half act."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.runs.postgres_server import PostgresServer
from tests.runs.review.conftest import ROLF, ROSA, VERA, Doing, Folder
from tracescribe.runs.access.errors import AccessDeniedError
from tracescribe.runs.access.roles import Principal
from tracescribe.runs.audit.sources import source_of
from tracescribe.runs.audit.verifying import local_trust, verify_log
from tracescribe.runs.review import acts, saving
from tracescribe.runs.review.bringing_in import bring_in
from tracescribe.runs.review.errors import ActRefusedError, ReviewConflictError
from tracescribe.runs.review.folding import Course
from tracescribe.runs.review.loading import course_of_review, list_reviews, load_review
from tracescribe.runs.review.saving import save_act
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.store.tables import audit_entries, reports, review_acts, reviews
from tracescribe.runs.store.verifying import verify
from tracescribe.tracer.errors import UnknownIdError
from tracescribe.tracer.provenance import sha256_json

RENAME = acts.RenameSupernode(supernode="s1", text="another name")


def rows(store: Store, query: Any) -> list[Any]:
    return store.read(lambda connection: list(connection.execute(query).all()))


@pytest.mark.parametrize("text", ["\u200b", "\u202e\u2066 \ufeff", "\u3164", "\u0301", "\U000e0020"])
def test_words_that_nobody_sees_are_refused(do: Doing, text: str) -> None:
    for act in (acts.Comment(target="report", text=text), acts.RenameSupernode(supernode="s1", text=text)):
        with pytest.raises(ActRefusedError, match="nobody sees"):
            do(ROSA, act)
    assert do(ROSA, acts.Comment(target="report", text=f"\u05e9{text}\U0001f44d")).comments, "beside others they stay"


@pytest.mark.parametrize("text", ["\x1c", "\x1f \x1d"])
def test_words_of_which_nothing_is_left_are_refused_not_stored(
    store: Store, case_id: str, do: Doing, text: str
) -> None:
    with pytest.raises(ActRefusedError, match="nothing is left of its words"):
        do(ROSA, acts.Comment(target="report", text=text))
    assert load_review(store, case_id, None, ROSA.name).version == 0


def test_an_act_is_saved_with_everything_that_belongs_to_it(store: Store, case_id: str, do: Doing) -> None:
    before = load_review(store, case_id, None, ROSA.name)
    assert (before.review_id, before.version, before.can_undo) == (None, 0, False)
    state = do(ROSA, RENAME, why="it says the state")
    assert (state.version, state.supernodes[0].label, state.history[0].why) == (1, RENAME.text, "it says the state")
    assert load_review(store, case_id, None, ROSA.name) == state
    assert load_review(store, case_id, state.review_id, ROLF.name) == state, "others read it by its id"
    assert load_review(store, case_id, None, ROLF.name).version == 0
    assert [(one.reviewer, one.version, one.status) for one in list_reviews(store, case_id)] == [(ROSA.name, 1, "open")]
    assert rows(store, sa.select(reports.c.review_status)) == [("open",)]
    entry = rows(store, sa.select(audit_entries).where(audit_entries.c.act == "human review"))[0]
    assert (entry.actor, entry.subject) == (ROSA.name, case_id)
    details = json.loads(entry.details)
    assert details["why"] == "it says the state"
    assert details["act_sha256"] == sha256_json(RENAME.model_dump(mode="json"))
    do(ROSA, acts.Close(status="accepted"))
    assert rows(store, sa.select(reports.c.review_status)) == [("accepted",)]


def test_who_has_not_seen_everything_saves_nothing(store: Store, case_id: str, do: Doing) -> None:
    state = do(ROSA, RENAME)
    second = save_act(store, ROLF, case_id, state.review_id, 1, acts.Comment(target="report", text="let me help"))
    assert (second.reviewer, second.history[-1].actor) == (ROSA.name, ROLF.name)
    with pytest.raises(ReviewConflictError, match="token:rolf did 1 act since you looked; nothing of yours") as caught:
        save_act(store, ROSA, case_id, None, 1, acts.Judge(target="report", decision="accepted"))
    assert caught.value.state == second
    assert [one.act.kind for one in caught.value.since] == ["comment"]
    with pytest.raises(ReviewConflictError, match="has only 2"):
        save_act(store, ROSA, case_id, None, 7, RENAME)
    assert load_review(store, case_id, None, ROSA.name) == second


def test_nobody_acts_without_the_right_or_on_what_is_not_there(store: Store, case_id: str, do: Doing) -> None:
    with pytest.raises(AccessDeniedError):
        do(VERA, RENAME)
    for case, review in (("nobody.0", None), (case_id, "r0123"), ("../../etc/passwd", None)):
        with pytest.raises(UnknownIdError):
            save_act(store, ROSA, case, review, 0, RENAME)
    with pytest.raises(ActRefusedError):
        do(ROSA, acts.RenameSupernode(supernode="s99", text="x"))
    assert rows(store, sa.select(reviews)) == []


def test_text_is_cleaned_and_redacted_before_it_is_stored(store: Store, case_id: str, do: Doing) -> None:
    hostile = "a\0b write to me@example.org \u202e <script>"
    state = do(ROSA, acts.Comment(target="report", text=hostile), why="key sk-" + "a1B2" * 12)
    assert state.comments[0].text == "a\ufffdb write to [redacted email] \u202e <script>"
    assert "sk-" not in state.history[0].why
    stored = rows(store, sa.select(review_acts.c.act, review_acts.c.why))[0]
    assert "example.org" not in stored.act
    long = do(ROSA, acts.RenameSupernode(supernode="s1", text=("me@example.org " * 13).strip()))
    assert len(long.supernodes[0].label) <= acts.MAX_LABEL
    assert load_review(store, case_id, None, ROSA.name) == long


def test_a_transaction_that_is_run_twice_saves_one_act(
    store: Store, case_id: str, do: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(ROSA, acts.Comment(target="report", text="first"))
    write = store.write

    def twice(work: Any, **options: Any) -> Any:
        write(work, **options)  # its commit's outcome was unknown
        return write(work, **options)

    monkeypatch.setattr(store, "write", twice)
    state = do(ROSA, RENAME)
    do(ROLF, RENAME)  # a first act, with its review
    assert state.version == 2
    assert len(rows(store, sa.select(review_acts))) == 3
    assert len(rows(store, sa.select(audit_entries).where(audit_entries.c.act == "human review"))) == 3


def test_two_first_acts_at_once_make_one_review(store: Store, case_id: str) -> None:
    start = threading.Barrier(2)
    ends: list[object] = []

    def first(text: str) -> None:
        start.wait()
        try:
            ends.append(save_act(store, ROSA, case_id, None, 0, acts.Comment(target="report", text=text)))
        except ReviewConflictError as error:
            ends.append(error)

    threads = [threading.Thread(target=first, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [end for end in ends if isinstance(end, ReviewConflictError)]
    assert len(lost) == 1
    assert lost[0].state.version == 1
    assert len(list_reviews(store, case_id)) == 1


def test_acts_that_go_missing_are_told(store: Store, case_id: str, do: Doing) -> None:
    state = do(ROSA, RENAME, acts.Comment(target="report", text="two"), acts.Undo())
    assert verify(store).faults == []
    store.write(lambda connection: connection.execute(sa.delete(review_acts).where(review_acts.c.version == 2)))
    faults = verify(store).faults
    assert [(fault.kind, fault.name, fault.cases) for fault in faults] == [("review", state.review_id, (case_id,))]
    assert "has 3 acts, and has 2" in faults[0].message
    assert not verify(store).sound


def begin(store: Store, case_id: str, number: int, mark: str, name: str = ROSA.name) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("saving_process.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), store.address.url, case_id, name, str(number), mark]
    if "://" not in store.address.url:
        command[2] = str(store.address.database_file.parent)  # type: ignore[union-attr]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def check_whole(store: Store, case_id: str, told: int) -> None:
    """Every act is there once, in a row without gaps, and the audit log tells of each; nothing that was told is lost."""
    for one in list_reviews(store, case_id):
        state = load_review(store, case_id, one.review_id, "nobody")
        found = rows(
            store,
            sa.select(review_acts.c.version, review_acts.c.act)
            .where(review_acts.c.review_id == one.review_id)
            .order_by(review_acts.c.version),
        )
        assert [row.version for row in found] == list(range(1, one.version + 1))
        assert state.version == one.version
        entries = rows(
            store,
            sa.select(audit_entries.c.details)
            .where(audit_entries.c.act == "human review")
            .order_by(audit_entries.c.sequence),
        )
        logged = [json.loads(row.details) for row in entries]
        mine = [entry for entry in logged if entry["review"] == one.review_id]
        assert [entry["version"] for entry in mine] == list(range(1, one.version + 1))
        assert [entry["act_sha256"] for entry in mine] == [sha256_json(json.loads(row.act)) for row in found]
    assert sum(one.version for one in list_reviews(store, case_id)) >= told
    assert verify_log(source_of(store), local_trust(store.store_id)).is_whole
    assert verify(store).faults == []


def test_two_processes_save_into_one_review_and_nothing_is_lost(store: Store, case_id: str) -> None:
    both = [begin(store, case_id, 15, mark) for mark in ("a", "b")]
    go(*both)
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    state = load_review(store, case_id, None, ROSA.name)
    assert state.version == 30
    texts = [done.act.text for done in state.history if isinstance(done.act, acts.RenameSupernode)]
    for mark in ("a", "b"):
        assert [text for text in texts if text.startswith(mark)] == [f"{mark}-{n}" for n in range(15)]
    check_whole(store, case_id, 30)


def kill_in_mid_save(store: Store, case_id: str, moment: float) -> int:
    """Start a process that saves, kill it, and give the last version that it was told was saved."""
    process = begin(store, case_id, 100_000, f"k{moment:.4f}")
    go(process)
    assert process.stdout is not None
    first = int(process.stdout.readline())
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    return max([first, *(int(line) for line in out.split())])


def test_a_process_killed_while_it_saves_leaves_no_half_act(store: Store, case_id: str) -> None:
    told = kill_in_mid_save(store, case_id, 0.1)
    check_whole(store, case_id, told)
    state = load_review(store, case_id, None, ROSA.name)
    after = save_act(store, ROSA, case_id, None, state.version, acts.Comment(target="report", text="going on"))
    assert after.version == state.version + 1


@pytest.mark.batch
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_over_and_over(kind: str, tmp_path: Path, folder: Folder, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        address = parse_address(str(tmp_path / "store"))
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        address = parse_address(server.new_database(), artefacts=str(tmp_path / "artefacts"))
    store = open_store(address, create=True)
    case_id = bring_in(store, folder.report_bytes, folder.graph_bytes, "made up")
    chance, told = random.Random(7), 0
    for _ in range(20):
        told = max(told, kill_in_mid_save(store, case_id, chance.uniform(0.0, 0.3)))
        check_whole(store, case_id, told)
    assert told >= 20, "each process saved at least one act before it was killed"
    store.close()


@pytest.mark.batch
def test_reviews_on_postgresql(tmp_path: Path, folder: Folder, postgres: PostgresServer) -> None:
    address = parse_address(postgres.new_database(), artefacts=str(tmp_path / "artefacts"))
    store = open_store(address, create=True)
    case_id = bring_in(store, folder.report_bytes, folder.graph_bytes, "made up")
    test_two_first_acts_at_once_make_one_review(store, case_id)
    both = [begin(store, case_id, 15, mark) for mark in ("a", "b")]
    go(*both)
    for process in both:
        process.communicate(timeout=300)
    check_whole(store, case_id, 31)
    state = save_act(
        store, Principal("token:nul", "reviewer"), case_id, None, 0, acts.Comment(target="report", text="\0")
    )
    assert state.comments[0].text == "\ufffd"
    store.close()


def test_an_act_that_is_sent_again_is_not_done_again(store: Store, case_id: str) -> None:
    comment = acts.Comment(target="report", text="the key is sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789")
    first = save_act(store, ROSA, case_id, None, 0, comment, act_id="0123456789abcdef")
    assert first.history[0].act != comment, "its words were redacted"
    for seen in (0, 1):
        assert save_act(store, ROSA, case_id, None, seen, comment, act_id="0123456789abcdef") == first
    with pytest.raises(ActRefusedError, match="another person's act"):
        save_act(store, ROLF, case_id, first.review_id, 1, comment, act_id="0123456789abcdef")
    assert save_act(store, ROSA, case_id, None, 1, comment, act_id="0123456789abcdeg").version == 2


def test_an_act_that_was_saved_while_its_review_was_read_is_in_the_answer(
    store: Store, case_id: str, do: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(ROSA, RENAME)
    comment, read = acts.Comment(target="report", text="sent twice"), course_of_review

    def and_meanwhile(*asked: Any) -> Course:
        course = read(*asked)
        monkeypatch.undo()
        save_act(store, ROSA, case_id, None, 1, comment, act_id="0123456789abcdef")  # the first of the two arrives
        return course

    monkeypatch.setattr(saving, "course_of_review", and_meanwhile)
    state = save_act(store, ROSA, case_id, None, 1, comment, act_id="0123456789abcdef")
    assert (state.version, [one.text for one in state.comments]) == (2, ["sent twice"])


def test_what_cannot_be_read_again_is_told_by_the_check(store: Store, case_id: str, do: Doing) -> None:
    state = do(ROSA, RENAME, acts.Judge(target="supernode:s1", decision="accepted"))
    assert verify(store).faults == []
    for act, told in (
        ('{"kind":"rename supernode","supernode":"s1","text":""}', "act that cannot be"),
        ('{"kind":"rename supernode","supernode":"s9999","text":"a"}', "act 1 .* no supernode s9999"),
    ):
        changing = sa.update(review_acts).where(review_acts.c.version == 1).values(act=act)
        store.write(partial(sa.Connection.execute, statement=changing))
        (fault,) = [one for one in verify(store).faults if one.kind == "review"]
        assert fault.name == state.review_id and fault.cases == (case_id,)
        assert re.search(told, fault.message)


def test_a_review_has_an_end(store: Store, case_id: str, do: Doing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracescribe.runs.review.saving.MAX_ACTS", 2)
    do(ROSA, RENAME, acts.Judge(target="report", decision="accepted"))
    with pytest.raises(ActRefusedError, match="has 2 acts, and no more are kept; close it"):
        do(ROSA, acts.Undo())
    assert do(ROSA, acts.Close(status="accepted")).status == "accepted"
