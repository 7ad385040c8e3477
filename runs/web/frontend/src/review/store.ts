// The review of the open report: its state as the server has it, and the way to change it. One for a page.

import { ApiError, getJson, postJson } from "../lib/api";
import { toast } from "../lib/announce";
import { askAboutConflict } from "./conflict";
import { draftPlace, Drafts, giveBack, othersWaiting, tabShelf } from "./drafts";
import { ActQueue, type Answer, type Kept, type Request, type Waiting } from "./queue";
import type { Act, Conflict, Review, ReviewState, Saving } from "./types";
import { actWords, person } from "./words";

/** How often it is asked whether somebody else changed the review, in milliseconds. */
const LOOK_EVERY = 2500;

interface Version {
  review_id: string | null;
  version: number;
}

/** How an answer to a posted act is to be understood. */
export function answerOf(error: unknown): Answer {
  if (!(error instanceof ApiError)) return { kind: "again", why: "the server cannot be reached" };
  if (error.status === 409 && error.error === "conflict") return { kind: "conflict", conflict: error.body as Conflict };
  if (error.status === 0) return { kind: "again", why: "the server cannot be reached" };
  if (error.status === 401) return { kind: "again", why: "you are logged out; log in again in another tab" };
  if (error.status === 429) return { kind: "again", why: "too many changes at once" };
  if (error.status >= 500) return { kind: "again", why: error.message };
  return { kind: "refused", why: error.message };
}

export interface Asked {
  caseId: string;
  /** Null for the visitor's own. */
  reviewId: string | null;
}

class ReviewSession implements Review {
  readonly drafts: Drafts;
  private readonly queue: ActQueue;
  private readonly listeners = new Set<() => void>();
  /** How often in a row nothing could be saved: a server that is merely started anew is not told of. */
  private failed = 0;
  private outage: HTMLElement | null = null;

  constructor(
    private readonly place: string,
    asked: Asked,
    state: ReviewState,
    readonly visitor: string,
  ) {
    const shelf = tabShelf();
    this.drafts = new Drafts(draftPlace(visitor, asked.caseId, asked.reviewId), shelf);
    for (const other of othersWaiting(shelf, visitor)) {
      toast(`${person(other)} has changes in this tab that are not saved. They are kept, and saved when ${person(other)} logs in and opens the report here again.`, "note");
    }
    this.queue = new ActQueue(state, {
      send: (request) => this.send(request),
      ask: (conflict, mine) => askAboutConflict(conflict, mine, visitor),
      later: (run, milliseconds) => {
        const timer = window.setTimeout(run, milliseconds);
        return () => window.clearTimeout(timer);
      },
      keep: (kept) => this.drafts.set("waiting", kept === null ? "" : JSON.stringify(kept)),
      dropped: (waiting, why) => this.dropped(waiting, why),
      changed: () => this.changed(),
    });
    window.setInterval(() => void this.look(), LOOK_EVERY);
    window.addEventListener("online", () => this.hurry());
    window.addEventListener("beforeunload", (event) => {
      if (this.queue.pending().length) event.preventDefault();
    });
    const kept = this.kept();
    if (kept) this.queue.restore(kept);
  }

  state(): ReviewState {
    return this.queue.state();
  }

