// Small parts that the bodies of the inspector share: links to targets, lists of them, verdict chips, definition lists.

import { h, type Child } from "../lib/dom";
import type { ReportContext } from "./context";
import { hashOfTarget } from "./selection";

const MINUS = "\u2212";

/** A number as people read it: three significant digits and a real minus sign. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "not known";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", MINUS);
}

/** A number with its sign. */
export function signed(value: number): string {
  return value > 0 ? `+${number(value)}` : number(value);
}

/** A link that selects a target without moving the page. */
export function targetLink(target: string, text: string, context: ReportContext): HTMLAnchorElement {
  const link = h("a", { href: hashOfTarget(target), class: "target-link" }, h("bdi", null, text));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    context.selection.set(target);
  });
  return link;
}

/** Names and values; rows without a value are left out. */
export function rows(list: readonly (readonly [string, Child])[]): HTMLElement | null {
  const kept = list.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== "");
  return kept.length ? h("dl", { class: "figures" }, kept.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))) : null;
}

/** A heading with something under it; null where there is nothing. */
export function part(heading: string, ...content: Child[]): HTMLElement | null {
  const kept = content.filter((child) => child !== null && child !== undefined && child !== false);
  return kept.length ? h("section", { class: "inspector-part" }, h("h3", null, heading), kept) : null;
}

/** The claims of the page that speak of a target, with how they came out. */
export function claimsAbout(target: string): HTMLElement | null {
  const found = [...document.querySelectorAll<HTMLElement>("article.claim[data-about]")].filter((claim) =>
    (claim.dataset["about"] ?? "").split(" ").includes(target),
  );
  if (!found.length) return null;
  return h(
    "ul",
    { class: "claim-list" },
    found.map((claim) => {
      const verdict = claim.querySelector(".verdict")?.cloneNode(true);
      const href = hashOfTarget(claim.dataset["target"] ?? "");
      const words = claim.querySelector("h4")?.textContent ?? "";
      return h("li", null, verdict instanceof Node ? verdict : null, " ", h("a", { href }, h("bdi", null, words)));
    }),
  );
}

/** What node ids of the prompt and the answers are called, from the table of links. */
export function endName(id: string, context: ReportContext): string {
  const supernode = context.review.state().supernodes.find((node) => node.supernode_id === id);
  if (supernode) return supernode.label;
  return nodeNames.get(id) ?? id;
}

/** The target that a link's end is: a supernode, or a node of the graph. */
export function endTarget(id: string): string {
  return /^[sn][0-9]+$/.test(id) ? `supernode:${id}` : `node:${id}`;
}

const nodeNames = new Map<string, string>();

/** Remember what the page calls a node of the graph. */
export function nameNode(id: string, name: string): void {
  nodeNames.set(id, name);
}

/** Read the names of tokens and answers off the table of links. */
export function readNames(): void {
  for (const row of document.querySelectorAll<HTMLElement>('tr[data-target^="edge:"]')) {
    const [source, destination] = (row.dataset["target"] ?? "").slice("edge:".length).split(">");
    const names = row.querySelectorAll("bdi");
    if (source) nameNode(source, names[0]?.textContent ?? source);
    if (destination) nameNode(destination, names[1]?.textContent ?? destination);
  }
}
