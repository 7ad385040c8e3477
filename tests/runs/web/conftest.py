"""The review app over an empty store, as the person at this machine sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.runs.web.visitors import new_store, visitor
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.settings import WebSettings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store."""
    with new_store(tmp_path_factory.mktemp("requests")) as opened:
        yield opened


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    """On loopback, where nobody logs in."""
    return create_app(store, WebSettings(max_upload_bytes=4 << 20))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> TestClient:
    """The person at this machine."""
    return visitor(app)


@pytest.fixture(scope="module")
def csrf(client: TestClient) -> dict[str, str]:
    """The header that pages of ours send with changes."""
    return {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
