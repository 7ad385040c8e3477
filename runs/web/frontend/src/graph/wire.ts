// The block of bytes in which the server sends a graph (`runs/web/graph_wire.py` describes it), as typed arrays.

export const KINDS = ["feature", "error", "embedding", "logit"] as const;
export type Kind = (typeof KINDS)[number];
export const FEATURE = 0;
export const ERROR = 1;
export const EMBEDDING = 2;
export const LOGIT = 3;

/** A graph as drawn: nodes and edges in columns; edges by falling |weight|. */
export interface GraphData {
  readonly nNodes: number;
  readonly nEdges: number;
  readonly nLayers: number;
  readonly tokens: readonly string[];
  readonly ids: readonly string[];
  readonly labels: readonly string[];
  /** Of the whole graph, of which the weakest part may not have been sent. */
  readonly nNodesTotal: number;
  readonly nEdgesTotal: number;
  readonly weightTotal: number;
  readonly kind: Uint8Array;
  readonly layer: Int32Array;
  readonly position: Int32Array;
  readonly feature: Int32Array;
  readonly activation: Float32Array;
  readonly influence: Float32Array;
  readonly slot: Uint32Array;
  readonly source: Uint16Array | Uint32Array;
  readonly target: Uint16Array | Uint32Array;
  readonly weight: Float32Array;
}

type Column = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array;
const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array } as const;
const MAGIC = "TSVG";
const VERSION = 1;
const HEAD = 12;

interface Header {
  n_layers: number;
  tokens: string[];
  ids: string[];
  labels: string[];
  n_nodes_total: number;
  n_edges_total: number;
  absolute_weight_total: number;
  arrays: { name: string; type: keyof typeof TYPES; offset: number; length: number }[];
}

/** Read a block. Throws an Error that says what is wrong with it. */
export function decodeGraph(block: ArrayBuffer): GraphData {
  if (block.byteLength < HEAD) throw new Error("The graph came cut off. Reload the page.");
  const view = new DataView(block);
  const magic = String.fromCharCode(...new Uint8Array(block, 0, 4));
  if (magic !== MAGIC || view.getUint32(4, true) !== VERSION) throw new Error("The graph came in another format than this page reads. Reload the page.");
  const length = view.getUint32(8, true);
  if (HEAD + length > block.byteLength) throw new Error("The graph came cut off. Reload the page.");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(block, HEAD, length))) as Header;
  const columns = new Map<string, Column>();
  for (const { name, type, offset, length: count } of header.arrays) {
    const start = HEAD + length + offset;
    if (start + count * TYPES[type].BYTES_PER_ELEMENT > block.byteLength) throw new Error("The graph came cut off. Reload the page.");
    columns.set(name, new TYPES[type](block, start, count));
  }
  const column = <T extends Column>(name: string): T => {
    const found = columns.get(name);
    if (!found) throw new Error(`The graph came without its ${name}. Reload the page.`);
    return found as T;
  };
  const weight = column<Float32Array>("weight");
  return {
    nNodes: header.ids.length,
    nEdges: weight.length,
    nLayers: header.n_layers,
    tokens: header.tokens,
    ids: header.ids,
    labels: header.labels,
    nNodesTotal: header.n_nodes_total,
    nEdgesTotal: header.n_edges_total,
    weightTotal: header.absolute_weight_total,
    kind: column("kind"),
    layer: column("layer"),
    position: column("position"),
    feature: column("feature"),
    activation: column("activation"),
    influence: column("influence"),
    slot: column("slot"),
    source: column("source"),
    target: column("target"),
    weight,
  };
}
