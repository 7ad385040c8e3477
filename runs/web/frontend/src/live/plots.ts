// Pictures of a live result: bars before and after, the strip of controls as claims have it, a dose curve.

import { h, svg } from "../lib/dom";
import { percent, short } from "./words";
import type { DoseRow, LiveResult, StripGeometry, TokenRow } from "./types";

const BAR = 120;

function bar(before: number, after: number): SVGSVGElement {
  const width = (share: number): string => Math.max(share > 0 ? 1 : 0, share * BAR).toFixed(1);
  return svg(
    "svg",
    { class: "live-bars", viewBox: `0 0 ${BAR} 20`, width: BAR, height: 20, "aria-hidden": "true" },
    svg("rect", { class: "live-track", x: 0, y: 1, width: BAR, height: 8, rx: 1.5 }),
    svg("rect", { class: "live-before", x: 0, y: 1, width: width(before), height: 8, rx: 1.5 }),
    svg("rect", { class: "live-track", x: 0, y: 11, width: BAR, height: 8, rx: 1.5 }),
    svg("rect", { class: "live-after", x: 0, y: 11, width: width(after), height: 8, rx: 1.5 }),
  );
}

function arrow(before: string | number, after: string | number): (Node | string)[] {
  if (before === after) return [String(before)];
  return [String(before), h("span", { "aria-hidden": "true" }, " → "), h("span", { class: "visually-hidden" }, " to "), h("strong", null, String(after))];
}

function tokenRow(row: TokenRow, measured: boolean): HTMLTableRowElement {
  return h(
    "tr",
    { class: measured ? "is-measured" : null },
    h("th", { scope: "row" }, h("bdi", { class: "live-token" }, row.token), measured ? h("span", { class: "quiet small" }, " measured") : null),
    h("td", { class: "live-bar-cell" }, bar(row.before, row.after)),
    h("td", { class: "number" }, arrow(percent(row.before), percent(row.after))),
    h("td", { class: "number" }, arrow(row.rank_before, row.rank_after)),
    h("td", { class: "number live-logit" }, arrow(short(row.logit_before), short(row.logit_after))),
  );
}

/** The most probable tokens, and the one that is measured, before and after. */
export function tokenTable(result: LiveResult): HTMLElement {
  const rows = result.tokens.some((row) => row.token === result.target.token) ? result.tokens : [...result.tokens, result.target];
  return h(
    "div",
    { class: "table-wrap" },
    h(
      "table",
      { class: "table live-tokens" },
      h("caption", { class: "visually-hidden" }, "Next tokens before and after the intervention"),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "Next token"),
          h("th", { scope: "col", class: "live-bar-cell" }, h("span", { class: "live-key-before" }, "before"), " ", h("span", { class: "live-key-after" }, "after")),
          h("th", { scope: "col", class: "number" }, "Probability"),
          h("th", { scope: "col", class: "number" }, "Rank"),
          h("th", { scope: "col", class: "number live-logit" }, "Logit"),
        ),
      ),
      h("tbody", null, rows.map((row) => tokenRow(row, row.token === result.target.token))),
    ),
  );
}

/** Controls as dots, the tested features as a line: the same picture that claims have. */
export function stripPlot(plot: StripGeometry): SVGSVGElement {
  return svg(
    "svg",
    { class: "strip", viewBox: "0 0 280 74", width: 280, height: 74, role: "img", "aria-label": plot.description },
    svg("line", { class: "axis", x1: 4, y1: 54, x2: 276, y2: 54 }),
    svg("line", { class: "zero", x1: plot.zero_x, y1: 50, x2: plot.zero_x, y2: 58 }),
    svg("g", { class: "dots" }, plot.dots.map(([x, y]) => svg("circle", { class: "dot", cx: x.toFixed(1), cy: y.toFixed(1), r: 1.9 }))),
    svg("line", { class: "tested", x1: plot.effect_x, y1: 17, x2: plot.effect_x, y2: 56 }),
    svg("text", { class: "caption strong", x: plot.effect_label_x, y: 12 }, plot.effect_text),
    svg("text", { class: "caption", x: plot.zero_x < 140 ? Math.max(plot.zero_x, 34) : Math.min(plot.zero_x, 246), y: 71 }, "no change"),
  );
}

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 290, 10, 96];

/** The measured token's probability at every multiplier, with the numbers in a table beside it. */
export function doseCurve(doses: readonly DoseRow[], token: string): HTMLElement {
  const first = doses[0]?.multiplier ?? 0;
  const span = (doses.at(-1)?.multiplier ?? 1) - first || 1;
  const x = (dose: number): number => LEFT + ((RIGHT - LEFT) * (dose - first)) / span;
  const y = (probability: number): number => BOTTOM - (BOTTOM - TOP) * probability;
  const ticks = doses.filter((row) => Number.isInteger(row.multiplier));
  const picture = svg(
    "svg",
    { class: "strip live-doses", viewBox: "0 0 300 132", width: 300, height: 132, role: "img", "aria-label": `Probability of ${token} by multiplier; the table below has the numbers` },
    [0, 0.5, 1].map((share) => [
      svg("line", { class: "axis", x1: LEFT, y1: y(share), x2: RIGHT, y2: y(share) }),
      svg("text", { class: "caption live-end", x: LEFT - 5, y: y(share) + 3 }, `${100 * share} %`),
    ]).flat(),
    first <= 1 && first + span >= 1 ? svg("line", { class: "zero live-unchanged", x1: x(1), y1: TOP, x2: x(1), y2: BOTTOM }) : null,
    svg("polyline", { class: "curve", points: doses.map((row) => `${x(row.multiplier).toFixed(1)},${y(row.probability).toFixed(1)}`).join(" ") }),
    doses.map((row) =>
      svg("circle", { class: "dose", cx: x(row.multiplier), cy: y(row.probability), r: 2.8 }, svg("title", null, `× ${short(row.multiplier)}: ${percent(row.probability)}`)),
    ),
    ticks.map((row) => svg("text", { class: "caption", x: x(row.multiplier), y: 113 }, short(row.multiplier))),
    svg("text", { class: "caption", x: (LEFT + RIGHT) / 2, y: 129 }, "activations multiplied by (1: no change)"),
  );
  const table = h(
    "details",
    { class: "small" },
    h("summary", null, "The numbers"),
    h(
      "table",
      { class: "table" },
      h("thead", null, h("tr", null, h("th", { scope: "col", class: "number" }, "Multiplier"), h("th", { scope: "col", class: "number" }, `P(${token})`))),
      h("tbody", null, doses.map((row) => h("tr", null, h("td", { class: "number" }, short(row.multiplier)), h("td", { class: "number" }, percent(row.probability))))),
    ),
  );
  return h("figure", { class: "live-figure" }, h("figcaption", null, "Dose curve of ", h("bdi", null, `“${token}”`)), picture, table);
}
