"""`tracescribe review`: reports and their reviews, without the review app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tracescribe.runs.commands.jobs_show import StorePlace
from tracescribe.runs.commands.options import Json

review = typer.Typer(
    help="Reports and their reviews: bring reports in, list them, export what reviewers made of them.",
    no_args_is_help=True,
)

Report = Annotated[
    str, typer.Argument(metavar="REPORT", help="Id of a report, a beginning of it, or 'last'; see 'review list'.")
]


@review.command("add")
def add(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Report folders, as 'demo' or 'interpret' write them.")
    ],
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Bring reports in, so that they can be reviewed; the same report twice is one."""
    from tracescribe.runs.review.administering import add_in
    from tracescribe.runs.review_view import show_reports

    show_reports(add_in(store, folders), as_json)


@review.command("list")
def list_reports(
    search: Annotated[str, typer.Option("--search", help="Words of prompt, answer or labels; all of them.")] = "",
    status: Annotated[
        Literal["unreviewed", "open", "accepted", "rejected"] | None,
        typer.Option("--status", help="Of the last review."),
    ] = None,
    sort: Annotated[
        Literal["newest", "score", "prompt", "refuted", "probability"], typer.Option("--sort", help="What comes first.")
    ] = "newest",
    page: Annotated[int, typer.Option("--page", min=1, help="Which page, of 25 reports.")] = 1,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """List reports with their reviews."""
    from tracescribe.runs.review.administering import list_in
    from tracescribe.runs.review.listing import ReportQuery
    from tracescribe.runs.review_view import show_reports

    found, reports = list_in(store, ReportQuery(q=search, status=status, sort=sort, page=page))
    show_reports(reports, as_json, found)


@review.command("show")
def show(
    case: Report,
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Only this review.")] = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Show what reviewers did with a report, act by act; that it was opened is in the audit log."""
    from tracescribe.runs.review.administering import show_in
    from tracescribe.runs.review_view import show_reviews

    report, states = show_in(store, case, reviewer)
    show_reviews(report, states, as_json)


@review.command("export")
def export(
    case: Report,
    form: Annotated[
        Literal["gold", "neuronpedia", "html", "svg", "report", "graph"],
        typer.Option(
            "--as",
            help="gold: of an accepted review; neuronpedia: the graph with its supernodes; html: the page with the review; "
            "svg: the circuit; report, graph: as they were made.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", help="Whose review; needed where several people reviewed the report.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Of gold; 'not told' without it.")] = None,
    store: StorePlace = None,
    as_json: Json = False,
) -> None:
    """Write what a report and a review of it give; that it left the store is in the audit log."""
    from tracescribe.runs.review.administering import export_in
    from tracescribe.runs.review_view import show_export

    show_export(export_in(store, case, form, out, reviewer=reviewer, licence=licence), as_json)
