"""How a trace is shown."""

from __future__ import annotations

from tracescribe.runs import terminal
from tracescribe.runs.tracing import TraceResult, summary


def show_trace(result: TraceResult, as_json: bool) -> None:
    """Print what was traced and where the graph lies."""
    told = summary(result)
    if as_json:
        terminal.print_json(told)
        return
    console = terminal.stdout()
    answers = ", ".join(f"'{t['token'].strip()}' {t['probability']:.3f}" for t in told["targets"])
    console.print(terminal.styled(f"{told['prompt']} -> {answers}", "bold"))
    console.print(
        f"{told['features']} features, {told['nodes']} nodes and {told['edges']} edges kept "
        f"of {told['nodes_before_pruning']} and {told['edges_before_pruning']}"
    )
    if told["replacement_score"] is not None:
        console.print(f"replacement {told['replacement_score']:.3f}, completeness {told['completeness_score']:.3f}")
    console.print(terminal.styled(f"graph: {told['graph']}"), soft_wrap=True)
