// The cases of a job: filtered and paged on the server.

import { getJson, messageOf, withQuery } from "../lib/api";
import { h, replace } from "../lib/dom";
import type { CasePage, CaseState, CaseStatus } from "./types";
import { beginning, count, money, span } from "./words";

const STATUSES: readonly CaseStatus[] = ["done", "failed", "running", "waiting", "cancelled"];

export class Cases {
  private status: CaseStatus | "" = "";
  private kind = "";
  private page = 1;
  private total = 0;
  private drawn = "";
  private asked = 0;
  private readonly select: HTMLSelectElement;
  private readonly table = h("div", { class: "table-wrap" });
  private readonly count = h("p", { class: "quiet small", role: "status" });
  private readonly before = h("button", { type: "button", class: "button button-small", onclick: () => this.go(this.page - 1) }, "Previous");
  private readonly after = h("button", { type: "button", class: "button button-small", onclick: () => this.go(this.page + 1) }, "Next");

  constructor(
    root: HTMLElement,
    private readonly jobId: string,
  ) {
    this.select = h("select", { id: "case-status", onchange: () => this.choose(this.select.value as CaseStatus | "", "") }, h("option", { value: "" }, "all cases"), STATUSES.map((one) => h("option", { value: one }, one)));
    replace(root, h("div", { class: "row job-cases-head" }, h("label", { for: "case-status" }, "Show"), this.select, this.count), this.table, h("nav", { class: "row", "aria-label": "Pages of cases" }, this.before, this.after));
    void this.load();
  }

  /** Show the cases that stand so, or failed so. */
  choose(status: CaseStatus | "", kind: string): void {
    this.status = status;
    this.kind = kind;
    this.select.value = status;
    this.go(1);
  }

  async load(): Promise<void> {
    const own = ++this.asked;
    try {
      const found = await getJson<CasePage>(withQuery(`/api/jobs/${this.jobId}/cases`, { status: this.status, kind: this.kind, page: this.page }));
      if (own !== this.asked) return; // another filter or page was chosen meanwhile
      this.total = found.total;
      const last = Math.max(1, Math.ceil(found.total / found.per_page));
      this.count.textContent = `${count(found.total)} ${found.total === 1 ? "case" : "cases"}${this.kind ? ` of kind ${this.kind}` : ""}, page ${found.page} of ${count(last)}`;
      this.before.disabled = found.page <= 1;
      this.after.disabled = found.page >= last;
      this.draw(found.cases);
    } catch (cause) {
      if (own !== this.asked) return;
      this.drawn = "";
      replace(this.table, h("p", { class: "note note-problem" }, messageOf(cause)));
    }
  }

  private go(page: number): void {
    this.page = Math.max(1, page);
    void this.load();
  }

  private draw(cases: readonly CaseState[]): void {
    const news = JSON.stringify([this.total, cases]);
    if (news === this.drawn) return; // what is unfolded stays so
    this.drawn = news;
    if (cases.length === 0) {
      replace(this.table, h("p", { class: "empty" }, this.total ? "There is nothing on this page." : "No case stands so."));
      return;
    }
    const heads = ["#", "Case", "Status", "Tries", "Took", "Paid"];
    replace(
      this.table,
      h(
        "table",
        { class: "table job-cases" },
        h("caption", { class: "visually-hidden" }, "Cases"),
        h("thead", null, h("tr", null, heads.map((head, place) => h("th", { scope: "col", class: place === 0 || place > 2 ? "number" : null }, head)))),
        h("tbody", null, cases.map((one) => row(one))),
      ),
    );
  }
}

function row(one: CaseState): HTMLTableRowElement {
  const name = h("bdi", null, one.title || one.case_id);
  const failed = one.failure_kind === null ? null : h("div", { class: "small job-failure" }, h("strong", null, one.failure_kind), ": ", messageOfFailure(one.failure_message ?? ""));
  return h(
    "tr",
    null,
    h("td", { class: "number quiet" }, one.position),
    h("th", { scope: "row" }, one.has_report ? h("a", { href: `/reports/${one.case_id}` }, name) : name, failed),
    h("td", null, one.status),
    h("td", { class: "number" }, one.attempt + (one.crashes ? ` (${one.crashes} died)` : "")),
    h("td", { class: "number" }, span(one.seconds)),
    h("td", { class: "number" }, one.paid_usd ? money(one.paid_usd) : "–"),
  );
}

/** All of a message is there; a long one is folded, for the rows below it to stay in reach. */
function messageOfFailure(message: string): HTMLElement[] {
  const cut = beginning(message);
  if (cut === null) return [h("bdi", null, message)];
  return [h("bdi", null, cut), h("details", null, h("summary", null, `All ${count([...message].length)} characters`), h("bdi", null, message))];
}
