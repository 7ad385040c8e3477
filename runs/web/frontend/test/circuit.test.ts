import assert from "node:assert/strict";
import { test } from "node:test";
import type { CircuitData } from "../src/circuit/data";
import { layOut, type Rect } from "../src/circuit/layout";
import { modelOf } from "../src/circuit/model";
import { wayInto } from "../src/circuit/revealing";
import { routesOf } from "../src/circuit/routes";
import { estimated, shorten, visible, wrap } from "../src/circuit/text";
import { decisions, nextUndecided, savingWords } from "../src/review/bar_words";
import { actWords, person } from "../src/review/words";
import type { ReviewState, SupernodeState } from "../src/review/types";

const supernode = (id: string, members: string[], more: Partial<SupernodeState> = {}): SupernodeState => ({
  supernode_id: id, label: `label ${id}`, label_before: `label ${id}`, role: "other", role_before: "other", members, members_before: members, decision: "open", rejected_by_report: false, gone: false, changed: false, ...more,
});

const state = (supernodes: SupernodeState[], more: Partial<ReviewState> = {}): ReviewState => ({
  review_id: null, case_id: "j.0", report_sha256: "", reviewer: "token:anna", version: 0, status: "open", report_decision: "open", supernodes, edges: [], labels: [], claims: [], comments: [], undecided: [], graph_kept: true, can_undo: false, can_redo: false, history: [], ...more,
});

function data(more: Partial<CircuitData> = {}): CircuitData {
  const words = ["the", "capital", "of", "Texas", "is"];
  return {
    case_id: "j.0",
    tokens: words.map((text, position) => ({ position, text, node_id: `E_${position}_${position}` })),
    targets: [{ node_id: "9_1_4", text: "Austin", probability: 0.9 }],
    nodes: [], supernodes: [], edge_claims: [], has_graph: true, ...more,
  };
}

const apart = (a: Rect, b: Rect): boolean => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
const still = { expanded: new Set<string>(), showLoose: false, moved: new Map(), room: 900, tall: 0 };

test("boxes never overlap, expanded or not, and stand inside the drawing", () => {
  const many = Array.from({ length: 40 }, (_, i) => supernode(`s${i + 1}`, Array.from({ length: 1 + (i % 4) }, (_, k) => `${i % 6}_${100 * i + k}_${(i * i) % 5}`), { label: "a label of several long words ".repeat(1 + (i % 3)) }));
  const model = modelOf(data(), state(many));
  for (const expanded of [new Set<string>(), new Set(many.map((one) => one.supernode_id))]) {
    const placed = layOut(model, { ...still, expanded }, estimated);
    const rects = [...placed.boxes.values(), ...placed.ends.values()];
    assert.equal(placed.boxes.size, 40);
    rects.forEach((a, i) => rects.slice(i + 1).forEach((b) => assert.ok(apart(a, b))));
    for (const { x, y, width, height } of rects) assert.ok(x >= 0 && y >= 0 && x + width <= placed.width && y + height <= placed.height);
    for (const pill of placed.members) {
      const home = placed.boxes.get(pill.home!)!;
      assert.ok(pill.x >= home.x && pill.x + pill.width <= home.x + home.width && pill.y + pill.height <= home.y + home.height);
    }
  }
});

test("tokens run along x, layers go up, the answer stands on top", () => {
  const model = modelOf(data(), state([supernode("s1", ["1_1_1"]), supernode("s2", ["3_1_1"]), supernode("s3", ["1_2_3"])]));
  const placed = layOut(model, still, estimated);
  const y = (id: string): number => placed.boxes.get(id)!.y;
  assert.ok(y("s2") < y("s1"));
  assert.ok(placed.boxes.get("s3")!.x > placed.boxes.get("s1")!.x);
  assert.ok(placed.ends.get("9_1_4")!.y < y("s2"));
  assert.ok(placed.ends.get("E_1_1")!.y > y("s1"));
});

test("lines go round boxes that stand in their way", () => {
  const between = Array.from({ length: 3 }, (_, i) => supernode(`s${i + 2}`, [`${i + 2}_1_1`]));
  const edge = { source: "s1", destination: "s9", weight: 2, sign: 1 as const, sign_before: 1 as const, decision: "open" as const, weight_before: null, origin: "report" as const, stale: false };
  const model = modelOf(data(), state([supernode("s1", ["1_1_1"]), ...between, supernode("s9", ["7_1_1"])], { edges: [edge] }));
  const placed = layOut(model, still, estimated);
  const [route] = routesOf(model.links, placed, new Set());
  const points = [...route!.path.matchAll(/(-?[\d.]+) (-?[\d.]+)/g)].map((found) => ({ x: Number(found[1]), y: Number(found[2]) }));
  const middles = between.map((one) => placed.boxes.get(one.supernode_id)!);
  assert.ok(points.some(({ x }) => middles.every((box) => x < box.x || x > box.x + box.width)), "somewhere it passes beside all of them");
});

