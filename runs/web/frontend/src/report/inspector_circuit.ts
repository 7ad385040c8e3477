// A supernode or a link in the inspector, as the review has it.

import { h } from "../lib/dom";
import type { EdgeState } from "../review/types";
import type { ReportContext } from "./context";
import type { Shown } from "./inspector";
import { claimsAbout, endName, endTarget, number, part, rows, signed, targetLink } from "./parts";

function linkList(all: readonly EdgeState[], other: (edge: EdgeState) => string, context: ReportContext): HTMLElement | null {
  const gone = new Set(context.review.state().supernodes.filter((node) => node.gone).map((node) => node.supernode_id));
  const edges = all.filter((edge) => !gone.has(edge.source) && !gone.has(edge.destination));
  if (!edges.length) return null;
  const strongest = Math.max(...edges.map((edge) => Math.abs(edge.weight ?? 0)), 1e-12);
  const ranked = [...edges].sort((a, b) => Math.abs(b.weight ?? 0) - Math.abs(a.weight ?? 0));
  return h(
    "ul",
    { class: "link-list" },
    ranked.map((edge) => {
      const bar = h("span", { class: `weight-bar ${edge.sign > 0 ? "helps" : "hinders"}`, "aria-hidden": "true" });
      bar.style.setProperty("--share", String(Math.abs(edge.weight ?? 0) / strongest));
      const id = other(edge);
      return h(
        "li",
        edge.decision === "rejected" ? { class: "is-rejected" } : null,
        targetLink(endTarget(id), endName(id, context), context),
        targetLink(`edge:${edge.source}>${edge.destination}`, weightWords(edge), context),
        bar,
      );
    }),
  );
}

function weightWords(edge: EdgeState): string {
  if (edge.weight === null) return edge.sign > 0 ? "added, +" : "added, \u2212";
  return edge.stale ? "not known any more" : signed(edge.weight);
}

/** The report's own row of a supernode: influence, quality. */
function factsOf(target: string, changed: boolean): HTMLElement | null {
  const row = document.querySelector<HTMLElement>(`#supernodes tr[data-target="${CSS.escape(target)}"]`);
  if (!row) return null;
  const influence = row.querySelector("td.influence")?.textContent?.trim() ?? "";
  const place = row.querySelectorAll("td")[1];
  const where = [place?.querySelector("bdi")?.textContent, place?.querySelector(".sub")?.textContent].filter(Boolean).join(", ");
  const quality = [...row.querySelectorAll("th .sub")].map((line) => h("span", { class: "sub" }, line.textContent ?? ""));
  const then = changed ? " in the report" : "";
  return rows([
    [`where${then}`, where],
    [`influence${then}`, influence],
    [`quality${then}`, quality.length ? h("span", null, quality) : null],
  ]);
}

/** A supernode; null where neither the report nor the review has it. */
export function supernodeBody(id: string, context: ReportContext): Shown | null {
  const state = context.review.state();
  const node = state.supernodes.find((one) => one.supernode_id === id);
  if (!node) return null;
  const target = `supernode:${id}`;
  const labels = new Map(state.labels.map((label) => [`${label.layer}_${label.feature}`, label.text]));
  const renamed = node.label_before !== null && node.label_before !== node.label;
  const members = node.members.map((member) => {
    const [layer = "", feature = "", position = ""] = member.split("_");
    const token = document.querySelectorAll(".report-head .prompt-token")[Number(position)]?.textContent ?? position;
    const text = labels.get(`${layer}_${feature}`) ?? `feature ${feature}`;
    return h("li", null, targetLink(`node:${member}`, text, context), h("span", { class: "sub" }, `layer ${layer}, feature ${feature}, at “${token}”`));
  });
  return {
    kind: `Supernode · ${node.role}`,
    title: node.label,
    judged: node.gone ? null : target,
    parts: [
      node.gone ? h("p", { class: "note" }, "Your review merged this supernode into another, or emptied it.") : null,
      node.rejected_by_report ? h("p", { class: "note note-warning" }, "The report itself rejected this guess: each test of it alone came out against it.") : null,
      rows([
        ["in the report", renamed ? h("bdi", null, `“${node.label_before}”`) : null],
        ["made by", node.label_before === null ? "the review" : null],
        ["role was", node.role_before !== null && node.role_before !== node.role ? node.role_before : null],
      ]),
      node.changed && node.label_before !== null && !node.gone ? h("p", { class: "note" }, `Your review changed its features. What the report measured, here and in its claims, is about the ${node.members_before.length} that it had.`) : null,
      node.gone ? null : factsOf(target, node.changed),
      part(`Features (${node.members.length})`, members.length ? h("ul", { class: "member-list" }, members) : h("p", { class: "quiet" }, "none")),
      part("Fed by", linkList(state.edges.filter((edge) => edge.destination === id), (edge) => edge.source, context)),
      part("Feeds", linkList(state.edges.filter((edge) => edge.source === id), (edge) => edge.destination, context)),
      part("Claims about it", claimsAbout(target)),
    ],
  };
}

/** A link; null where neither the report nor the review has it. */
export function edgeBody(source: string, destination: string, context: ReportContext): Shown | null {
  const state = context.review.state();
  const edge = state.edges.find((one) => one.source === source && one.destination === destination);
  if (!edge) return null;
  const target = `edge:${source}>${destination}`;
  const inbound = state.edges.filter((one) => one.destination === destination && one.weight !== null && !one.stale);
  const total = inbound.reduce((sum, one) => sum + Math.abs(one.weight ?? 0), 0);
  return {
    kind: edge.sign > 0 ? "Link · strengthens" : "Link · weakens",
    title: `${endName(source, context)} → ${endName(destination, context)}`,
    judged: target,
    parts: [
      rows([
        ["from", targetLink(endTarget(source), endName(source, context), context)],
        ["to", targetLink(endTarget(destination), endName(destination, context), context)],
        ["direct effect", edge.weight === null ? "none in the graph: the review added this link" : edge.stale ? `not known: ${state.graph_kept ? "an end of it is gone" : "its ends have other features now, and no graph was kept with this report"}` : signed(edge.weight)],
        ["follows from", edge.origin === "graph" ? "the graph, for the features that its ends have now" : null],
        ["in the report", edge.origin === "report" && !edge.stale ? null : edge.weight_before === null ? "not there" : `${signed(edge.weight_before)}, for the features that its ends had`],
        ["share", edge.weight !== null && !edge.stale && total > 0 ? `${number((100 * Math.abs(edge.weight)) / total)} % of what the drawing shows to flow in there` : null],
        ["sign was", edge.sign_before !== null && edge.sign_before !== edge.sign ? (edge.sign_before > 0 ? "strengthens" : "weakens") : null],
      ]),
      part("Claims about it", claimsAbout(target)),
    ],
  };
}
