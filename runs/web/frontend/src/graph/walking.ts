// Walking the graph by keys: to the next node of a layer, to another layer, along the strongest edges.

import type { Layout } from "./layout";
import type { Links } from "./links";
import type { GraphData } from "./wire";

export type Step = "left" | "right" | "up" | "down";

/** Takes steps from node to node. */
export class Walker {
  constructor(
    private readonly data: GraphData,
    private readonly layout: Layout,
    private readonly links: Links,
    private readonly counts: (node: number) => boolean,
  ) {}

  /** Where to begin: the most probable output, else any node. -1 in an empty graph. */
  first(): number {
    let found = -1;
    for (let node = 0; node < this.data.nNodes; node++) {
      if (!this.counts(node)) continue;
      const better = found < 0 || this.data.layer[node]! > this.data.layer[found]! || (this.data.layer[node] === this.data.layer[found] && this.data.slot[node]! < this.data.slot[found]!);
      if (better) found = node;
    }
    return found;
  }

  /** The next node in a direction; the same node at the border. Left and right stay in the layer, up and down near x. */
  step(from: number, step: Step): number {
    const sideways = step === "left" || step === "right";
    const sign = step === "right" || step === "up" ? 1 : -1;
    const { layer } = this.data;
    const { x, y } = this.layout;
    let found = from;
    let best: [number, number] = [Infinity, Infinity];
    for (let node = 0; node < this.data.nNodes; node++) {
      if (node === from || !this.counts(node)) continue;
      let distance: [number, number];
      if (sideways) {
        if (layer[node] !== layer[from]) continue;
        // nodes of a layer in reading order: by x, above one another from the top
        const [dx, dy] = [(x[node]! - x[from]!) * sign, (y[node]! - y[from]!) * sign];
        if (dx < 0 || (dx === 0 && dy <= 0)) continue;
        distance = [dx, y[node]! * sign];
      } else {
        const up = (layer[node]! - layer[from]!) * sign;
        if (up <= 0) continue;
        distance = [up, Math.hypot(x[node]! - x[from]!, (y[node]! - y[from]!) / 100)];
      }
      if (distance[0] < best[0] || (distance[0] === best[0] && distance[1] < best[1])) [best, found] = [distance, node];
    }
    return found;
  }

  /** The other end of the strongest edge into a node (`in`) or out of it; the same node where there is none. */
  along(from: number, side: "in" | "out"): number {
    const edges = side === "in" ? this.links.into(from) : this.links.outOf(from);
    const ends = side === "in" ? this.data.source : this.data.target;
    for (const edge of edges) if (this.counts(ends[edge]!)) return ends[edge]!;
    return from;
  }
}
