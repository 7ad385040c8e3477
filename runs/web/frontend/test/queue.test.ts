import assert from "node:assert/strict";
import { test } from "node:test";
import { draftPlace, Drafts, giveBack, othersWaiting } from "../src/review/drafts";
import { ActQueue, type Answer, type Choice, type Doors, type Kept, type Request, type Waiting } from "../src/review/queue";
import type { Act, Conflict, DoneAct, ReviewState } from "../src/review/types";
import { Typing } from "../src/review/typing";

/** A server that keeps acts as the real one does: one list, each act saved only on the version that its sender saw. */
class FakeServer {
  acts: DoneAct[] = [];
  /** What befalls the next requests: an outage before or after saving. */
  faults: ("lost before" | "lost after")[] = [];
  refused = new Set<string>();

  state(): ReviewState {
    return {
      review_id: this.acts.length ? "r1" : null, case_id: "j.0", report_sha256: "", reviewer: "me", version: this.acts.length,
      status: "open", report_decision: "open", supernodes: [], edges: [], labels: [], claims: [], comments: [], undecided: [], graph_kept: true,
      can_undo: false, can_redo: false, history: [...this.acts],
    };
  }

  save(act: Act, actor: string, why = "", act_id: string | null = null): void {
    // as the real one, it may store other words than it was sent
    const clean = act.kind === "comment" ? { ...act, text: act.text.replace("secret", "[redacted]") } : act;
    this.acts.push({ version: this.acts.length + 1, at: "", actor, act: clean, why, undone: false, act_id });
  }

  post(request: Request): Answer {
    const fault = this.faults.shift();
    if (fault === "lost before") return { kind: "again", why: "away" };
    if (this.acts.some(({ act_id }) => act_id === request.act_id)) return { kind: "saved", state: this.state() };
    if (request.expected_version !== this.acts.length) {
      const since = this.acts.slice(request.expected_version);
      const conflict: Conflict = { error: "conflict", message: "", state: this.state(), since };
      return { kind: "conflict", conflict };
    }
    if (this.refused.has(request.act.kind)) return { kind: "refused", why: "not allowed" };
    this.save(request.act, "me", request.why, request.act_id);
    return fault === "lost after" ? { kind: "again", why: "away" } : { kind: "saved", state: this.state() };
  }
}

class World {
  server = new FakeServer();
  asked: { since: DoneAct[]; mine: Waiting[] }[] = [];
  choices: Choice[] = [];
  kept: Kept | null = null;
  dropped: { act: Act; why: string }[] = [];
  timers: (() => void)[] = [];
  inFlight = 0;
  mostInFlight = 0;

  doors(): Doors {
    return {
      send: async (request) => {
        this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
        await new Promise((resolve) => setImmediate(resolve));
        this.inFlight--;
        return this.server.post(request);
      },
      ask: async (conflict, mine) => {
        this.asked.push({ since: conflict.since, mine: [...mine] });
        return this.choices.shift() ?? "on top";
      },
      later: (run) => {
        this.timers.push(run);
        return () => void (this.timers = this.timers.filter((one) => one !== run));
      },
      keep: (kept) => void (this.kept = structuredClone(kept)),
      dropped: ({ act }, why) => void this.dropped.push({ act, why }),
      changed: () => undefined,
    };
  }

  queue(): ActQueue {
    return new ActQueue(this.server.state(), this.doors());
  }

  wake(): void {
    this.timers.shift()?.();
  }
}

const comment = (text: string): Act => ({ kind: "comment", target: "report", text });
const texts = (server: FakeServer): string[] => server.acts.map(({ act }) => (act.kind === "comment" ? act.text : act.kind));
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test("fast acts go one after the other, in order, each on the version before it", async () => {
  const world = new World();
  const queue = world.queue();
  const saved = await Promise.all(["a", "b", "c", "d"].map((text) => queue.act(comment(text))));
  assert.deepEqual(saved, [true, true, true, true]);
  assert.deepEqual(texts(world.server), ["a", "b", "c", "d"]);
  assert.equal(world.mostInFlight, 1);
  assert.equal(queue.state().version, 4);
  assert.deepEqual(queue.saving(), { kind: "saved" });
  assert.equal(world.kept, null);
});

