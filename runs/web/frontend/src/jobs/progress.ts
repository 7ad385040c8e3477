// How a job stands, drawn anew for every event: the bar, counts, cost, time left, failures and workers.

import { h, replace, svg } from "../lib/dom";
import type { CaseStatus, JobBrief, JobState } from "./types";
import { count, money, rate, span } from "./words";

const SHOWN: readonly CaseStatus[] = ["done", "failed", "cancelled", "running"];
const CHIPS: Record<JobBrief["status"], string> = { done: "chip-accepted", running: "chip-accent", stopped: "chip-open", cancelled: "chip-untested", waiting: "chip-untested" };
const WORKERS = 12;

export function statusChip(status: JobBrief["status"]): HTMLElement {
  return h("span", { class: `chip ${CHIPS[status]} job-status` }, status);
}

/** The bar of a job; what it shows stands in its label too. */
export function progressBar(job: JobBrief): SVGSVGElement {
  let at = 0;
  const parts = SHOWN.map((status) => {
    const width = (100 * (job.cases[status] ?? 0)) / Math.max(job.n_cases, 1);
    const part = width ? svg("rect", { class: `job-bar-${status}`, x: at.toFixed(3), y: 0, width: width.toFixed(3), height: 6 }) : null;
    at += width;
    return part;
  });
  const label = `${job.finished} of ${job.n_cases} cases finished, ${job.cases.failed ?? 0} failed, ${job.cases.running ?? 0} running`;
  return svg(
    "svg",
    { class: "job-bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", width: "100%", height: 10, role: "img", "aria-label": label },
    svg("rect", { class: "job-bar-rest", x: 0, y: 0, width: 100, height: 6 }),
    parts,
  );
}

function fact(name: string, value: string | Node | null): HTMLElement | null {
  return value === null ? null : h("div", null, h("dt", null, name), h("dd", null, value));
}

function timeLeft(state: JobState): string | null {
  if (state.over) return null;
  if (state.abandoned) return state.supervised ? "workers are starting" : `nobody works on it; tracescribe jobs resume ${state.job.job_id} goes on`;
  return state.seconds_left === null ? "not known yet" : `about ${span(state.seconds_left)}`;
}

/** Show a state in its place. */
export function drawProgress(root: HTMLElement, state: JobState, mayOpen: boolean): void {
  const { job } = state;
  const cost = job.paid_usd || job.usd_limit !== null ? `${money(job.paid_usd)}${job.usd_limit === null ? "" : ` of at most ${money(job.usd_limit)}`}${job.reserved_usd && !state.over ? `, ${money(job.reserved_usd)} reserved` : ""}` : "nothing paid for";
  const counts = (["done", "failed", "cancelled", "running", "waiting"] as const).filter((status) => job.cases[status]).map((status) => `${count(job.cases[status] ?? 0)} ${status}`);
  replace(
    root,
    h("p", { class: "job-figure" }, statusChip(job.status), h("strong", null, job.n_cases ? `${Math.floor((100 * job.finished) / job.n_cases)} %` : "no cases"), h("span", null, `${count(job.finished)} of ${count(job.n_cases)} cases finished`)),
    progressBar(job),
    job.message ? h("p", { class: job.status === "done" ? "small" : "note note-warning" }, h("bdi", null, job.message)) : null,
    h(
      "dl",
      { class: "facts job-facts" },
      fact("Cases", counts.join(", ") || "none"),
      fact("Rate", state.rate === null || state.over ? null : rate(state.rate)),
      fact("Time left", timeLeft(state)),
      fact("Cost so far", cost),
    ),
    failures(job, mayOpen),
    workers(state, mayOpen),
  );
}

function failures(job: JobBrief, mayOpen: boolean): HTMLElement | null {
  if (job.failures.length === 0) return null;
  return h(
    "section",
    { class: "job-failures", "aria-label": "Failures" },
    h("h3", null, "Failures by kind"),
    h(
      "ul",
      null,
      job.failures.map((one) =>
        h(
          "li",
          null,
          h("strong", null, `${count(one.n_cases)} × ${one.kind}`),
          mayOpen ? [" ", h("a", { href: `#cases-${one.kind}`, "data-failure-kind": one.kind }, "show them")] : null,
          h("p", { class: "small" }, one.advice, one.runbook ? [" Runbook: ", h("code", null, `docs/runbooks/${one.runbook}`), "."] : null),
        ),
      ),
    ),
  );
}

function workers(state: JobState, mayOpen: boolean): HTMLElement | null {
  if (state.over || state.workers.length === 0) return null;
  const more = state.workers.length - WORKERS;
  return h(
    "details",
    { class: "job-workers", open: state.workers.length <= 4 },
    h("summary", null, `${state.workers.length} ${state.workers.length === 1 ? "worker" : "workers"}`),
    h(
      "ul",
      { class: "small" },
      state.workers.slice(0, WORKERS).map((one) =>
        h(
          "li",
          null,
          `${one.host} ${one.pid}: `,
          one.is_silent ? h("strong", { class: "is-bad" }, `silent for ${span(one.silent_seconds)}`) : one.case_id === null ? "idle" : [`at work for ${span(one.case_seconds)}`, mayOpen ? [" on ", h("code", null, one.case_id)] : null].flat(),
        ),
      ),
      more > 0 ? h("li", { class: "quiet" }, `and ${more} more`) : null,
    ),
  );
}
