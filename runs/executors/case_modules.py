"""Modules that cases import, by name: the template of workers loads them once, so that a worker which replaces another
works after a second instead of importing for many.

None of them may start a thread, keep a file or a connection open, or touch an accelerator when it is imported.
"""

from __future__ import annotations

_OF_ALL = (
    "tracescribe.runs.executors.interpret_cases",
    "tracescribe.runs.agent_choice",
    "tracescribe.runs.audit",
    "tracescribe.runs.loading",
    "tracescribe.runs.review.indexing",
    "tracescribe.evals.scores",
    "tracescribe.agents.durable.checkpoints",
    "tracescribe.agents.durable.run_store",
    "tracescribe.agents.labelling.label_tests",
    "tracescribe.agents.loop_graph",
    "tracescribe.agents.rendering.files",
    "tracescribe.agents.reporting.assembly",
    "tracescribe.agents.testing.experiments",
    "tracescribe.agents.toolbox",
    "tracescribe.tracer.attribution",
    "tracescribe.tracer.evidence_files",
    "tracescribe.tracer.interventions",
    "tracescribe.tracer.models",
    # these are imported where they are needed, for commands that do without
    "langgraph.checkpoint.sqlite",
    "langgraph.graph",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",  # the embedded model; what it imports is most of any other family's
)
_OF_LANGUAGE_MODELS = ("tracescribe.agents.llm.agent",)
_OF_PROVIDERS = {
    "openai": ("openai.resources", "tracescribe.agents.providers.openai_chat"),
    "openai-responses": ("openai.resources", "tracescribe.agents.providers.openai_responses"),
    "anthropic": ("anthropic.resources", "tracescribe.agents.providers.anthropic_messages"),
}


def modules_of_cases(agent: str = "") -> tuple[str, ...]:
    """Names of the modules.

    Args:
        agent: as a specification names it; what only other agents need is left out.

    Raises:
        AgentSpecError: no such agent.
    """
    from tracescribe.agents.providers.spec import parse_agent_spec

    spec = parse_agent_spec(agent) if agent else None
    if spec is None or spec.kind != "llm":
        return _OF_ALL
    return (*_OF_ALL, *_OF_LANGUAGE_MODELS, *_OF_PROVIDERS.get(spec.provider or "", ()))
