// What is to be drawn: the graph, which nodes and edges pass the filters, what is selected, pinned and near to it.

import { Groups } from "./groups";
import { layOut } from "./layout";
import type { Layout } from "./layout";
import { Links } from "./links";
import { Picker } from "./picking";
import { ERROR } from "./wire";
import type { GraphData } from "./wire";

export interface Filters {
  /** Nodes within this share of cumulative influence. */
  influence: number;
  /** So many of the strongest edges. */
  edges: number;
  errors: boolean;
  pinnedOnly: boolean;
}

export const NOT_NEAR = 0;
export const FEEDS = 1;
export const FED = 2;
export const CHOSEN = 3;

export class Scene {
  readonly links: Links;
  readonly indexOf: ReadonlyMap<string, number>;
  readonly pinned = new Set<number>();
  readonly filters: Filters;
  /** Whether any node tells its influence. */
  readonly knowsInfluence: boolean;
  layout!: Layout;
  private pick: Picker | null = null;
  groups: Groups;
  /** 1 for nodes that are drawn. */
  readonly shown: Uint8Array;
  nShown = 0;
  /** Selected: one node, or all of a supernode, feature or edge. */
  chosen: readonly number[] = [];
  hovered = -1;
  /** For each node how it stands to what is selected: `NOT_NEAR`, `FEEDS`, `FED`, `CHOSEN`. */
  readonly near: Uint8Array;
  /** Edges into and out of what is selected, weakest first. */
  nearEdges: readonly number[] = [];

  constructor(
    readonly data: GraphData,
    aspect: number,
  ) {
    this.links = new Links(data);
    this.indexOf = new Map(data.ids.map((id, node) => [id, node]));
    this.groups = new Groups(data, this.indexOf, null);
    this.shown = new Uint8Array(data.nNodes);
    this.near = new Uint8Array(data.nNodes);
    this.knowsInfluence = data.influence.some((value) => Number.isFinite(value));
    this.filters = { influence: 1, edges: data.nEdges, errors: true, pinnedOnly: false };
    this.place(aspect);
    this.filter();
  }

  place(aspect: number): void {
    this.layout = layOut(this.data, aspect);
    this.pick = null;
  }

  /** Finds what is drawn at a point; made when it is first asked for. */
  get picker(): Picker {
    return (this.pick ??= new Picker(this.layout, this.shown));
  }

  /** Apply the filters. What is selected or pinned is drawn whatever they say. */
  filter(): void {
    const { kind, influence } = this.data;
    const { pinnedOnly, errors, influence: most } = this.filters;
    this.nShown = 0;
    for (let node = 0; node < this.data.nNodes; node++) {
      let counts: boolean;
      if (pinnedOnly) counts = this.pinned.has(node);
      else counts = (errors || kind[node] !== ERROR) && !(most < 1 && influence[node]! > most);
      const shown = counts || this.pinned.has(node) || this.chosen.includes(node) ? 1 : 0;
      if (shown !== this.shown[node]) this.pick = null;
      this.shown[node] = shown;
      this.nShown += shown;
    }
  }

  counts = (node: number): boolean => this.shown[node] === 1;

  /** Whether an edge is drawn, if it is among the strongest that are. */
  edgeCounts(edge: number): boolean {
    return this.shown[this.data.source[edge]!] === 1 && this.shown[this.data.target[edge]!] === 1;
  }

  choose(nodes: readonly number[]): void {
    this.chosen = nodes;
    this.near.fill(NOT_NEAR);
    const edges: number[] = [];
    for (const node of nodes) {
      for (const edge of this.links.into(node)) {
        edges.push(edge);
        this.near[this.data.source[edge]!] = FEEDS;
      }
      for (const edge of this.links.outOf(node)) {
        edges.push(edge);
        this.near[this.data.target[edge]!] = FED;
      }
    }
    for (const node of nodes) this.near[node] = CHOSEN;
    this.nearEdges = [...new Set(edges)].sort((a, b) => b - a);
  }
}
