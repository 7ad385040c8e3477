"""The app: routes, static files, and what every request passes through."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from tracescribe.runs.web.api_schema import describe
from tracescribe.runs.web.body_limit import SizesLimited
from tracescribe.runs.web.context import WebContext
from tracescribe.runs.web.cross_site import OwnPagesOnly
from tracescribe.runs.web.errors import FaultsAnswered, answer_errors
from tracescribe.runs.web.graph_wire import MEDIA_TYPE
from tracescribe.runs.web.heads import HeadsAnswered
from tracescribe.runs.web.hosts import OwnHostsOnly
from tracescribe.runs.web.rate import RequestsLimited
from tracescribe.runs.web.routes import ROUTERS
from tracescribe.runs.web.security_headers import SecurityHeaders
from tracescribe.runs.web.sessions import VisitorsKnown
from tracescribe.runs.web.settings import WebSettings
from tracescribe.tracer.provenance import version

if TYPE_CHECKING:
    from tracescribe.runs.store.database import Store


MIN_PACKED_BYTES = 1024
"""Of an answer that is sent compressed. Pages hold a secret, the CSRF token, which therefore looks different each time."""


def create_app(store: Store, settings: WebSettings | None = None) -> FastAPI:
    """The app over an open store.

    Args:
        store: stays the caller's, who closes it after the server's end.
        settings: None takes the defaults: loopback, no log-in.
    """
    settings = settings or WebSettings()
    app = FastAPI(
        title="tracescribe",
        version=version(),
        docs_url=None,  # its page loads scripts from another host; ours is `routes/api_docs.py`
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    context = app.state.context = WebContext.of(store, settings)
    answer_errors(app)
    pass_through(app, context)
    with as_file(files("tracescribe.runs.web") / "static") as static:
        app.mount("/static", StaticFiles(directory=static), name="static")
    for name in ROUTERS:
        app.include_router(import_module(f"tracescribe.runs.web.routes.{name}").router)
    describe(app)
    return app


def pass_through(app: FastAPI, context: WebContext) -> None:
    """Add what every request passes through, the last added first."""
    settings = context.settings
    app.add_middleware(OwnPagesOnly)
    app.add_middleware(RequestsLimited, limits=context.limits, settings=settings)
    app.add_middleware(VisitorsKnown, context=context)
    app.add_middleware(SizesLimited, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(OwnHostsOnly, settings=settings)
    app.add_middleware(FaultsAnswered)
    as_they_are = (*DEFAULT_EXCLUDED_CONTENT_TYPES, MEDIA_TYPE)  # a graph is packed once, not for each visitor
    app.add_middleware(
        GZipMiddleware, minimum_size=MIN_PACKED_BYTES, compresslevel=5, exclude_content_types=as_they_are
    )
    app.add_middleware(HeadsAnswered)
    app.add_middleware(SecurityHeaders, secure=settings.secure_cookies)
