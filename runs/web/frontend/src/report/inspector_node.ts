// A node of the full graph, or a feature wherever it fires: edges by weight to walk along, and texts shaded by activation.

import { ApiError, getJson } from "../lib/api";
import { h } from "../lib/dom";
import { percent } from "../lib/percent";
import type { ReportContext } from "./context";
import type { Shown } from "./inspector";
import { claimsAbout, nameNode, number, part, rows, signed, targetLink } from "./parts";

interface NodeLink {
  node_id: string;
  kind: "feature" | "error" | "embedding" | "logit";
  layer: number;
  position: number;
  feature: number | null;
  token: string;
  label: string;
  weight: number;
  share: number;
}

interface NodeDetails extends Omit<NodeLink, "weight" | "share"> {
  activation: number | null;
  influence: number | null;
  inputs: NodeLink[];
  outputs: NodeLink[];
  n_inputs: number;
  n_outputs: number;
}

interface FeatureText {
  text_id: string;
  sampled_from: string;
  tokens: { text: string; activation: number }[];
  peak: number;
  cut_before: boolean;
  cut_after: boolean;
}

interface FeatureDetails {
  layer: number;
  feature: number;
  label: string | null;
  here: string;
  condition: string;
  score: string;
  proposed_by: string;
  claims: string[];
  nodes: string[];
  supernodes: string[];
  source: "scan" | "kept" | null;
  why_not: string;
  density: number | null;
  max_activation: number | null;
  promoted: { token: string; effect: number }[];
  suppressed: { token: string; effect: number }[];
  texts: FeatureText[];
}

const FIRST_TEXTS = 5;
const SHADES = 10;

function nameOfLink(link: Pick<NodeLink, "kind" | "label" | "token" | "layer" | "feature" | "position">): string {
  switch (link.kind) {
    case "embedding":
      return `“${link.token}” (prompt)`;
    case "logit":
      return `“${link.label || link.token}” (answer)`;
    case "error":
      return `error of layer ${link.layer} at “${link.token}”`;
    case "feature":
      return link.label || `feature ${link.layer}/${link.feature ?? "?"}`;
  }
}

function edgeList(links: readonly NodeLink[], all: number, context: ReportContext): HTMLElement | null {
  if (!links.length) return null;
  const strongest = Math.max(...links.map((link) => link.share), 1e-12);
  const items = links.map((link) => {
    const own = link.kind === "feature" && link.feature !== null ? labelNow(link.layer, link.feature, context) : null;
    const name = nameOfLink(own === null ? link : { ...link, label: own });
    nameNode(link.node_id, name);
    const bar = h("span", { class: `weight-bar ${link.weight >= 0 ? "helps" : "hinders"}`, "aria-hidden": "true" });
    bar.style.setProperty("--share", String(link.share / strongest));
    const where = link.kind === "feature" ? `${link.layer}/${link.feature ?? "?"} at “${link.token}”` : null;
    return h("li", null, targetLink(`node:${link.node_id}`, name, context), h("span", { class: "weight", title: `${percent(link.share)} of all on this side` }, signed(link.weight)), where ? h("span", { class: "sub" }, where) : null, bar);
  });
  const more = all - links.length;
  return h("div", null, h("ol", { class: "link-list" }, items), more > 0 ? h("p", { class: "sub" }, `${more} weaker ones are not listed`) : null);
}

function textItem(text: FeatureText, strongest: number): HTMLElement {
  const tokens = text.tokens.flatMap((token, at) => {
    const level = token.activation > 0 ? Math.min(SHADES, Math.max(1, Math.round((SHADES * token.activation) / strongest))) : 0;
    const peak = at === text.peak && token.activation > 0;
    const shown = level
      ? h("mark", { "data-glow": level, class: peak ? "peak" : null, title: number(token.activation) }, h("bdi", null, token.text), peak ? h("span", { class: "visually-hidden" }, ` (strongest, ${number(token.activation)})`) : null)
      : h("bdi", null, token.text);
    return [shown, " "];
  });
  const top = text.tokens[text.peak]?.activation ?? 0;
  return h(
    "li",
    null,
    h("span", { class: "peak-value", title: `strongest activation; sampled from ${text.sampled_from}` }, number(top)),
    h("p", null, text.cut_before ? "… " : null, tokens, text.cut_after ? "…" : null),
  );
}

function texts(feature: FeatureDetails): HTMLElement | null {
  if (!feature.texts.length) return part("Where it fires", h("p", { class: "quiet" }, feature.why_not || "It fires in no text of the scan."));
  const strongest = Math.max(...feature.texts.flatMap((text) => text.tokens.map((token) => token.activation)), 1e-12);
  const list = h("ol", { class: "examples" }, feature.texts.slice(0, FIRST_TEXTS).map((text) => textItem(text, strongest)));
  const rest = feature.texts.slice(FIRST_TEXTS);
  const more = rest.length ? h("button", { type: "button", class: "button button-small" }, `Show ${rest.length} weaker texts`) : null;
  more?.addEventListener("click", () => {
    list.append(...rest.map((text) => textItem(text, strongest)));
    more.remove();
  });
  return part("Where it fires", h("p", { class: "sub" }, "Darker: fires more strongly; the strongest token is underlined. The number is its activation."), list, more);
}

