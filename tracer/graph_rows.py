"""The shape of a graph document: every field that readers of Neuronpedia's and circuit-tracer's JSON know.

These models are the one place where the shape is written down: files are checked against them, and the JSON Schema that
ships with the product is generated from them (`graph_schema`). Fields that are not named here are kept, so that writing
a graph again loses nothing.

Source: schema of circuit-tracer 0.4.1 (github.com/decoderesearch/circuit-tracer); Neuronpedia's upload schema
(github.com/hijohnnylin/neuronpedia, apps/webapp/app/api/graph/graph-schema.json).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TOKENS = 1_000_000
"""Longest prompt."""

MAX_LAYERS = 1000
"""Most layers: far above any model."""

MAX_NODES = 1_000_000
"""Most nodes of one graph; an unpruned graph of 2,300 tokens has about a tenth."""

MAX_LINKS = 5_000_000
"""Most links of one JSON document; the native format holds more."""

MAX_TEXT = 100_000
"""Longest label, token or unknown text, in characters."""

MAX_PROMPT = 4_000_000
"""Longest prompt text, in characters."""

MAX_INDEX = 1 << 30
"""Largest feature index or token id: far above any model, and its Cantor number still fits int64."""

MAX_INTEGER = 1 << 62  # fits int64 with room for sums
MAX_NUMBER = 2.0**100  # about 1e30: a float32, with room for sums

NodeId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.\-]+$")]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]

FeatureType = Literal["cross layer transcoder", "mlp reconstruction error", "embedding", "logit"]


class Row(BaseModel):
    """Base of what strangers write: fields beyond the named ones are kept, not trusted."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class OwnRow(BaseModel):
    """Base of what only this product writes: an unknown field is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_NATURAL = "(0|[1-9][0-9]{0,18})"  # one spelling for each number

NODE_ID_SHAPES = {
    "cross layer transcoder": f"^{_NATURAL}_{_NATURAL}_{_NATURAL}$",
    "embedding": f"^E_{_NATURAL}_{_NATURAL}$",
    "logit": f"^{_NATURAL}_{_NATURAL}_{_NATURAL}$",
}
"""Node ids by feature type; errors have been spelled in several ways."""


def _with_id_shapes(schema: dict[str, Any]) -> None:
    schema["allOf"] = [
        {
            "if": {"properties": {"feature_type": {"const": kind}}, "required": ["feature_type"]},
            "then": {"properties": {"node_id": {"pattern": shape}}},
        }
        for kind, shape in NODE_ID_SHAPES.items()
    ]


class NodeRow(Row):
    """One node: a transcoder feature at one position, an MLP's reconstruction error, a token, or an output token."""

    model_config = ConfigDict(json_schema_extra=_with_id_shapes)

    node_id: NodeId = Field(
        description="features 'layer_feature_position', errors 'layer_-1_position' (older: '0_layer_position'), "
        "tokens 'E_token_position', outputs 'layer_token_position'"
    )
    feature_type: FeatureType = Field(description="what kind of node this is; per-layer transcoders use the first too")
    layer: Annotated[str, Field(max_length=20)] | Annotated[int, Field(ge=0, le=MAX_LAYERS)] = Field(
        description="number of the layer, usually as text; 'E' for tokens"
    )
    ctx_idx: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = Field(description="token position, counted from 0")
    feature: Annotated[int, Field(ge=-1, le=MAX_INTEGER)] | None = Field(
        default=None, description="Cantor number of layer and index, the bare index, or something else: see node_id"
    )
    token_prob: Annotated[float, Field(ge=0, le=1 + 1e-6)] | None = Field(
        default=None, description="probability of an output token; 0 for everything else"
    )
    is_target_logit: bool | None = Field(default=None, description="whether this is the most probable output")
    run_idx: Count | None = None
    reverse_ctx_idx: Count | None = None
    jsNodeId: Text | None = Field(default=None, description="the frontend's own id")
    clerp: Text | None = Field(default=None, description="label")
    influence: Number | None = Field(
        default=None, description="cumulative share of influence, smaller is more influential; null for outputs"
    )
    activation: Number | None = Field(default=None, description="activation of a feature")


