// What is said of a node: in the tooltip, in the list, and to a screen reader.

import { percent } from "../lib/percent";
import { ERROR, FEATURE, KINDS, LOGIT } from "./wire";
import type { GraphData } from "./wire";

const SHORT = 28;

export function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 0.01 || size >= 10_000) ? value.toExponential(1) : value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function shortened(text: string, most = SHORT): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** The node's name: its label where it has one. */
export function nameOf(data: GraphData, node: number, labelOf: (node: number) => string | null): string {
  const kind = data.kind[node]!;
  const label = kind === FEATURE ? (labelOf(node) ?? data.labels[node]!) : "";
  if (label) return label;
  const token = data.tokens[data.position[node]!] ?? "";
  if (kind === FEATURE) return `feature ${data.layer[node]}/${data.feature[node]}`;
  if (kind === ERROR) return `error at layer ${data.layer[node]}`;
  if (kind === LOGIT) return outputText(data, node);
  return `token “${token}”`;
}

/** An output's token: graph files put it into the node's label, as `Output "x" (p=0.93)` or plainly. */
export function outputText(data: GraphData, node: number): string {
  const label = data.labels[node] ?? "";
  const quoted = /"(.*)"/s.exec(label);
  return (quoted?.[1] ?? label.replace(/\s*\(?p\s*=\s*[0-9.e-]+\)?\s*$/i, "")).trim() || `token ${data.feature[node]}`;
}

/** Where it stands. */
export function placeOf(data: GraphData, node: number): string {
  const kind = data.kind[node]!;
  const token = `“${shortened(data.tokens[data.position[node]!] ?? "")}” (token ${data.position[node]})`;
  if (kind === FEATURE) return `layer ${data.layer[node]}, feature ${data.feature[node]}, at ${token}`;
  if (kind === ERROR) return `layer ${data.layer[node]}, at ${token}`;
  return kind === LOGIT ? `output after ${token}` : `prompt, token ${data.position[node]}`;
}

/** One sentence for a screen reader. */
export function sentenceOf(data: GraphData, node: number, name: string, nIn: number, nOut: number, more: readonly string[]): string {
  const parts = [name, KINDS[data.kind[node]!]!, placeOf(data, node)];
  const value = data.activation[node]!;
  if (Number.isFinite(value)) parts.push(data.kind[node] === LOGIT ? `probability ${percent(value)}` : `activation ${number(value)}`);
  parts.push(`${count(nIn, "edge")} in, ${count(nOut, "edge")} out`, ...more);
  return `${parts.join(", ")}.`;
}
