"""The commands, one file each. A command reads its options, calls a room, and shows what came back; no method is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add every command to the application, in the order in which help lists them."""
    from tracescribe.runs.commands.access import access
    from tracescribe.runs.commands.agents import agents
    from tracescribe.runs.commands.audit import audit
    from tracescribe.runs.commands.bench import bench
    from tracescribe.runs.commands.demo import demo
    from tracescribe.runs.commands.doctor import doctor
    from tracescribe.runs.commands.evidence import evidence
    from tracescribe.runs.commands.explain_edge import explain_edge
    from tracescribe.runs.commands.gold import gold
    from tracescribe.runs.commands.graph import graph
    from tracescribe.runs.commands.interpret import interpret
    from tracescribe.runs.commands.intervene import intervene
    from tracescribe.runs.commands.jobs import jobs
    from tracescribe.runs.commands.models import models
    from tracescribe.runs.commands.prompts import prompts
    from tracescribe.runs.commands.review import review
    from tracescribe.runs.commands.score import score
    from tracescribe.runs.commands.serve import serve
    from tracescribe.runs.commands.store import store
    from tracescribe.runs.commands.trace import trace

    app.command()(demo)
    app.command()(trace)
    app.command("explain-edge")(explain_edge)
    app.command()(intervene)
    app.command()(interpret)
    app.command()(score)
    app.add_typer(graph, name="graph")
    app.add_typer(evidence, name="evidence")
    app.add_typer(models, name="models")
    app.add_typer(gold, name="gold")
    app.add_typer(agents, name="agents")
    app.add_typer(prompts, name="prompts")
    app.add_typer(bench, name="bench")
    app.add_typer(jobs, name="jobs")
    app.command()(serve)
    app.add_typer(review, name="review")
    app.add_typer(audit, name="audit")
    app.add_typer(access, name="access")
    app.add_typer(store, name="store")
    app.command()(doctor)