test("a conflict is asked about with both sides, and mine goes on top of theirs", async () => {
  const world = new World();
  const queue = world.queue();
  world.server.save(comment("theirs"), "anna");
  assert.equal(await queue.act(comment("mine")), true);
  assert.equal(world.asked.length, 1);
  assert.deepEqual(world.asked[0]!.since.map(({ actor }) => actor), ["anna"]);
  assert.deepEqual(world.asked[0]!.mine.map(({ act }) => act), [comment("mine")]);
  assert.deepEqual(texts(world.server), ["theirs", "mine"]);
});

test("dropping mine keeps theirs and hands every text back", async () => {
  const world = new World();
  world.choices = ["drop"];
  const queue = world.queue();
  world.server.save(comment("theirs"), "anna");
  const saved = await Promise.all([queue.act(comment("one")), queue.act(comment("two"))]);
  assert.deepEqual(saved, [false, false]);
  assert.deepEqual(texts(world.server), ["theirs"]);
  assert.deepEqual(world.dropped.map(({ act }) => act), [comment("one"), comment("two")]);
  assert.equal(queue.state().version, 1);
});

test("an undo never takes back somebody else's act", async () => {
  const world = new World();
  const queue = world.queue();
  world.server.save(comment("theirs"), "anna");
  assert.equal(await queue.act({ kind: "undo" }), false);
  assert.deepEqual(texts(world.server), ["theirs"]);
  assert.match(world.dropped[0]!.why, /other person/);
});

test("an outage keeps the act, and it is saved once the server is back", async () => {
  const world = new World();
  world.server.faults = ["lost before", "lost before"];
  const queue = world.queue();
  const saved = queue.act(comment("mine"));
  await settle();
  assert.equal(queue.saving().kind, "offline");
  assert.deepEqual(world.kept?.waiting.map(({ act }) => act), [comment("mine")]);
  world.wake();
  await settle();
  assert.equal(queue.saving().kind, "offline");
  queue.hurry();
  assert.equal(await saved, true);
  assert.deepEqual(texts(world.server), ["mine"]);
});

test("an act whose answer was lost is not done twice", async () => {
  const world = new World();
  world.server.faults = ["lost after"];
  const queue = world.queue();
  const saved = queue.act(comment("mine"), "because");
  await settle();
  world.wake();
  assert.equal(await saved, true);
  assert.deepEqual(texts(world.server), ["mine"]);
  assert.equal(world.asked.length, 0);
});

test("what was saved unheard and then overtaken is told apart from what others did", async () => {
  const world = new World();
  world.server.faults = ["lost after"];
  const queue = world.queue();
  const first = queue.act(comment("mine"));
  const second = queue.act(comment("next"));
  await settle();
  world.server.save(comment("theirs"), "anna");
  world.wake();
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
  assert.deepEqual(world.asked.map(({ since }) => since.map(({ actor }) => actor)), [["anna"]]);
  assert.deepEqual(texts(world.server), ["mine", "theirs", "next"]);
});

test("acts survive a reload, and others' acts meanwhile are asked about", async () => {
  const world = new World();
  world.server.faults = ["lost before"];
  void world.queue().act(comment("mine"));
  await settle();
  const kept = structuredClone(world.kept)!;
  world.server.save(comment("theirs"), "anna");
  const after = world.queue();
  after.restore(kept);
  await settle();
  assert.equal(world.asked.length, 1);
  assert.deepEqual(texts(world.server), ["theirs", "mine"]);
  assert.equal(world.kept, null);
});

test("a reload after an unheard save does not do it again", async () => {
  const world = new World();
  world.server.faults = ["lost after"];
  void world.queue().act(comment("mine"));
  await settle();
  const after = world.queue();
  after.restore(structuredClone(world.kept)!);
  await settle();
  assert.deepEqual(texts(world.server), ["mine"]);
  assert.equal(world.asked.length, 0);
});

test("a refused act is told, its text handed back, and those behind it are saved", async () => {
  const world = new World();
  world.server.refused.add("reopen");
  const queue = world.queue();
  const saved = await Promise.all([queue.act({ kind: "reopen" }), queue.act(comment("mine"))]);
  assert.deepEqual(saved, [false, true]);
  assert.deepEqual(world.dropped, [{ act: { kind: "reopen" }, why: "not allowed" }]);
  assert.equal(queue.saving().kind, "refused");
});

test("a newer state is taken only while nothing waits", async () => {
  const world = new World();
  world.server.faults = ["lost before"];
  const queue = world.queue();
  const saved = queue.act(comment("mine"));
  await settle();
  world.server.save(comment("theirs"), "anna");
  assert.equal(queue.adopt(world.server.state()), false);
  world.wake();
  await saved;
  world.server.save(comment("more"), "anna");
  assert.equal(queue.adopt(world.server.state()), true);
  assert.equal(queue.state().version, 3);
});

