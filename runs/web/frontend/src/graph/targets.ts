// From what the page has selected to nodes of the graph, and back.

import { formatTarget, parseTarget } from "../lib/targets";
import type { Scene } from "./scene";
import { FEATURE } from "./wire";
import type { GraphData } from "./wire";

/** The nodes that a target is about; none for claims and sentences. */
export function nodesOf(target: string | null, scene: Pick<Scene, "data" | "indexOf" | "groups">): number[] {
  const found = target === null ? null : parseTarget(target);
  if (!found) return [];
  const byId = (id: string): number[] => {
    const node = scene.indexOf.get(id);
    if (node !== undefined) return [node];
    return [...(scene.groups.all.find((group) => group.id === id)?.nodes ?? [])];
  };
  switch (found.kind) {
    case "node":
    case "supernode":
      return byId(found.id);
    case "edge":
      return [...new Set([...byId(found.source), ...byId(found.destination)])];
    case "feature":
    case "label": {
      const nodes: number[] = [];
      const { kind, layer, feature, nNodes } = scene.data;
      for (let node = 0; node < nNodes; node++) if (kind[node] === FEATURE && layer[node] === found.layer && feature[node] === found.feature) nodes.push(node);
      return nodes;
    }
    default:
      return [];
  }
}

/** The target of a node; null for an id that no link can carry. */
export function targetOf(data: GraphData, node: number): string | null {
  const text = formatTarget({ kind: "node", id: data.ids[node]! });
  return parseTarget(text) ? text : null;
}
