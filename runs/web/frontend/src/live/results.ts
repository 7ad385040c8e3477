// The list of results, newest first; it survives a reload of the page in this tab.

import { announce, toast } from "../lib/announce";
import { h } from "../lib/dom";
import type { ReportContext } from "../report/context";
import { MAX_TEXT } from "../review/types";
import { formatLink } from "./links";
import { doseCurve, stripPlot, tokenTable } from "./plots";
import type { LiveRequest, LiveResult } from "./types";
import { actWords, controlWords, percent, resultWords, short } from "./words";

const KEPT = 12;

export interface ShownResult {
  result: LiveResult;
  /** What was changed, in words: supernodes' labels, or features. */
  what: string;
  /** The supernode that a comment goes to; null where several, or none, were changed. */
  supernode: string | null;
}

export class Results {
  readonly element = h("div", { class: "live-results stack" });
  private shown: ShownResult[] = [];

  constructor(
    private readonly context: ReportContext,
    private readonly again: (asked: LiveRequest) => void,
  ) {
    this.load();
    this.draw();
  }

  add(one: ShownResult): void {
    this.shown = [one, ...this.shown].slice(0, KEPT);
    this.save();
    this.draw();
    announce(resultWords(one.result, one.what).split("\n")[0] ?? "");
  }

  private get key(): string {
    return `live:${this.context.caseId}`;
  }

  private load(): void {
    try {
      const found: unknown = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
      this.shown = Array.isArray(found) ? (found as ShownResult[]).filter((one) => Array.isArray(one?.result?.tokens)) : [];
    } catch {
      this.shown = []; // another version's, or storage is switched off
    }
  }

  private save(): void {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.shown));
    } catch {
      // full, or switched off: the list lasts as long as the page
    }
  }

  private draw(): void {
    const clear = h(
      "button",
      {
        type: "button",
        class: "button button-small button-quiet",
        onclick: () => {
          this.shown = [];
          this.save();
          this.draw();
        },
      },
      "Clear the list",
    );
    this.element.replaceChildren(
      ...(this.shown.length ? [h("div", { class: "row live-results-head" }, h("h3", null, "Results"), clear)] : []),
      ...this.shown.map((one, index) => this.card(one, index === 0)),
    );
  }

  private card(one: ShownResult, open: boolean): HTMLElement {
    const { result } = one;
    const { target } = result;
    const changed = result.answer_before !== result.answer_after;
    const summary = h(
      "summary",
      { class: "live-result-head" },
      h("strong", null, h("bdi", null, actWords(result.request, one.what))),
      h("span", { class: "live-result-line" }, h("bdi", null, `“${target.token}” `), `${percent(target.before)} → ${percent(target.after)}`, changed ? h("span", null, ", answer ", h("bdi", null, `“${result.answer_after}”`)) : null),
    );
    return h(
      "details",
      { class: "card live-result", open },
      summary,
      h(
        "div",
        { class: "live-result-body" },
        tokenTable(result),
        h(
          "div",
          { class: "live-figures" },
          result.controls
            ? h(
                "figure",
                { class: "live-figure" },
                h("figcaption", null, "Against chance"),
                result.controls.plot ? stripPlot(result.controls.plot) : null,
                h("p", { class: "small" }, controlWords(result.controls)),
                h("p", { class: "small quiet" }, `Matched on ${result.controls.matched_on.join(", ")}; seed ${result.controls.seed}. Tried after the fact: a hint, no registered test; no verdict changes.`),
              )
            : null,
          result.doses.length ? doseCurve(result.doses, target.token) : null,
        ),
        this.edits(result),
        this.actions(one),
      ),
    );
  }

  private edits(result: LiveResult): HTMLElement {
    return h(
      "details",
      { class: "small" },
      h("summary", null, `What was changed (${result.edits.length} ${result.edits.length === 1 ? "feature" : "features"}, mode ${result.request.mode ?? "open"}, ${result.seconds.toFixed(2)} s)`),
      h(
        "div",
        { class: "table-wrap" },
        h(
          "table",
          { class: "table" },
          h("thead", null, h("tr", null, ["Feature", "At", "Activation before", "After"].map((name, place) => h("th", { scope: "col", class: place > 1 ? "number" : null }, name)))),
          h(
            "tbody",
            null,
            result.edits.slice(0, 200).map((row) => h("tr", null, h("td", null, row.feature), h("td", null, `${row.position} `, h("bdi", null, `“${row.token}”`)), h("td", { class: "number" }, short(row.before)), h("td", { class: "number" }, short(row.after)))),
          ),
        ),
      ),
      h("p", { class: "small" }, "The same on a terminal:"),
      h("pre", { class: "live-command", tabindex: 0, role: "region", "aria-label": "The command that gives the same numbers" }, result.command),
    );
  }

  private actions(one: ShownResult): HTMLElement {
    const { result } = one;
    const button = (label: string, run: () => void): HTMLElement => h("button", { type: "button", class: "button button-small", onclick: run }, label);
    const note = async (): Promise<void> => {
      const target = one.supernode === null ? "report" : `supernode:${one.supernode}`;
      const text = resultWords(result, one.what).slice(0, MAX_TEXT);
      if (await this.context.review.act({ kind: "comment", target, text }, "")) toast(`Noted as a comment on ${one.supernode === null ? "the report" : one.what}.`);
    };
    return h(
      "div",
      { class: "row no-print" },
      this.context.may.review ? button("Note as comment", () => void note()) : null,
      button("Copy command", () => copy(result.command, "Command copied.")),
      button("Copy link", () => copy(linkOf(result.request), "Link copied: it fills this form, and runs nothing by itself.")),
      button("Use again", () => this.again(result.request)),
    );
  }
}

function linkOf(asked: LiveRequest): string {
  const link = new URL(location.href);
  link.searchParams.set("live", formatLink(asked));
  link.hash = "live-section";
  return link.href;
}

async function copy(text: string, told: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(told);
  } catch {
    toast("The browser does not let this page copy; select the text and copy it yourself.", "problem");
  }
}