test("an act made up on an older state than the page shows by now is a conflict", async () => {
  const world = new World();
  world.choices = ["drop", "on top"];
  const queue = world.queue();
  const seen = queue.state().version; // a dialog opens
  await queue.act(comment("mine meanwhile"));
  world.server.save(comment("theirs"), "anna");
  assert.equal(queue.adopt(world.server.state()), true); // behind the dialog
  assert.equal(await queue.act(comment("typed"), "", seen), false);
  assert.deepEqual(world.asked.map(({ since }) => since.map(({ actor }) => actor)), [["anna"]], "what this page did itself is no news");
  assert.deepEqual(texts(world.server), ["mine meanwhile", "theirs"]);
  assert.equal(await queue.act({ kind: "undo" }, "", seen), false, "an undo that was meant for an older state is not done");
  assert.deepEqual(texts(world.server), ["mine meanwhile", "theirs"]);
});

test("an act whose words the server changed, and whose answer was lost, is not done twice", async () => {
  const world = new World();
  world.server.faults = ["lost after"];
  const queue = world.queue();
  const saved = queue.act(comment("my secret"));
  await settle();
  world.server.save(comment("theirs"), "anna");
  world.wake();
  assert.equal(await saved, true);
  assert.deepEqual(texts(world.server), ["my [redacted]", "theirs"]);
  assert.equal(world.asked.length, 0);
});

test("drafts outlive a page, and a storage that fails", () => {
  const held = new Map<string, string>();
  const shelf = { get length() { return held.size; }, key: (i: number) => [...held.keys()][i] ?? null, getItem: (k: string) => held.get(k) ?? null, setItem: (k: string, v: string) => void held.set(k, v), removeItem: (k: string) => void held.delete(k) };
  new Drafts("p.", shelf).set("comment claim:c1", "half a sen");
  assert.equal(new Drafts("p.", shelf).get("comment claim:c1"), "half a sen");
  assert.equal(new Drafts("other.", shelf).get("comment claim:c1"), "");
  const full = { ...shelf, setItem: () => { throw new Error("full"); } };
  const drafts = new Drafts("q.", full);
  drafts.set("x", "text");
  assert.equal(drafts.get("x"), "text");
  drafts.set("x", "");
  assert.equal(drafts.get("x"), "");
});

function memoryShelf(): { length: number; key(i: number): string | null; getItem(k: string): string | null; setItem(k: string, v: string): void; removeItem(k: string): void } {
  const held = new Map<string, string>();
  return { get length() { return held.size; }, key: (i) => [...held.keys()][i] ?? null, getItem: (k) => held.get(k) ?? null, setItem: (k, v) => void held.set(k, v), removeItem: (k) => void held.delete(k) };
}

test("what one visitor left in a tab is not another's", () => {
  const shelf = memoryShelf();
  new Drafts(draftPlace("token:rosa.b", "j.0", null), shelf).set("waiting", "acts");
  assert.equal(new Drafts(draftPlace("token:rosa", "j.0", null), shelf).get("waiting"), "");
  assert.deepEqual(othersWaiting(shelf, "token:ben"), ["token:rosa.b"]);
  assert.deepEqual(othersWaiting(shelf, "token:rosa.b"), []);
});

test("every text of an act that was not done comes back, behind what is typed by now", () => {
  const drafts = new Drafts("p.", null);
  giveBack(drafts, comment("one"));
  giveBack(drafts, comment("two"));
  assert.equal(drafts.get("comment report"), "one\n\ntwo");
  giveBack(drafts, { kind: "close", status: "rejected" }, "it is wrong");
  assert.equal(drafts.get("close"), "it is wrong");
  giveBack(drafts, { kind: "split supernode", supernode: "s1", nodes: ["0_1_1"], label: "the capital" });
  assert.equal(drafts.get("label new"), "the capital");
});

test("a text remembers the version that it was begun on, until it is gone", () => {
  const drafts = new Drafts("p.", null);
  let version = 0;
  const review = { drafts, state: () => ({ version }) as ReviewState };
  new Typing(review, "label s1").keep("half");
  version = 3;
  const again = new Typing(review, "label s1");
  assert.deepEqual([again.seen, again.text], [0, "half"]);
  again.keep("");
  assert.equal(new Typing(review, "label s1").seen, 3);
});
