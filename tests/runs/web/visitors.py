"""Visitors of the review app, without a server: every request passes through all of the app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tracescribe.runs.access.tokens import create_token
from tracescribe.runs.store.database import Store, open_store, parse_address
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.routes import ROUTERS
from tracescribe.runs.web.settings import WebSettings

ADDRESS = "http://localhost:8321"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAMPLES = {
    "case_id": "nosuchcase00.0",
    "job_id": "nosuchjob000",
    "node_id": "2_55_8",
    "layer": "2",
    "feature": "55",
    "form": "gold",
    "kind": "gold",
}
"""Path parameters that name nothing that is there."""


@contextmanager
def new_store(folder: Path) -> Iterator[Store]:
    """An empty store, closed at the end."""
    store = open_store(parse_address(str(folder / "store")), create=True)
    try:
        yield store
    finally:
        store.close()


def visitor(
    app: FastAPI, token: str | None = None, *, come_from: str = "192.0.2.1", base_url: str = ADDRESS
) -> TestClient:
    """A client that follows no redirect, and sees errors as a browser does."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return TestClient(
        app,
        base_url=base_url,
        headers=headers,
        client=(come_from, 50_000),
        follow_redirects=False,
        raise_server_exceptions=False,
    )


def team_app(store: Store, **settings: Any) -> FastAPI:
    """The app where visitors log in."""
    return create_app(store, WebSettings(log_in=True, **settings))


def new_token(store: Store, name: str, role: str, seconds: float | None = None) -> str:
    """A token's text."""
    return create_token(store, name, role, seconds=seconds).text


def all_routes() -> list[tuple[str, str]]:
    """Method and path of every route that the app serves, as the modules declare them."""
    found = set()
    for name in ROUTERS:
        for route in import_module(f"tracescribe.runs.web.routes.{name}").router.routes:
            found |= {(method, route.path) for method in route.methods}
    return sorted(found)


def filled(path: str) -> str:
    """A route's path with its parameters filled in."""
    for name, value in SAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"{path}: add a sample for its parameter in tests/runs/web/visitors.py"
    return path


def log_in(client: TestClient, token: str, **fields: str) -> Any:
    """Log in as a browser does: with the form's own CSRF token and cookie."""
    form = client.get("/log-in")
    csrf = form.text.partition('name="csrf" value="')[2].partition('"')[0]
    return client.post("/log-in", data={"token": token, "csrf": csrf, **fields})
