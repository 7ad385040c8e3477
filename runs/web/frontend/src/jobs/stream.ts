// A job's events. The browser's EventSource comes back by itself after a break; where streams are refused we ask instead.

import { getJson } from "../lib/api";
import type { JobState } from "./types";

const ASK_MS = 5_000;

export type Link = "live" | "asking" | "lost" | "ended";

/** Follow a job until it ends. A page that nobody sees holds no stream. Returns the end of following. */
export function followJob(jobId: string, show: (state: JobState) => void, told: (link: Link) => void): () => void {
  const path = `/api/jobs/${jobId}`;
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  const close = (): void => {
    source?.close();
    source = null;
    clearTimeout(timer);
  };
  const ask = async (): Promise<void> => {
    try {
      const state = await getJson<JobState>(path);
      show(state);
      if (state.over) return end();
      told("asking");
    } catch {
      told("lost");
    }
    if (!ended && !document.hidden) timer = setTimeout(() => void ask(), ASK_MS);
  };
  const end = (): void => {
    ended = true;
    close();
    told("ended");
  };
  const open = (): void => {
    close();
    if (ended) return;
    source = new EventSource(`${path}/events`);
    source.addEventListener("open", () => told("live"));
    source.addEventListener("progress", (event) => {
      told("live");
      show(JSON.parse((event as MessageEvent<string>).data) as JobState);
    });
    source.addEventListener("end", end);
    source.addEventListener("error", () => {
      if (ended) return;
      told("lost");
      if (source?.readyState === EventSource.CLOSED) {
        // refused, not merely interrupted
        source = null;
        clearTimeout(timer);
        timer = setTimeout(() => void ask(), ASK_MS);
      }
    });
  };
  const seen = (): void => {
    if (document.hidden) close();
    else open();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", seen);
    close();
  };
}