test("links of regrouped supernodes are drawn as the graph has them, and what was measured of other members is not", () => {
  const link = { weight: 0.5, weight_before: 0.4, sign: 1 as const, sign_before: 1 as const, decision: "open" as const, stale: false };
  const edges = [{ ...link, source: "s1", destination: "s2", origin: "graph" as const }, { ...link, source: "s2", destination: "s3", origin: "report" as const, stale: true }];
  const claims = edges.map(({ source, destination }, at) => ({ source, destination, claim_id: `c${at}`, outcome: "supported" as const }));
  const measured = ["s1", "s2"].map((supernode_id) => ({ supernode_id, influence: 0.5, outcomes: { supported: 1 } }));
  const all = [supernode("s1", ["0_1_1"]), supernode("s2", ["0_2_3"], { changed: true }), supernode("s3", ["2_3_4"])];
  const model = modelOf(data({ edge_claims: claims, supernodes: measured }), state(all, { edges }));
  assert.deepEqual(model.links.map(({ weight, stale, changed, claim }) => [weight, stale, changed, claim]), [[0.5, false, true, null], [0.5, true, false, null]]);
  assert.deepEqual(model.boxes.map(({ outcomes, changed }) => [outcomes, changed]), [[{ supported: 1 }, []], [{}, ["members"]], [{}, []]]);
});

test("of very many links the strongest of every end are drawn, and all of what is selected", () => {
  const supernodes = Array.from({ length: 30 }, (_, i) => supernode(`s${i + 1}`, [`${i % 5}_${i}_1`]));
  const edges = supernodes.flatMap((a, i) => supernodes.slice(0, i).map((b, k) => ({ source: b.supernode_id, destination: a.supernode_id, weight: 1 + ((i * 31 + k * 17) % 97), sign: 1 as const, sign_before: 1 as const, decision: "open" as const, weight_before: null, origin: "report" as const, stale: false })));
  const model = modelOf(data(), state(supernodes, { edges }));
  assert.equal(model.links.length + model.undrawn, edges.length);
  assert.equal(model.links.length, 60);
  const chosen = modelOf(data(), state(supernodes, { edges }), "s30");
  assert.equal(chosen.links.filter(({ destination }) => destination === "s30").length, 29);
});

test("what others write is shown whole and without tricks", () => {
  assert.equal(visible("a\u202eb\u0000\n"), "a⟨U+202E⟩b⟨U+0000⟩ ");
  assert.equal(visible("👩\u200d🔬 ok"), "👩\u200d🔬 ok");
  assert.deepEqual(wrap("one two three", 60, 13, 2, estimated).length, 2);
  assert.ok(shorten("x".repeat(500), 100, 13, estimated).endsWith("…"));
  assert.ok(estimated(shorten("wide words ".repeat(50), 100, 13, estimated), 13) <= 100);
});

test("what was corrected is decided", () => {
  const decided = (one: ReviewState): boolean[] => decisions(one).map((found) => found.decided);
  const nodes = [supernode("s1", ["0_1_1"]), supernode("s2", ["0_2_1"], { label: "new" }), supernode("s3", ["0_3_1"], { role: "input" }), supernode("s4", ["0_4_1"], { changed: true })];
  assert.deepEqual(decided(state(nodes)), [false, true, true, true]);
  const edge = { source: "s1", destination: "s2", weight: 1, weight_before: 1, sign: 1 as const, sign_before: 1 as const, decision: "open" as const, origin: "report" as const, stale: false };
  assert.deepEqual(decided(state([], { edges: [edge, { ...edge, sign: -1 }, { ...edge, origin: "reviewer" }, { ...edge, origin: "graph" }] })), [false, true, true, false]);
  const label = { layer: 0, feature: 1, text: "a", text_before: "a", decision: "open" as const };
  assert.deepEqual(decided(state([], { labels: [label, { ...label, text: "b" }, { ...label, feature: 11 }], undecided: ["0_11_7"] })), [false, true, true]);
});

test("the next undecided thing comes after the selected one, and round again", () => {
  const claims = [{ claim_id: "c1", decision: "open" as const, weight_before: null, origin: "report" as const, stale: false }, { claim_id: "c2", decision: "accepted" as const }];
  const one = state([supernode("s1", ["0_1_1"], { decision: "accepted" }), supernode("s2", ["0_2_1"]), supernode("s3", [], { gone: true })], { claims });
  assert.deepEqual(decisions(one).map(({ target }) => target), ["supernode:s1", "supernode:s2", "claim:c1", "claim:c2"]);
  assert.equal(nextUndecided(one, null), "supernode:s2");
  assert.equal(nextUndecided(one, "supernode:s2"), "claim:c1");
  assert.equal(nextUndecided(one, "claim:c1"), "supernode:s2");
  assert.equal(nextUndecided(state([supernode("s1", ["0_1_1"], { decision: "rejected" })]), null), null);
});

test("saving and acts are told in words", () => {
  assert.match(savingWords({ kind: "offline", waiting: 2, why: "the server cannot be reached" }, 3).words, /^2 changes not saved: the server cannot be reached/);
  assert.equal(savingWords({ kind: "saved" }, 12).words, "All saved, version 12");
  assert.equal(person("token:anna"), "anna");
  const here = state([supernode("s1", ["0_1_1"]), supernode("s2", ["0_2_1"])]);
  assert.equal(actWords({ kind: "merge supernodes", supernodes: ["s1"], into: "s2" }, here), "merged “label s1” (s1) into “label s2” (s2)");
  assert.equal(actWords({ kind: "move nodes", nodes: ["0_1_1"], to: null }, here), "took 1 feature out of its supernode");
});

test("what is selected is panned to only as far as it must be", () => {
  assert.equal(wayInto(100, 150, 0, 300), 0);
  assert.equal(wayInto(280, 330, 0, 300), 50);
  assert.equal(wayInto(-10, 40, 0, 300), -30);
  assert.equal(wayInto(-500, 900, 0, 300), 0, "of what is longer than the window a part is there");
  assert.equal(wayInto(400, 900, 0, 300), 380, "and where none is, its beginning comes");
});
