// Small signs of the drawing. Each has a shape of its own, so that colour never carries a meaning alone.

import { svg } from "../lib/dom";
import type { Decision, Role } from "../review/types";
import type { Outcome } from "./data";

const OUTCOME_SHAPES: Record<Outcome, [string, string][]> = {
  supported: [["disc", "M8 .5a7.5 7.5 0 1 1 0 15a7.5 7.5 0 1 1 0-15z"], ["sign", "M4.4 8.4l2.5 2.5l4.8-5.6"]],
  refuted: [["disc", "M5 .5h6L15.5 5v6L11 15.5H5L.5 11V5z"], ["sign", "M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"]],
  inconclusive: [["disc", "M8 .2L15.8 8L8 15.8L.2 8z"], ["sign", "M4.7 8.6c1-1.7 2.2-1.7 3.3-.6s2.3 1.1 3.3-.6"]],
  untested: [["ring", "M8 1.2a6.8 6.8 0 1 1 0 13.6a6.8 6.8 0 1 1 0-13.6z"], ["dash", "M5 8h6"]],
};

/** Where a role stands in the flow: into, through, across, out of, against. */
export const ROLE_SHAPES: Record<Role, string> = {
  input: "M2 8h8M7 4l4 4l-4 4M13.5 3v10",
  intermediate: "M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z",
  relation: "M2 5.5h10M9.5 3l2.5 2.5L9.5 8M14 10.5H4M6.5 8L4 10.5L6.5 13",
  output: "M2.5 3v10M5 8h8.5M10.5 4.5L14 8l-3.5 3.5",
  suppressor: "M2 8h9M12.5 3v10",
  other: "M4 4h8v8H4z",
};

function placed(kind: string, x: number, y: number, size: number, paths: readonly (readonly [string, string])[]): SVGGElement {
  const at = `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${(size / 16).toFixed(3)})`;
  return svg("g", { class: kind, transform: at, "aria-hidden": "true" }, paths.map(([name, d]) => svg("path", { class: name, d })));
}

export function outcomeMark(outcome: Outcome, x: number, y: number, size = 13): SVGGElement {
  return placed(`icon is-${outcome}`, x, y, size, OUTCOME_SHAPES[outcome]);
}

export function roleMark(role: Role, x: number, y: number, size = 12): SVGGElement {
  return placed(`role-mark role-${role}`, x, y, size, [["stroke", ROLE_SHAPES[role]]]);
}

/** The reviewer's word: a tick or a cross in a square, told apart from the round and angular signs of verdicts. */
export function decisionMark(decision: Decision, x: number, y: number, size = 17): SVGGElement | null {
  if (decision === "open") return null;
  const sign = decision === "accepted" ? "M4.2 8.3l2.6 2.7l5-6" : "M5 5l6 6M11 5l-6 6";
  return placed(`decision-mark is-${decision}`, x, y, size, [["square", "M3 1h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H3a2 2 0 0 1-2-2V3a2 2 0 0 1 2-2z"], ["sign", sign]]);
}

export function pencilMark(x: number, y: number, size = 13): SVGGElement {
  return placed("pencil-mark", x, y, size, [["stroke", "M2.5 13.5l.8-3.3L11 2.5l2.5 2.5l-7.7 7.7zM9.5 4l2.5 2.5"]]);
}

export function bubbleMark(x: number, y: number, size = 13): SVGGElement {
  return placed("bubble-mark", x, y, size, [["stroke", "M2 3h12v8H8l-3.5 3V11H2z"]]);
}

export function chevronMark(x: number, y: number, open: boolean, size = 12): SVGGElement {
  return placed("chevron-mark", x, y, size, [["stroke", open ? "M3 10l5-5l5 5" : "M3 6l5 5l5-5"]]);
}
