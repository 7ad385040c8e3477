// What the drawing shows, before any geometry: the report's circuit as the review has it.

import type { Decision, ReviewState, Role, SupernodeState } from "../review/types";
import { type CircuitData, type Outcome, featureOf } from "./data";
import { visible } from "./text";

export interface Member {
  node: string;
  layer: number;
  position: number;
  label: string;
  undecided: boolean;
}

export interface Box {
  id: string;
  label: string;
  role: Role;
  position: number;
  layer: number;
  layers: [number, number];
  members: Member[];
  decision: Decision;
  /** What the review changed: "label", "role", "members", "new". */
  changed: string[];
  rejectedByReport: boolean;
  outcomes: Partial<Record<Outcome, number>>;
  comments: number;
}

export interface Link {
  source: string;
  destination: string;
  weight: number;
  decision: Decision;
  /** Of members that an end has no longer; what holds now is not known. */
  stale: boolean;
  changed: boolean;
  faded: boolean;
  claim: { id: string; outcome: Outcome } | null;
}

export interface Model {
  tokens: { node: string; position: number; text: string }[];
  outputs: { node: string; text: string; probability: number }[];
  boxes: Box[];
  /** Feature nodes in no supernode. */
  loose: Member[];
  links: Link[];
  /** Links that are too weak to be drawn; the inspector has them. */
  undrawn: number;
}

const MAX_OUTPUTS = 4;
/** Beyond so many, lines can no longer be told apart. */
const MAX_LINKS = 60;

/** @param about an end or a link whose links are all drawn, however weak. */
export function modelOf(data: CircuitData, state: ReviewState, about: string | null = null): Model {
  const labels = new Map(state.labels.map((one) => [`${one.layer}/${one.feature}`, visible(one.text)]));
  const undecided = new Set(state.undecided);
  const member = (node: string): Member | null => {
    const at = featureOf(node);
    if (!at) return null;
    const name = `${at.layer}/${at.feature}`;
    return { node, layer: at.layer, position: at.position, label: labels.get(name) ?? name, undecided: undecided.has(node) };
  };
  const measured = new Map(data.supernodes.map((one) => [one.supernode_id, one]));
  const commented = new Map<string, number>();
  for (const { target } of state.comments) commented.set(target, (commented.get(target) ?? 0) + 1);
  const last = Math.max(0, data.tokens.length - 1);
  const present = state.supernodes.filter((one) => !one.gone && one.members.length > 0);
  const boxes = present.map((one): Box => {
    const members = one.members.map(member).filter((found) => found !== null);
    const layers = members.map(({ layer }) => layer).sort((a, b) => a - b);
    return {
      id: one.supernode_id,
      label: visible(one.label).trim() || one.supernode_id,
      role: one.role,
      position: Math.min(last, commonest(members.map(({ position }) => position))),
      layer: layers[Math.floor((layers.length - 1) / 2)] ?? 0,
      layers: [layers[0] ?? 0, layers.at(-1) ?? 0],
      members,
      decision: one.decision,
      changed: changesOf(one),
      rejectedByReport: one.rejected_by_report,
      // claims were tested on the members of the report
      outcomes: one.changed ? {} : (measured.get(one.supernode_id)?.outcomes ?? {}),
      comments: commented.get(`supernode:${one.supernode_id}`) ?? 0,
    };
  });
  const grouped = new Set(present.flatMap((one) => one.members));
  const taken = state.supernodes.flatMap((one) => one.members_before);
  const known = data.nodes.filter((node) => node.kind === "feature").map((node) => node.node_id);
  const loose = [...new Set([...taken, ...known, ...state.undecided])].filter((node) => !grouped.has(node)).map(member).filter((found) => found !== null);
  const all = linksOf(data, state, present);
  const links = strongest(all, about);
  return {
    tokens: data.tokens.map(({ node_id, position, text }) => ({ node: node_id ?? `token-${position}`, position, text: visible(text) })),
    outputs: outputsOf(data, all),
    boxes,
    loose,
    links,
    undrawn: all.length - links.length,
  };
}

function changesOf(one: SupernodeState): string[] {
  if (one.label_before === null) return ["new"];
  const changed: string[] = [];
  if (one.label !== one.label_before) changed.push("label");
  if (one.role !== one.role_before) changed.push("role");
  if (one.changed) changed.push("members");
  return changed;
}

/** The commonest; of several the largest, where more of the prompt has been read. */
function commonest(values: number[]): number {
  const tally = new Map<number, number>();
  for (const value of values) tally.set(value, (tally.get(value) ?? 0) + 1);
  let best = 0;
  let most = 0;
  for (const [value, count] of tally) {
    if (count > most || (count === most && value > best)) [best, most] = [value, count];
  }
  return best;
}

/** The likeliest output, then those that something feeds. */
function outputsOf(data: CircuitData, links: Link[]): Model["outputs"] {
  const fed = new Set(links.map(({ destination }) => destination));
  const ranked = [...data.targets].sort((a, b) => b.probability - a.probability);
  return ranked
    .filter((target, at) => at === 0 || fed.has(target.node_id))
    .slice(0, MAX_OUTPUTS)
    .map(({ node_id, text, probability }) => ({ node: node_id, text: visible(text), probability }));
}

function linksOf(data: CircuitData, state: ReviewState, present: SupernodeState[]): Link[] {
  const faded = new Set(present.filter((one) => one.decision === "rejected" || (one.rejected_by_report && one.decision !== "accepted")).map((one) => one.supernode_id));
  const ends = new Set([...present.map((one) => one.supernode_id), ...data.targets.map((one) => one.node_id), ...data.tokens.map((one) => one.node_id)]);
  const claims = new Map(data.edge_claims.map((one) => [`${one.source}>${one.destination}`, { id: one.claim_id, outcome: one.outcome }]));
  const links: Link[] = [];
  for (const edge of state.edges) {
    if (!ends.has(edge.source) || !ends.has(edge.destination) || edge.source === edge.destination) continue;
    const name = `${edge.source}>${edge.destination}`;
    const size = Math.abs(edge.weight ?? 1);
    links.push({
      source: edge.source,
      destination: edge.destination,
      weight: size * edge.sign,
      decision: edge.decision,
      stale: edge.stale,
      changed: edge.origin !== "report" || edge.sign_before !== edge.sign,
      faded: faded.has(edge.source) || faded.has(edge.destination) || edge.decision === "rejected",
      claim: edge.origin === "report" && !edge.stale ? (claims.get(name) ?? null) : null,
    });
  }
  return links;
}

/** First the strongest into and out of every end, then by strength; and all of what is looked at. */
function strongest(links: Link[], about: string | null): Link[] {
  if (links.length <= MAX_LINKS) return links;
  const ranked = [...links].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
  const seen = new Set<string>();
  const first: Link[] = [];
  const rest: Link[] = [];
  for (const link of ranked) {
    const ends = [`out ${link.source}`, `in ${link.destination}`];
    (ends.every((end) => seen.has(end)) ? rest : first).push(link);
    for (const end of ends) seen.add(end);
  }
  const kept = new Set([...first, ...rest].slice(0, MAX_LINKS));
  return links.filter((link) => kept.has(link) || link.decision !== "open" || link.source === about || link.destination === about || `${link.source}>${link.destination}` === about);
}
