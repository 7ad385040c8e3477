"""What no person would send: the whole API is called by its own description, with values made up by schemathesis.

No answer may be a fault of the server, and every answer must be one that the description has, in the shape that it says.
Half of the calls are about a report that is there, and every other call that acts is right, so that what is done is tried
as well as what is refused: as an admin and as a reviewer. It needs no browser; it is here for its length.
"""

# schemathesis is an extra: the type check runs without it too
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.browser.fuzz_seeds import Seeds
from tests.runs.web.visitors import all_routes, visitor
from tracescribe.runs.access.tokens import create_token
from tracescribe.runs.review.bringing_in import bring_in_folder
from tracescribe.runs.store.database import open_store, parse_address
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.settings import WebSettings

EXAMPLES = {"admin": 40, "reviewer": 12}
"""Calls of each operation; some are as described, some break the description."""
OPERATIONS = [
    (method, path) for method, path in all_routes() if path.startswith("/api/") and path != "/api/docs"
]  # fmt: skip
_CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
PATIENCE = 120.0
"""Seconds for an answer: the first intervention waits until the model is loaded, on a machine that may be busy."""
_SUPPRESSED = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
_NOT_THERE = ("/api/jobs/{job_id}/events", "/api/leaderboard", "/api/compare")
"""What this store has nothing for; and a stream, which does not end."""
_there: dict[str, str] = {}


@pytest.fixture(scope="module")
def described(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API of a store with one report, where everybody logs in and interventions are run."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    schemathesis.checks.load_all_checks()
    store = open_store(parse_address(str(tmp_path_factory.mktemp("fuzz") / "store")), create=True)
    _there["case_id"] = bring_in_folder(store, demo_folder)
    _there["job_id"] = _there["case_id"].partition(".")[0]
    for role in ("admin", "reviewer"):
        _there[role] = create_token(store, f"fuzz-{role}", role).text
    app = create_app(store, WebSettings(live_per_minute=10_000, allowed_hosts=("testserver", "localhost")))
    yield schemathesis.openapi.from_asgi("/api/openapi.json", app)
    for end in getattr(app.state, "on_stop", ()):
        end()
    store.close()


@pytest.mark.parametrize("role", EXAMPLES)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_one_that_was_described(
    described: Any, demo_folder: Path, method: str, path: str, role: str
) -> None:
    import schemathesis.checks

    operation = described[path][method]
    checks = tuple(schemathesis.checks.CHECKS.get_one(name) for name in _CHECKS)
    seen: set[int] = set()
    done: set[int] = set()
    with visitor(described.app, _there[role], base_url="http://localhost") as looking:

        def version() -> tuple[int, str | None]:
            state = looking.get(f"/api/reports/{_there['case_id']}/review").json()
            return state["version"], state["review_id"]

        seeds = Seeds(demo_folder, version)

        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode)))
        @settings(
            max_examples=EXAMPLES[role],
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=_SUPPRESSED,
            phases=[Phase.explicit, Phase.generate],
        )
        def call(case: Any) -> None:
            right = method == "POST" and seeds.put(case, path)
            _aim(case, path, always=right)
            case.headers["Authorization"] = f"Bearer {_there[role]}"
            answer = case.call(timeout=PATIENCE)
            seen.add(answer.status_code)
            if right:
                done.add(answer.status_code)
            case.validate_response(answer, checks=checks)

        call()
    if role == "reviewer" and _is_for_admins(method, path):
        assert not seen & {200, 201}, "only admins may"
        return
    assert not seen & {401, 403, 421}, "the calls must get past the door"
    if seeds.placed:
        assert done & {200, 201}, f"{path}: the right calls met {sorted(done)}"
    if method == "GET" and path.count("{") <= 1 and path not in _NOT_THERE:
        assert seen & {200, 304}, f"{path}: nothing but {sorted(seen)} was met"


def _is_for_admins(method: str, path: str) -> bool:
    return "/audit" in path or "/export/" in path or (method, path) == ("POST", "/api/reports")


def _aim(case: Any, path: str, *, always: bool) -> None:
    """Half of the ids that were made up, the same each time, give way to those that are there; always where asked."""
    for name in ("case_id", "job_id"):
        made_up = str(case.path_parameters.get(name, ""))
        if name in case.path_parameters and (always or sum(map(ord, made_up)) % 2 == 0):
            case.path_parameters[name] = _there[name]
    if path.endswith("/events"):
        case.path_parameters["job_id"] = "nosuchjob000"
