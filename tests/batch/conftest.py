"""A site for each test, whose processes are ended with it; a small job, and what it gives when nobody disturbs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.batch.job_site import Site, prompts
from tests.batch.outcome import check_cases, check_files, look

SMALL = 16


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty folder to work in, with a store that is not made yet."""
    made = Site(tmp_path, str(tmp_path / "store"))
    yield made
    made.kill_all()


@pytest.fixture(scope="session")
def small_results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    """What the small job gives: sixteen prompts, interpreted offline."""
    folder = tmp_path_factory.mktemp("small")
    made = Site(folder, str(folder / "store"))
    try:
        made.run("jobs", "run", str(made.write_job(None, prompts(SMALL))))
    finally:
        made.kill_all()
    found = look(made)
    check_cases(found, found.job_id(), SMALL)
    check_files(found)
    return found.results(found.job_id())
