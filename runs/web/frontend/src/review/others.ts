// Who else reviewed this report, and how far the reviews agree.

import { getJson, messageOf } from "../lib/api";
import { openDialog } from "../lib/dialogs";
import { h, replace } from "../lib/dom";
import { timeElement } from "../lib/moments";
import type { ReportContext } from "../report/context";
import { visible } from "../circuit/text";
import { person, targetName } from "./words";

interface Summary {
  review_id: string;
  reviewer: string;
  own: boolean;
  version: number;
  status: string;
  changed_at: number;
}

export function openOthers(context: ReportContext): void {
  const list = h("div", null, h("p", { class: "quiet" }, "Loading…"));
  const agreement = h("div");
  const dialog = openDialog("Reviewers and agreement", h("div", { class: "stack" }, list, agreement), { wide: true });
  dialog.element.dataset.part = "others";
  const place = `/api/reports/${encodeURIComponent(context.caseId)}`;
  void getJson<{ reviews: Summary[] }>(`${place}/reviews`)
    .then(({ reviews }) => replace(list, reviews.length ? reviewsOf(reviews, context) : h("p", { class: "empty" }, "Nobody has reviewed this report yet. Your first decision begins your review.")))
    .catch((cause: unknown) => replace(list, h("p", { class: "note note-problem" }, messageOf(cause))));
  void getJson<Agreement>(`${place}/agreement`)
    .then((told) => replace(agreement, agreementOf(told, context, dialog.close)))
    .catch((cause: unknown) => replace(agreement, h("p", { class: "note note-problem" }, messageOf(cause))));
}

function reviewsOf(reviews: Summary[], context: ReportContext): HTMLElement {
  const shown = context.review.state().review_id;
  const rows = reviews.map((one) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, visible(person(one.reviewer)), one.own ? " (you)" : ""),
      h("td", null, h("span", { class: `chip chip-${one.status}` }, one.status)),
      h("td", { class: "number" }, one.version),
      h("td", null, timeElement(one.changed_at)),
      h("td", null, one.review_id === shown ? h("span", { class: "quiet" }, "shown now") : h("a", { href: one.own ? `/reports/${context.caseId}` : `/reports/${context.caseId}?review=${encodeURIComponent(one.review_id)}` }, "Open")),
    ),
  );
  return h("div", { class: "table-wrap" }, h("table", { class: "table" }, h("thead", null, h("tr", null, ["Reviewer", "Status", "Acts", "Last change"].map((name) => h("th", { scope: "col" }, name)), h("td", null))), h("tbody", null, rows)));
}

interface Figure {
  value: number | null;
  observed: number | null;
  n: number;
  why_not: string;
}

interface Pair {
  first_review: string;
  first_reviewer: string;
  second_review: string;
  second_reviewer: string;
  first_others: string[];
  second_others: string[];
  labels: Figure;
  claims: Figure;
  groups: Figure;
  disagreements: { target: string; first: string; second: string }[];
}

interface Agreement {
  pairs: Pair[];
  unreadable: { review_id: string; reviewer: string }[];
}

function agreementOf({ pairs, unreadable }: Agreement, context: ReportContext, close: () => void): HTMLElement {
  const damaged = unreadable.map(({ reviewer }) => h("p", { class: "note note-problem" }, `The review of ${visible(person(reviewer))} is damaged in the store and is left out here. Whoever runs this server learns more from “tracescribe store check”.`));
  if (!pairs.length) return h("div", { class: "stack" }, damaged, h("p", { class: "quiet" }, "Agreement is computed once two people have reviewed this report."));
  return h("div", { class: "stack" }, h("h3", null, "Agreement"), damaged, h("p", { class: "quiet small" }, "Kappa and the adjusted Rand index are 1 where two reviewers agree in everything, and about 0 where they agree no more than chance would have it."), pairs.map((pair) => pairOf(pair, context, close)));
}

function pairOf(pair: Pair, context: ReportContext, close: () => void): HTMLElement {
  const first = visible(person(pair.first_reviewer));
  const second = visible(person(pair.second_reviewer));
  const besides = (whose: string, others: string[]): HTMLElement | null =>
    others.length ? h("p", { class: "quiet small" }, `The review of ${whose} has decisions of ${others.map((name) => visible(person(name))).join(", ")} too: the figures are about the review, not about ${whose} alone.`) : null;
  const figure = (name: string, { value, observed, n, why_not }: Figure): HTMLElement =>
    h("div", null, h("dt", null, name), h("dd", null, value === null ? h("span", { class: "quiet" }, why_not) : [h("strong", null, value.toFixed(2)), h("span", { class: "quiet" }, ` over ${n}${observed === null ? "" : `, the same in ${(100 * observed).toFixed(0)} %`}`)]));
  const state = context.review.state();
  const rows = pair.disagreements.map(({ target, first: one, second: other }) => {
    const show = (): void => {
      close();
      context.selection.set(target.replace(/^label:/, "feature:"));
    };
    return h("tr", null, h("th", { scope: "row" }, h("button", { type: "button", class: "button button-small button-quiet", onclick: show }, visible(targetName(state, target)))), h("td", null, visible(one)), h("td", null, visible(other)));
  });
  return h(
    "section",
    { class: "card" },
    h("h4", null, `${first} and ${second}`),
    besides(first, pair.first_others),
    besides(second, pair.second_others),
    h("dl", { class: "facts" }, figure("Labels (Cohen's kappa)", pair.labels), figure("Claims (Cohen's kappa)", pair.claims), figure("Groups (adjusted Rand index)", pair.groups)),
    rows.length
      ? h("details", { open: rows.length <= 12 }, h("summary", null, `${rows.length} thing${rows.length === 1 ? "" : "s"} they see differently`), h("div", { class: "table-wrap" }, h("table", { class: "table" }, h("thead", null, h("tr", null, ["About", first, second].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, rows))))
      : h("p", null, "They see nothing differently."),
  );
}
