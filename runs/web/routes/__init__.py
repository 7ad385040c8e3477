"""One module for each part of the app; each has a `router`. They are included in this order."""

ROUTERS: tuple[str, ...] = (
    "log_in",
    "api_docs",
    "reports",
    "compare",
    "leaderboard",
    "report",
    "report_gold",
    "features",
    "graph",
    "circuit",
    "review",
    "exports",
    "live",
    "jobs",
    "audit",
)
"""Module names, one on a line. A module that is not here is not served."""
