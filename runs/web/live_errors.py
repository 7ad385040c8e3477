"""Why a live intervention was not run, or not to its end."""

from __future__ import annotations

from tracescribe.tracer.errors import TracescribeError


class LiveError(TracescribeError):
    """Base of them.

    Attributes:
        status: of the HTTP response.
        kind: the word for programs.
        retry_after: seconds after which to ask again; None where asking again does not help by itself.
    """

    status = 503
    kind = "live"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LiveUnavailableError(LiveError):
    """This server runs no interventions on this report."""

    status = 409
    kind = "no weights"


class LiveBusyError(LiveError):
    """Others are before; or the visitor has one running, or ran too many."""

    status = 429
    kind = "busy"


class LiveTimeoutError(LiveError):
    """It took too long and was given up."""

    status = 503
    kind = "timeout"


class LiveFailedError(LiveError):
    """The request cannot be carried out: an unknown node, token or word, or numbers that are not finite."""

    status = 422
    kind = "refused"


class LiveCrashedError(LiveError):
    """The process that holds the weights died."""

    status = 503
    kind = "crash"
