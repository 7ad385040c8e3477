// How an edge looks: colour and dashes by sign, width and strength of colour by |weight|.

import type { GraphData } from "./wire";

/** Edges that are told apart by dashes; among tens of thousands of hairlines nobody sees them, and they cost much. */
export const DASHED = 200;
export const DASH = [5, 4];
/** Edges that may be wider than a hairline: the browser draws lines of up to one pixel several times as fast. */
export const WIDE = 1500;

export interface EdgeStyles {
  width(edge: number): number;
  alpha(edge: number): number;
}

/** Styles that fit a graph: the strongest edge is the widest, and the more edges there are, the fainter the many. */
export function edgeStyles(data: GraphData): EdgeStyles {
  const strongest = Math.max(1e-12, Math.abs(data.weight[Math.min(Math.floor(data.nEdges / 200), Math.max(0, data.nEdges - 1))] ?? 1));
  // so faint that where hundreds of weak edges cross there is still light between them
  const faint = Math.min(0.25, Math.max(0.008, 400 / Math.max(1, data.nEdges)));
  const strength = (edge: number): number => Math.min(1, Math.sqrt(Math.abs(data.weight[edge]!) / strongest));
  return {
    width: (edge) => (edge < WIDE ? 0.6 + 2.1 * strength(edge) : Math.min(1, 0.5 + strength(edge))),
    alpha: (edge) => {
      const s = strength(edge);
      return Math.min(0.85, faint + (0.25 + faint) * s ** 3 + 0.1 * s ** 12);
    },
  };
}