function tokens(list: readonly { token: string; effect: number }[]): HTMLElement | null {
  if (!list.length) return null;
  return h("ul", { class: "token-list" }, list.slice(0, 12).map((one) => h("li", { title: `direct effect on its logit ${signed(one.effect)}` }, h("bdi", { class: "token" }, one.token))));
}

function featureParts(feature: FeatureDetails, context: ReportContext): (HTMLElement | null)[] {
  const supernodes = context.review.state().supernodes.filter((node) => !node.gone && node.members.some((member) => feature.nodes.includes(member)));
  return [
    rows([
      ["part of", supernodes.length ? h("span", null, supernodes.flatMap((node, at) => [at ? ", " : "", targetLink(`supernode:${node.supernode_id}`, node.label, context)])) : null],
      ["in this prompt", feature.here],
      ["condition", feature.condition],
      ["unseen texts", feature.score],
      ["labelled by", feature.proposed_by],
      ["fires on", feature.density === null ? null : `${percent(feature.density)} of all tokens`],
      ["at most", feature.max_activation === null ? null : number(feature.max_activation)],
    ]),
    part("Raises", tokens(feature.promoted)),
    part("Lowers", tokens(feature.suppressed)),
    texts(feature),
    part("Claims about it", claimsAbout(`feature:${feature.layer}/${feature.feature}`)),
  ];
}

async function readFeature(layer: number, feature: number, context: ReportContext, signal: AbortSignal): Promise<FeatureDetails> {
  return await getJson<FeatureDetails>(`/api/reports/${encodeURIComponent(context.caseId)}/features/${layer}/${feature}`, { signal });
}

function labelNow(layer: number, feature: number, context: ReportContext): string | null {
  return context.review.state().labels.find((label) => label.layer === layer && label.feature === feature)?.text ?? null;
}

/** A feature, wherever it fires. */
export async function featureBody(layer: number, feature: number, context: ReportContext, signal: AbortSignal): Promise<Shown> {
  const found = await readFeature(layer, feature, context, signal);
  const nodes = found.nodes.map((id) => h("li", null, targetLink(`node:${id}`, `at position ${id.split("_")[2] ?? "?"}`, context)));
  return {
    kind: `Feature · layer ${layer}, number ${feature}`,
    title: labelNow(layer, feature, context) ?? found.label ?? "without a label",
    judged: `label:${layer}/${feature}`,
    parts: [...featureParts(found, context), part("Its nodes in the circuit", nodes.length ? h("ul", { class: "member-list" }, nodes) : null)],
  };
}

/** A node of the full graph with the edges into it and out of it. */
export async function nodeBody(id: string, context: ReportContext, signal: AbortSignal): Promise<Shown> {
  const found = /^([0-9]{1,6})_([0-9]{1,9})_([0-9]+)$/.exec(id);
  let node: NodeDetails | null = null;
  let missing = "";
  try {
    node = await getJson<NodeDetails>(`/api/reports/${encodeURIComponent(context.caseId)}/graph/nodes/${encodeURIComponent(id)}`, { signal });
  } catch (cause) {
    // Without a graph a member of a supernode can still be read; anything else is told.
    if (!(cause instanceof ApiError) || !found || (cause.status !== 404 && cause.status !== 410)) throw cause;
    missing = "The full graph was not kept with this report, so the edges of single nodes are not known.";
  }
  const isFeature = node ? node.kind === "feature" : found !== null;
  const layer = node?.layer ?? Number(found?.[1]);
  const number_ = node?.feature ?? Number(found?.[2]);
  const feature = isFeature ? await readFeature(layer, number_, context, signal) : null;
  const label = isFeature ? labelNow(layer, number_, context) : null;
  const name = node ? nameOfLink({ ...node, label: label ?? node.label }) : (label ?? feature?.label ?? `feature ${layer}/${number_}`);
  nameNode(id, name);
  return {
    kind: isFeature ? `Feature node · layer ${layer}, feature ${number_}, position ${node?.position ?? found?.[3] ?? "?"}` : `Node · ${node?.kind ?? ""}`,
    title: name,
    judged: isFeature ? `node:${id}` : null,
    parts: [
      missing ? h("p", { class: "note" }, missing) : null,
      node
        ? rows([
            ["token", node.kind === "logit" ? null : h("bdi", null, `“${node.token}”`)],
            [node.kind === "logit" ? "probability" : "activation", node.activation === null ? null : node.kind === "logit" ? percent(node.activation) : number(node.activation)],
            ["everywhere", isFeature ? targetLink(`feature:${layer}/${number_}`, "this feature in all texts", context) : null],
          ])
        : null,
      node ? part(`Fed by (${node.n_inputs})`, edgeList(node.inputs, node.n_inputs, context)) : null,
      node ? part(`Feeds (${node.n_outputs})`, edgeList(node.outputs, node.n_outputs, context)) : null,
      ...(feature ? featureParts(feature, context) : []),
    ],
  };
}
