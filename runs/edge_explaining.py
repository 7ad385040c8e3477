"""One edge explained: from what was written on the command line to the split of the edge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.runs import terminal
from tracescribe.runs.edit_grammar import parse_node
from tracescribe.runs.loading import load_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracescribe.tracer.edge_ends import EdgeEnds, EdgeTarget
    from tracescribe.tracer.edge_explanation import EdgeExplanation
    from tracescribe.tracer.models import LanguageModel


@dataclass(frozen=True)
class EdgeRequest:
    """One call of `tracescribe explain-edge`.

    Attributes:
        prompt: whose graph holds the edge.
        source, target: as they were written.
        model, transcoders: names or folders.
        top: heads and paths to show.
        work: limit of the search for paths.
        dtype, device: of the model.
    """

    prompt: str
    source: str
    target: str
    model: str
    transcoders: str
    top: int
    work: int
    dtype: str
    device: str


@dataclass(frozen=True)
class EdgeOutcome:
    """An explained edge with the words of the prompt.

    Attributes:
        prompt: that was run.
        tokens: of the prompt.
        top: heads and paths to show.
        edge: the split.
    """

    prompt: str
    tokens: tuple[str, ...]
    top: int
    edge: EdgeExplanation

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values; heads and moves cut to the strongest."""
        told = asdict(self.edge)
        told["heads"], told["moves"] = told["heads"][: self.top], told["moves"][: self.top]
        for path, own in zip(told["paths"], self.edge.paths, strict=True):
            path["n_heads"] = own.n_hops
        return {"prompt": self.prompt, "tokens": list(self.tokens), **told}


def run_explanation(request: EdgeRequest) -> EdgeOutcome:
    """Run the prompt once and split the edge.

    Raises:
        InputError: the model, the prompt or a node cannot be used, or no edge can run between the nodes.
    """
    log = terminal.StepLog()
    with log.step("load"):
        pair = load_pair(request.model, request.transcoders, dtype=request.dtype, device=request.device)
    from tracescribe.tracer.edge_ends import EdgeEnds
    from tracescribe.tracer.edge_explanation import ExplanationSettings, explain_ends
    from tracescribe.tracer.local_replacement import replace_locally

    model = pair.model
    ids = model.encode(request.prompt)
    tokens = tuple(model.token_text(int(i)) for i in ids)
    with log.step("explain"):
        replacement = replace_locally(model, pair.transcoders, ids, model.zero_positions_of(ids))
        ends = EdgeEnds(model, replacement)
        source = ends.source(_node_id(request.source, tokens))
        settings = ExplanationSettings(n_paths=request.top, max_expansions=request.work)
        edge = explain_ends(replacement, source, _target(request.target, model, ends, tokens), settings)
    return EdgeOutcome(request.prompt, tokens, request.top, edge)


def _node_id(text: str, tokens: Sequence[str]) -> str:
    """A node id from itself or from `LAYER/FEATURE@POSITION`.

    Raises:
        InputError: a position that is not in the prompt, or a form that names no single feature.
    """
    if "@" not in text:
        return text.strip()
    node = parse_node(text, tokens)
    return f"{node.layer}_{node.feature}_{node.position}"


def _target(text: str, model: LanguageModel, ends: EdgeEnds, tokens: Sequence[str]) -> EdgeTarget:
    """The target from a node id, a feature or the text of an output.

    Raises:
        InputError: none of these.
    """
    from tracescribe.tracer.edge_ends import is_node_id
    from tracescribe.tracer.logit_targets import parse_target

    if is_node_id(text.strip()):
        return ends.target(text.strip())
    if "@" in text and "/" in text:
        return ends.target(_node_id(text, tokens))
    return ends.output(parse_target(model, text, ends.replacement.logits.double().softmax(-1)))
