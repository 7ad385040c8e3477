// What the server tells of a report's circuit (`runs/web/circuit_data.py`).

export type Outcome = "supported" | "refuted" | "inconclusive" | "untested";
export const OUTCOMES: readonly Outcome[] = ["supported", "refuted", "inconclusive", "untested"];

export interface CircuitNode {
  node_id: string;
  kind: "feature" | "embedding" | "logit";
  layer: number;
  position: number;
  feature: number;
  importance: number | null;
}

export interface CircuitData {
  case_id: string;
  tokens: { position: number; text: string; node_id: string | null }[];
  targets: { node_id: string; text: string; probability: number }[];
  nodes: CircuitNode[];
  supernodes: { supernode_id: string; influence: number; outcomes: Partial<Record<Outcome, number>> }[];
  edge_claims: { source: string; destination: string; claim_id: string; outcome: Outcome }[];
  has_graph: boolean;
}

/** Layer, position and feature of a feature's node id; null for ids of other nodes. */
export function featureOf(node: string): { layer: number; feature: number; position: number } | null {
  const found = /^([0-9]+)_([0-9]+)_([0-9]+)$/.exec(node);
  return found ? { layer: Number(found[1]), feature: Number(found[2]), position: Number(found[3]) } : null;
}
