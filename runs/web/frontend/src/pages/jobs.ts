// The list of jobs: fresh figures while one of the jobs is at work.

import "../lib/base";
import { getJson, withQuery } from "../lib/api";
import { progressBar, statusChip } from "../jobs/progress";
import type { JobBrief } from "../jobs/types";
import { count } from "../jobs/words";

const LOOK_MS = 3_000;
const list = document.getElementById("job-list");

function show(job: JobBrief): void {
  const card = list?.querySelector<HTMLElement>(`[data-job="${CSS.escape(job.job_id)}"]`);
  if (!card) return;
  card.querySelector(".job-bar")?.replaceWith(progressBar(job));
  card.querySelector(".job-status")?.replaceWith(statusChip(job.status));
  const failed = job.cases.failed ? `, ${count(job.cases.failed)} failed` : "";
  const running = job.cases.running ? `, ${count(job.cases.running)} running` : "";
  const counts = card.querySelector(".job-counts");
  if (counts) counts.textContent = `${count(job.finished)} of ${count(job.n_cases)} cases finished${failed}${running}`;
}

async function look(): Promise<void> {
  if (!list || document.hidden) return;
  const path = withQuery("/api/jobs", { status: list.dataset["status"], page: list.dataset["page"] });
  const found = await getJson<{ jobs: JobBrief[] }>(path).catch(() => null);
  for (const job of found?.jobs ?? []) show(job);
}

if (list) setInterval(() => void look(), LOOK_MS);
