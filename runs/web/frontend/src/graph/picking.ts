// Which node is at a point, by a quadtree of the nodes that are drawn.

import { quadtree } from "d3-quadtree";

import type { Layout } from "./layout";

export class Picker {
  private readonly tree;

  /** @param drawn 1 for nodes that can be found. */
  constructor(layout: Layout, drawn: Uint8Array) {
    this.tree = quadtree<number>()
      .x((node) => layout.x[node]!)
      .y((node) => layout.y[node]!)
      .addAll(Array.from(drawn.keys()).filter((node) => drawn[node] === 1));
  }

  /**
   * The node nearest to a point of the world, or -1.
   *
   * @param reach how far it may be away.
   */
  nearest(x: number, y: number, reach: number): number {
    return this.tree.find(x, y, reach) ?? -1;
  }
}