class LinkRow(Row):
    """A direct linear effect of one node on another: raw, signed, not normalised."""

    source: NodeId
    target: NodeId
    weight: Number


class Generator(Row):
    """The program that made the graph."""

    name: Text | None = None
    version: Text | None = None
    url: Text | None = None
    email: Text | None = None


class Info(Row):
    """What a person may want to know about the graph."""

    description: Text | None = None
    creator_name: Text | None = None
    creator_url: Text | None = None
    source_urls: list[Text] | None = None
    generator: Generator | None = None
    create_time_ms: Number | None = None


class FeatureDetails(Row):
    """Where the features' own pages lie."""

    feature_json_base_url: Text | None = None
    neuronpedia_source_set: Text | None = None


class GenerationSettings(Row):
    """How the graph was traced."""

    max_n_logits: Count | None = None
    desired_logit_prob: Number | None = None
    batch_size: Count | None = None
    max_feature_nodes: Count | None = None


class PruningSettings(Row):
    """How the graph was pruned."""

    node_threshold: Number | None = None
    edge_threshold: Number | None = None


class Scores(OwnRow):
    """Scores of the unpruned graph."""

    replacement: Annotated[float, Field(ge=0, le=1)]
    completeness: Annotated[float, Field(ge=0, le=1)]


class OwnBlock(OwnRow):
    """What this product adds under `metadata.tracescribe`, so that a saved graph can be used with its weights again."""

    format: Annotated[int, Field(ge=1, le=1)]
    n_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    dtype: Literal["float32", "float64"] = Field(default="float32", description="of weights and activations")
    token_ids: list[Count] | None = Field(default=None, description="empty where they are not known")
    scores: Scores | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    bias: dict[NodeId, Number] = Field(default_factory=dict)
    ambiguous_links: list[dict[str, Any]] = Field(
        default_factory=list, description="links whose end could be either of two nodes, as they were read"
    )


class Metadata(Row):
    """What the graph is of. Neuronpedia requires slug, scan, prompt_tokens and prompt."""

    slug: Text = Field(default="", description="short name")
    scan: Text | list[Any] | dict[str, Any] | None = Field(
        default=None, description="the model; Neuronpedia reads it as its model id"
    )
    prompt: Annotated[str, Field(max_length=MAX_PROMPT)]
    prompt_tokens: Annotated[list[Text], Field(min_length=1, max_length=MAX_TOKENS)]
    transcoder_list: list[Any] | None = None
    node_threshold: Number | None = None
    schema_version: Count | None = Field(default=None, description="1: `feature` is a Cantor number")
    info: Info | None = None
    feature_details: FeatureDetails | None = None
    generation_settings: GenerationSettings | None = None
    pruning_settings: PruningSettings | None = None
    tracescribe: OwnBlock | None = None


class QueryParameters(Row):
    """The state of the frontend: pinned nodes, supernodes (a label and its members), and what was clicked.

    Lists are written as JSON lists, or as text, as they stand in an address: `a,b` for pins, JSON for supernodes.
    """

    pinnedIds: list[Text] | Text | None = None
    supernodes: list[list[Text | list[Text]]] | Text | None = None
    linkType: Text | None = None
    clickedId: Text | None = None
    sg_pos: list[Any] | Text | None = None


class GraphFile(Row):
    """An attribution graph of one prompt, as Neuronpedia and circuit-tracer's frontend read it."""

    metadata: Metadata
    qParams: QueryParameters | None = None
    nodes: Annotated[list[NodeRow], Field(max_length=MAX_NODES)]
    links: Annotated[list[LinkRow], Field(max_length=MAX_LINKS)]
