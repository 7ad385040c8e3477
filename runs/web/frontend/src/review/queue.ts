// Saves acts one after the other, each on the version that its author saw. Nothing that was done is lost on the way:
// what has not been saved is kept beside the page, sent again after an outage, and asked about after a conflict.
// Knows nothing of the page: everything outside comes in through `Doors`.

import type { Act, Conflict, DoneAct, ReviewState, Saving } from "./types";

/** An act that is not saved yet. `seen`: the version that its author saw; `id`: by which the server knows it again. */
export interface Waiting {
  id: string;
  act: Act;
  why: string;
  seen: number;
}

/** What is kept beside the page, so that it survives a reload. */
export interface Kept {
  waiting: Waiting[];
}

export interface Request {
  review_id: string | null;
  expected_version: number;
  act: Act;
  why: string;
  /** The same again is not done again. */
  act_id: string;
}

/** How sending went. `again`: nothing is known to be wrong with the act, the way to the server is. */
export type Answer =
  | { kind: "saved"; state: ReviewState }
  | { kind: "conflict"; conflict: Conflict }
  | { kind: "refused"; why: string }
  | { kind: "again"; why: string };

/** `on top`: theirs stays, mine is done after it. `drop`: mine is not done. */
export type Choice = "on top" | "drop";

export interface Doors {
  send(request: Request): Promise<Answer>;
  /** Asks the person; every act of `since` and of `mine` is to be told. */
  ask(conflict: Conflict, mine: readonly Waiting[]): Promise<Choice>;
  /** Runs something later; the returned function calls it off. */
  later(run: () => void, milliseconds: number): () => void;
  keep(kept: Kept | null): void;
  /** An act was not done: its text, where it has one, must not be lost. */
  dropped(waiting: Waiting, why: string): void;
  changed(): void;
}

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 8000;
const UNDO_IS_BLIND = "not done: it would have taken back the other person's change; press it again if you mean that";

/** An id that nobody has used. (`crypto.randomUUID` is not there on pages without TLS.) */
export function freshId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

interface Item extends Waiting {
  done: (saved: boolean) => void;
}

export class ActQueue {
  private waiting: Item[] = [];
  private running = false;
  private pause = FIRST_PAUSE;
  private callOff: (() => void) | null = null;
  private how: Saving = { kind: "saved" };
  /** Ids of what this page did, or was told of and allowed: none of it is news to its author. */
  private readonly known = new Set<string>();

  constructor(
    private current: ReviewState,
    private readonly doors: Doors,
  ) {}

  state(): ReviewState {
    return this.current;
  }

  saving(): Saving {
    return this.how;
  }

  pending(): readonly Waiting[] {
    return this.waiting;
  }

  /** Takes up what an earlier page left; asks where others have acted since. */
  restore(kept: Kept): void {
    for (const { id, act, why, seen } of kept.waiting) this.push({ id, act, why, seen, done: () => undefined });
    if (this.waiting.length) void this.run();
  }

  /** A newer state, seen by looking; it is only taken while nothing waits. */
  adopt(state: ReviewState): boolean {
    if (this.waiting.length || this.running || state.version <= this.current.version) return false;
    this.current = state;
    this.doors.changed();
    return true;
  }

  act(act: Act, why = "", seen = this.current.version): Promise<boolean> {
    return new Promise((resolve) => {
      this.push({ id: freshId(), act, why, seen, done: resolve });
      this.store();
      if (this.how.kind === "refused") this.how = { kind: "saved" };
      void this.run();
    });
  }

  /** Tries at once instead of after the pause: the network is back, or the person asks. */
  hurry(): void {
    if (this.callOff === null) return;
    this.callOff();
    this.callOff = null;
    void this.run();
  }

  private tell(how: Saving): void {
    this.how = how;
    this.doors.changed();
  }

  private store(): void {
    const waiting = this.waiting.map(({ id, act, why, seen }) => ({ id, act, why, seen }));
    this.doors.keep(waiting.length ? { waiting } : null);
  }

  private push(item: Item): void {
    this.known.add(item.id);
    this.waiting.push(item);
  }

  private finish(item: Item, saved: boolean): void {
    this.waiting = this.waiting.filter((other) => other !== item);
    this.store();
    item.done(saved);
  }

  private async run(): Promise<void> {
    if (this.running || this.callOff !== null) return;
    this.running = true;
    try {
      let refusal: string | null = null;
      for (let item = this.waiting[0]; item !== undefined; item = this.waiting[0]) {
        if (await this.overtaken(item)) continue;
        this.tell({ kind: "saving", waiting: this.waiting.length });
        const version = this.current.version;
        const { act, why, id } = item;
        const answer = await this.doors.send({ review_id: this.current.review_id, expected_version: version, act, why, act_id: id });
        if (answer.kind === "again") {
          this.sleep(answer.why);
          return;
        }
        this.pause = FIRST_PAUSE;
        if (answer.kind === "saved") {
          this.current = answer.state;
          this.finish(item, true);
        } else if (answer.kind === "refused") {
          refusal = answer.why;
          this.finish(item, false);
          this.doors.dropped(item, answer.why);
        } else this.current = answer.conflict.state; // the next turn asks
      }
      this.tell(refusal === null ? { kind: "saved" } : { kind: "refused", why: refusal });
    } finally {
      this.running = false;
    }
  }

  private sleep(why: string): void {
    this.tell({ kind: "offline", waiting: this.waiting.length, why });
    this.callOff = this.doors.later(() => {
      this.callOff = null;
      void this.run();
    }, this.pause);
    this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
  }

  /** What others did that the author of an act has not seen. */
  private news({ seen }: Waiting): DoneAct[] {
    return this.current.history.filter((done) => done.version > seen && (done.act_id === null || !this.known.has(done.act_id)));
  }

  /** Whether the next act has to be looked at again: it is saved already, or what others did before it was asked about. */
  private async overtaken(item: Item): Promise<boolean> {
    if (this.current.history.some(({ act_id }) => act_id === item.id)) {
      this.finish(item, true); // it was saved, and the answer got lost
      return true;
    }
    const since = this.news(item);
    if (!since.length) return false;
    this.tell({ kind: "conflict", waiting: this.waiting.length });
    const asked = [...this.waiting];
    const told = this.current.version;
    const choice = await this.doors.ask({ error: "conflict", message: "", state: this.current, since }, asked);
    for (const one of asked) {
      one.seen = told;
      // an undo on top would take back what the other person did
      const blind = one.act.kind === "undo" || one.act.kind === "redo";
      if (choice === "drop" || blind) {
        this.finish(one, false);
        this.doors.dropped(one, choice === "drop" ? "" : UNDO_IS_BLIND);
      }
    }
    this.store();
    return true;
  }
}
