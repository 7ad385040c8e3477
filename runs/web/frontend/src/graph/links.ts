// Edges by node. Edge numbers ascend within a node, and edges come by falling |weight|: so the first is the strongest.

import type { GraphData } from "./wire";

export class Links {
  private readonly inStart: Uint32Array;
  private readonly inEdges: Uint32Array;
  private readonly outStart: Uint32Array;
  private readonly outEdges: Uint32Array;

  constructor(data: GraphData) {
    [this.inStart, this.inEdges] = grouped(data.target, data.nNodes);
    [this.outStart, this.outEdges] = grouped(data.source, data.nNodes);
  }

  /** Edges into a node, strongest first. */
  into(node: number): Uint32Array {
    return this.inEdges.subarray(this.inStart[node], this.inStart[node + 1]);
  }

  /** Edges out of a node, strongest first. */
  outOf(node: number): Uint32Array {
    return this.outEdges.subarray(this.outStart[node], this.outStart[node + 1]);
  }
}

function grouped(ends: ArrayLike<number>, nNodes: number): [Uint32Array, Uint32Array] {
  const start = new Uint32Array(nNodes + 1);
  for (let edge = 0; edge < ends.length; edge++) start[ends[edge]! + 1]!++;
  for (let node = 0; node < nNodes; node++) start[node + 1] = start[node + 1]! + start[node]!;
  const next = start.slice(0, nNodes);
  const edges = new Uint32Array(ends.length);
  for (let edge = 0; edge < ends.length; edge++) edges[next[ends[edge]!]!++] = edge;
  return [start, edges];
}
