// One job, live.

import "../lib/base";
import { announce } from "../lib/announce";
import { getJson } from "../lib/api";
import { byId } from "../lib/dom";
import { Cases } from "../jobs/cases";
import { drawProgress } from "../jobs/progress";
import { followJob } from "../jobs/stream";
import type { Link } from "../jobs/stream";
import { RatePlot } from "../jobs/rate";
import { mountSums } from "../jobs/sums";
import type { JobState, RateOverTime } from "../jobs/types";
import { count } from "../jobs/words";

const RATE_MS = 10_000;
const WORDS: Record<Link, string> = { live: "live", asking: "asking every few seconds", lost: "the server cannot be reached; trying again…", ended: "" };

const article = byId("job");
const jobId = article.dataset["job"] ?? "";
const mayOpen = article.dataset["mayOpen"] === "yes";
const now = byId("job-now");
const cases = mayOpen ? new Cases(byId("job-cases"), jobId) : null;
const ratePlot = new RatePlot(byId("job-rate"));
let sums: { refresh: () => void } | null = null;
let finished = -1;
let over = false;
let drawnAt = 0;
let asked = 0;

async function drawRateNow(): Promise<void> {
  drawnAt = Date.now();
  const own = ++asked;
  const found = await getJson<RateOverTime>(`/api/jobs/${jobId}/rate`).catch(() => null);
  if (!found || own !== asked) return; // an answer that was overtaken is of earlier
  const section = byId("job-rate-section");
  section.hidden = found.finished.filter((n) => n > 0).length < 2 || !ratePlot.show(found);
}

function show(state: JobState): void {
  drawProgress(now, state, mayOpen);
  if (sums === null) sums = mountSums(byId("job-sums"), jobId, state.job.n_cases);
  // the job ends a moment after its last case: that moment is news too, for until then all figures were of the moment
  const ended = state.over && !over;
  over = state.over;
  if (state.job.finished === finished && !ended) return;
  const first = finished < 0;
  finished = state.job.finished;
  if (first || state.over || Date.now() - drawnAt > RATE_MS) void drawRateNow();
  if (first) return;
  if (state.over) {
    announce(`The job is ${state.job.status}: ${count(finished)} cases finished.`);
    sums.refresh();
    void cases?.load();
  }
}

now.addEventListener("click", (event) => {
  const link = (event.target as Element).closest<HTMLElement>("[data-failure-kind]");
  if (!link || !cases) return;
  event.preventDefault();
  cases.choose("failed", link.dataset["failureKind"] ?? "");
  byId("job-cases-name").scrollIntoView({ block: "start" });
  byId("case-status").focus({ preventScroll: true });
});
followJob(jobId, show, (link) => {
  const place = byId("job-link");
  if (place.textContent !== WORDS[link]) place.textContent = WORDS[link];
});