  saving(): Saving {
    return this.queue.saving();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  act(act: Act, why = "", seen?: number): Promise<boolean> {
    return this.queue.act(act, why, seen);
  }

  /** Tries to save what waits at once. */
  hurry(): void {
    this.queue.hurry();
  }

  private async send(request: Request): Promise<Answer> {
    try {
      return { kind: "saved", state: await postJson<ReviewState>(`${this.place}/acts`, request) };
    } catch (error) {
      if (error instanceof ApiError && error.status === 403 && error.error === "csrf") {
        const why = await renewCsrf(this.visitor);
        if (why !== null) return { kind: "again", why };
      }
      return answerOf(error);
    }
  }

  private kept(): Kept | null {
    try {
      const found: unknown = JSON.parse(this.drafts.get("waiting") || "null");
      return found !== null && typeof found === "object" && "waiting" in found ? (found as Kept) : null;
    } catch {
      return null; // written by another version of this page
    }
  }

  private dropped(waiting: Waiting, why: string): void {
    giveBack(this.drafts, waiting.act, waiting.why); // the controls open with it again
    // the dialogs are closed, and what opened them may have been drawn anew: go on where the text came back
    window.requestAnimationFrame(() => window.setTimeout(goOnTyping));
    if (why) toast(`Not saved: ${why}`, "problem");
  }

  private changed(): void {
    this.tellOutage();
    for (const listener of [...this.listeners]) listener();
  }

  /** The bar tells of an outage, but may be out of sight: behind a sheet, above the window, under a drawing that fills it. */
  private tellOutage(): void {
    const how = this.queue.saving();
    if (how.kind === "offline" && ++this.failed === 2) this.outage = toast(`Not saved yet: ${how.why}. What you did is kept here, and tried again.`, "problem");
    if (how.kind !== "saved" && how.kind !== "refused") return;
    this.failed = 0;
    this.outage?.remove();
  }

  /** Whether somebody else went on with this review; what they did is told. */
  private async look(): Promise<void> {
    const queue = this.queue;
    if (document.hidden || queue.pending().length) return;
    const before = queue.state();
    try {
      const there = await getJson<Version>(`${this.place}/version${query(queue.state().review_id)}`);
      if (there.version <= queue.state().version) return;
      const state = await getJson<ReviewState>(this.place + query(there.review_id));
      if (state.reviewer !== before.reviewer) return; // somebody else has logged in, in another tab
      if (!queue.adopt(state)) return;
      const since = state.history.slice(before.version);
      const last = since.at(-1);
      if (last === undefined) return;
      const more = since.length > 1 ? ` and ${since.length - 1} more` : "";
      toast(`${person(last.actor)} ${actWords(last.act, state)}${more}; your view is up to date`, "note");
    } catch {
      // looking again later is enough; saving tells of outages
    }
  }
}

/**
 * Takes the token of the present session into the page; after a new log-in, in another tab, it is another one. Not that
 * of somebody else: what was done on this page is never saved under their name. Null where it is not about that.
 */
async function renewCsrf(visitor: string): Promise<string | null> {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="csrf"]');
  try {
    const { csrf, name } = await getJson<{ csrf: string; name: string }>("/api/session");
    if (name !== visitor) return `${person(name)} is logged in in this browser now; log in again as ${person(visitor)}, in another tab, to save them`;
    if (!meta || !csrf || meta.content === csrf) return null;
    meta.content = csrf;
    return "you have logged in anew";
  } catch (error) {
    const answer = answerOf(error);
    return answer.kind === "again" ? answer.why : null;
  }
}

function goOnTyping(): void {
  if (document.activeElement === document.body) document.querySelector<HTMLElement>(".review-field :is(input, textarea)")?.focus();
}

/** Whose page this is; told by the server in its head. */
function visitorOf(state: ReviewState): string {
  return document.querySelector<HTMLMetaElement>('meta[name="visitor"]')?.content || state.reviewer;
}

function query(reviewId: string | null): string {
  return reviewId === null ? "" : `?review=${encodeURIComponent(reviewId)}`;
}

/**
 * The review of a report: the one that is asked for, else the visitor's own. Waits for a server that is away.
 *
 * @throws ApiError there is no such report or review, or it is not for this visitor.
 */
export async function createReviewStore(asked: Asked, late: (why: unknown) => void = () => {}): Promise<Review> {
  const place = `/api/reports/${encodeURIComponent(asked.caseId)}/review`;
  for (let pause = 1000; ; pause = Math.min(8000, 2 * pause)) {
    try {
      const state = await getJson<ReviewState>(place + query(asked.reviewId));
      return new ReviewSession(place, asked, state, visitorOf(state));
    } catch (error) {
      if (answerOf(error).kind !== "again") throw error;
      late(error);
      await new Promise((resolve) => window.setTimeout(resolve, pause));
    }
  }
}
