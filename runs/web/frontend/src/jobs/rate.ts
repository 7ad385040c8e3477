// Cases finished over time, drawn by uPlot: point anywhere to read a span's number. The same numbers are in a table below.

import uPlot from "uplot";

import { FONT, paletteAt } from "../graph/palette";
import { h, replace } from "../lib/dom";
import { moment } from "../lib/moments";
import type { RateOverTime } from "./types";
import { count, span } from "./words";

const HEIGHT = 170;

/** Middles of the spans, and cases finished in each, as uPlot has its data. */
export function columnsOf(found: RateOverTime): [number[], number[]] {
  const first = found.first ?? 0;
  return [found.finished.map((_, at) => first + (at + 0.5) * found.span_seconds), [...found.finished]];
}

/** The plot of one place; it follows the width and the colours of the page. */
export class RatePlot {
  private plot: uPlot | null = null;
  private found: RateOverTime | null = null;
  private readonly holder = h("div", { class: "job-rate", role: "img" });
  private readonly read = h("p", { class: "small quiet job-rate-read" });
  private readonly table = h("tbody");

  constructor(private readonly root: HTMLElement) {
    new ResizeObserver(() => this.plot?.setSize({ width: this.width(), height: HEIGHT })).observe(this.holder);
    document.addEventListener("themechange", () => this.draw());
  }

  /** Show these numbers. False where there is nothing to show. */
  show(found: RateOverTime): boolean {
    if (found.first === null || found.last === null || found.finished.length === 0) return false;
    this.found = found;
    if (!this.holder.isConnected) {
      const table = h("table", { class: "table" }, h("thead", null, h("tr", null, h("th", { scope: "col" }, "From"), h("th", { scope: "col", class: "number" }, "Cases finished"))), this.table);
      replace(this.root, this.holder, this.read, h("details", null, h("summary", null, "The same as a table"), h("div", { class: "table-wrap" }, table)));
    }
    const close = found.last - found.first < 300;
    const most = Math.max(...found.finished);
    const sum = found.finished.reduce((all, n) => all + n, 0);
    this.holder.setAttribute("aria-label", `${count(sum)} cases from ${moment(found.first, close)} to ${moment(found.last, close)}, at most ${count(most)} in ${span(found.span_seconds)}; the table below has every number`);
    replace(this.table, found.finished.map((n, at) => h("tr", null, h("th", { scope: "row" }, moment(found.first! + at * found.span_seconds, close)), h("td", { class: "number" }, count(n)))));
    this.plot?.setData(columnsOf(found));
    this.tell(this.plot?.cursor.idx ?? null);
    if (!this.plot) requestAnimationFrame(() => this.draw()); // its place has a width once it is shown
    return true;
  }

  private tell(at: number | null): void {
    const { found } = this;
    if (!found) return;
    const n = at === null ? undefined : found.finished[at];
    const begin = (found.first ?? 0) + (at ?? 0) * found.span_seconds;
    this.read.textContent = n === undefined ? `Cases finished in each ${span(found.span_seconds)}; point at a bar to read it.` : `${count(n)} ${n === 1 ? "case" : "cases"} in the ${span(found.span_seconds)} from ${moment(begin, found.span_seconds < 60)}`;
  }

  private width(): number {
    return Math.max(200, Math.floor(this.holder.clientWidth));
  }

  private draw(): void {
    if (!this.found || !this.holder.isConnected) return;
    this.plot?.destroy();
    const { quiet, rule, accent } = paletteAt(this.holder);
    const line = { stroke: rule, width: 1 };
    const ink = { stroke: quiet, font: `12px ${FONT}`, grid: line, ticks: line };
    const bars = uPlot.paths.bars?.({ size: [0.85, 60] });
    this.plot = new uPlot(
      {
        width: this.width(),
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: { x: { range: (_, low, high) => [low - this.found!.span_seconds / 2, high + this.found!.span_seconds / 2] }, y: { range: (_, __, high) => [0, Math.max(1, high * 1.08)] } },
        axes: [ink, { ...ink, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] }],
        series: [{}, { stroke: accent, fill: accent, width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) }],
        hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx ?? null)] },
      },
      columnsOf(this.found),
      this.holder,
    );
  }
}
