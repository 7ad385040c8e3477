// The full graph without a page: reading the block, places, picking, walking, the camera, what a selection means.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fitted, kept, wheelStep } from "../src/graph/camera";
import { edgeStyles } from "../src/graph/edge_styles";
import { Groups } from "../src/graph/groups";
import { layOut, STEP } from "../src/graph/layout";
import { Links } from "../src/graph/links";
import { Picker } from "../src/graph/picking";
import { CHOSEN, FED, FEEDS, NOT_NEAR, Scene } from "../src/graph/scene";
import { nodesOf, targetOf } from "../src/graph/targets";
import { Walker } from "../src/graph/walking";
import { decodeGraph, EMBEDDING, ERROR, FEATURE, LOGIT } from "../src/graph/wire";
import type { GraphData } from "../src/graph/wire";
import { nameOf, outputText } from "../src/graph/words";

type Row = [kind: number, layer: number, position: number, feature: number, id: string];

/** A graph of two tokens and two layers: E0, E1 -> f (layer 0), g (layer 1) -> two outputs, and an error. */
function small(): GraphData {
  const rows: Row[] = [
    [FEATURE, 0, 0, 5, "0_5_0"],
    [FEATURE, 0, 1, 6, "0_6_1"],
    [FEATURE, 1, 1, 7, "1_7_1"],
    [ERROR, 1, 0, -1, "1_-1_0"],
    [EMBEDDING, -1, 0, 100, "E_100_0"],
    [EMBEDDING, -1, 1, 101, "E_101_1"],
    [LOGIT, 2, 1, 200, "3_200_1"],
    [LOGIT, 2, 1, 201, "3_201_1"],
  ];
  const links: [number, number, number][] = [
    [2, 6, 4],
    [0, 2, 3],
    [1, 2, -2],
    [4, 0, 1],
    [5, 1, 0.5],
    [3, 7, -0.25],
  ];
  return {
    nNodes: rows.length,
    nEdges: links.length,
    nLayers: 2,
    tokens: ["the", "end"],
    ids: rows.map((row) => row[4]),
    labels: rows.map((row) => (row[0] === LOGIT ? `Output " word${row[3]}" (p=0.500)` : "")),
    nNodesTotal: rows.length,
    nEdgesTotal: links.length,
    weightTotal: 10.75,
    kind: Uint8Array.from(rows, (row) => row[0]),
    layer: Int32Array.from(rows, (row) => row[1]),
    position: Int32Array.from(rows, (row) => row[2]),
    feature: Int32Array.from(rows, (row) => row[3]),
    activation: Float32Array.of(2, 1, 3, NaN, NaN, NaN, 0.9, 0.1),
    influence: Float32Array.of(0.2, 0.6, 0.1, 0.95, 0.3, 0.7, NaN, NaN),
    slot: Uint32Array.of(0, 0, 0, 0, 0, 0, 0, 1),
    source: Uint16Array.from(links, (link) => link[0]),
    target: Uint16Array.from(links, (link) => link[1]),
    weight: Float32Array.from(links, (link) => link[2]),
  };
}

/** Many features in few cells. */
function crowded(nPerCell: number, nTokens: number, nLayers: number): GraphData {
  const base = small();
  const n = nPerCell * nTokens * nLayers;
  const cell = (node: number): number => Math.floor(node / nPerCell);
  const column = (fill: (node: number) => number): Int32Array => Int32Array.from({ length: n }, (_, node) => fill(node));
  return {
    ...base,
    nNodes: n,
    nEdges: 0,
    nLayers,
    tokens: Array.from({ length: nTokens }, (_, i) => `t${i}`),
    ids: Array.from({ length: n }, (_, i) => `n${i}`),
    labels: Array.from({ length: n }, () => ""),
    kind: new Uint8Array(n),
    layer: column((node) => Math.floor(cell(node) / nTokens)),
    position: column((node) => cell(node) % nTokens),
    feature: column((node) => node),
    activation: new Float32Array(n),
    influence: new Float32Array(n),
    slot: Uint32Array.from({ length: n }, (_, node) => node % nPerCell),
    source: new Uint16Array(0),
    target: new Uint16Array(0),
    weight: new Float32Array(0),
  };
}

function block(header: object, arrays: [string, string, ArrayBufferView][]): ArrayBuffer {
  let offset = 0;
  const places = arrays.map(([name, type, view]) => {
    const place = { name, type, offset, length: view.byteLength / Number(type[1]) };
    offset += view.byteLength + ((4 - (view.byteLength % 4)) % 4);
    return place;
  });
  let text = new TextEncoder().encode(JSON.stringify({ ...header, arrays: places }));
  text = Uint8Array.of(...text, ...new Array<number>((4 - (text.length % 4)) % 4).fill(32));
  const out = new Uint8Array(12 + text.length + offset);
  out.set(new TextEncoder().encode("TSVG"));
  new DataView(out.buffer).setUint32(4, 1, true);
  new DataView(out.buffer).setUint32(8, text.length, true);
  out.set(text, 12);
  arrays.forEach(([, , view], i) => out.set(new Uint8Array(view.buffer), 12 + text.length + places[i]!.offset));
  return out.buffer;
}

function whole(): ArrayBuffer {
  const g = small();
  const header = { n_layers: 2, tokens: g.tokens, ids: g.ids, labels: g.labels, n_nodes_total: 9, n_edges_total: 60, absolute_weight_total: 11 };
  return block(header, [
    ["kind", "u1", g.kind], ["layer", "i4", g.layer], ["position", "i4", g.position], ["feature", "i4", g.feature], ["activation", "f4", g.activation],
    ["influence", "f4", g.influence], ["slot", "u4", g.slot], ["source", "u2", g.source], ["target", "u2", g.target], ["weight", "f4", g.weight],
  ]);
}

test("a block is read into columns", () => {
  const read = decodeGraph(whole());
  const g = small();
  assert.deepEqual([...read.kind], [...g.kind]);
  assert.deepEqual([...read.weight], [...g.weight]);
  assert.deepEqual([...read.source], [...g.source]);
  assert.deepEqual(read.ids, g.ids);
  assert.equal(read.nNodesTotal, 9);
  assert.equal(read.nEdgesTotal, 60);
});

test("a block that is cut off, of another format or without a column is refused in words", () => {
  const good = whole();
  for (const cut of [0, 4, 11, 30, good.byteLength - 1]) assert.throws(() => decodeGraph(good.slice(0, cut)), /reload the page/i);
  const other = good.slice(0);
  new Uint8Array(other)[0] = 88;
  assert.throws(() => decodeGraph(other), /another format/);
  assert.throws(() => decodeGraph(block({ ids: [], tokens: [], labels: [], n_layers: 1, n_nodes_total: 0, n_edges_total: 0, absolute_weight_total: 0 }, [])), /without its weight/);
});

test("tokens go along x, layers up, tokens of the prompt lowest and outputs on top", () => {
  const g = small();
  const { x, y } = layOut(g);
  assert.ok(x[0]! < x[1]!, "a later token stands further right");
  assert.equal(x[1], x[2], "one token, one column");
  assert.ok(y[5]! > y[1]! && y[1]! > y[2]! && y[2]! > y[7]!, "embedding, layer 0, layer 1, output");
  assert.ok(y[6]! < y[7]!, "the most probable output is the highest");
});

test("no two nodes share a place, and every node is within its row and column", () => {
  for (const [n, tokens, layers, aspect] of [[1, 1, 1, 1.8], [13, 5, 3, 1.8], [40, 8, 12, 0.6], [7, 40, 26, 2.2]] as const) {
    const g = crowded(n, tokens, layers);
    const layout = layOut(g, aspect);
    const places = new Set<string>();
    for (let node = 0; node < g.nNodes; node++) {
      places.add(`${layout.x[node]!.toFixed(2)} ${layout.y[node]!.toFixed(2)}`);
      const column = layout.columns[g.position[node]!]!;
      const row = layout.rows[g.layer[node]! + 1]!;
      assert.ok(Math.abs(layout.x[node]! - column.x) < column.width / 2 && Math.abs(layout.y[node]! - row.y) < row.height / 2);
      assert.ok(layout.x[node]! >= 0 && layout.x[node]! <= layout.width && layout.y[node]! >= 0 && layout.y[node]! <= layout.height);
    }
    assert.equal(places.size, g.nNodes);
  }
});

test("a place of another shape folds the cells otherwise", () => {
  const g = crowded(30, 10, 10);
  const [wide, tall] = [layOut(g, 3), layOut(g, 0.4)];
  assert.ok(wide.width / wide.height > 1.9, `${wide.width / wide.height}`);
  assert.ok(tall.width / tall.height < 0.7, `${tall.width / tall.height}`);
});

test("the picker finds what a search over all nodes finds", () => {
  const g = crowded(9, 12, 8);
  const layout = layOut(g);
  const drawn = Uint8Array.from({ length: g.nNodes }, (_, node) => (node % 3 ? 1 : 0));
  const picker = new Picker(layout, drawn);
  let seed = 7;
  const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
  let hits = 0;
  for (let i = 0; i < 400; i++) {
    const [x, y, reach] = [random() * layout.width, random() * layout.height, 2 + random() * 30];
    let best = -1;
    let distance = reach;
    for (let node = 0; node < g.nNodes; node++) {
      const found = Math.hypot(layout.x[node]! - x, layout.y[node]! - y);
      if (node % 3 && found < distance) [best, distance] = [node, found];
    }
    const picked = picker.nearest(x, y, reach);
    if (best >= 0) hits++;
    assert.equal(picked, best);
  }
  assert.ok(hits > 100, "the points fall on the graph");
  assert.equal(picker.nearest(-1e6, 5, STEP), -1);
});

test("links come by node, strongest first", () => {
  const links = new Links(small());
  assert.deepEqual([...links.into(2)], [1, 2]);
  assert.deepEqual([...links.outOf(2)], [0]);
  assert.deepEqual([...links.into(4)], []);
});

test("keys walk to neighbours and along the strongest edges", () => {
  const g = small();
  const scene = new Scene(g, 1.8);
  const walker = new Walker(g, scene.layout, scene.links, scene.counts);
  assert.equal(walker.first(), 6);
  assert.equal(walker.step(0, "right"), 1);
  assert.equal(walker.step(1, "left"), 0);
  assert.equal(walker.step(0, "left"), 0, "at the border one stays");
  assert.equal(walker.step(1, "up"), 2);
  assert.equal(walker.step(2, "down"), 1, "the nearest of the layer below");
  assert.equal(walker.step(6, "down"), 2);
  assert.equal(walker.along(2, "in"), 0, "the strongest edge, not the nearest node");
  assert.equal(walker.along(2, "out"), 6);
  assert.equal(walker.along(4, "in"), 4);
});

test("every node is reached by left and right within its layer", () => {
  const g = crowded(6, 4, 2);
  const scene = new Scene(g, 1);
  const walker = new Walker(g, scene.layout, scene.links, scene.counts);
  let node = 0;
  for (let i = 0; i < 100; i++) node = walker.step(node, "left");
  const seen = new Set([node]);
  for (let i = 0; i < 100; i++) seen.add((node = walker.step(node, "right")));
  assert.equal(seen.size, 24);
});

test("filters hide nodes and their edges, never what is chosen or pinned", () => {
  const scene = new Scene(small(), 1.8);
  scene.filters.influence = 0.5;
  scene.filters.errors = false;
  scene.filter();
  assert.deepEqual([...scene.shown], [1, 0, 1, 0, 1, 0, 1, 1]);
  assert.equal(scene.edgeCounts(1), true);
  assert.equal(scene.edgeCounts(2), false);
  scene.pinned.add(1);
  scene.choose([3]);
  scene.filter();
  assert.deepEqual([...scene.shown], [1, 1, 1, 1, 1, 0, 1, 1]);
  scene.filters.pinnedOnly = true;
  scene.choose([]);
  scene.filter();
  assert.deepEqual([...scene.shown], [0, 1, 0, 0, 0, 0, 0, 0]);
});

test("what is chosen has its inputs and outputs about it", () => {
  const scene = new Scene(small(), 1.8);
  scene.choose([2]);
  assert.deepEqual([...scene.near], [FEEDS, FEEDS, CHOSEN, NOT_NEAR, NOT_NEAR, NOT_NEAR, FED, NOT_NEAR]);
  assert.deepEqual(scene.nearEdges, [2, 1, 0], "weakest first, so that the strongest lie on top");
});

test("what is hidden is not picked, and is again once it is shown", () => {
  const scene = new Scene(small(), 1.8);
  const [x, y] = [scene.layout.x[3]!, scene.layout.y[3]!];
  assert.equal(scene.picker.nearest(x, y, STEP), 3);
  scene.filters.errors = false;
  scene.filter();
  assert.notEqual(scene.picker.nearest(x, y, STEP), 3);
  scene.filters.errors = true;
  scene.filter();
  assert.equal(scene.picker.nearest(x, y, STEP), 3);
});

test("the whole graph fits, and it stays in sight wherever it is moved", () => {
  const world = { width: 500, height: 300 };
  const place = { width: 800, height: 600 };
  const view = fitted(world, place, { left: 60, right: 100, top: 10, bottom: 60 });
  assert.ok(view.x >= 60 && view.x + world.width * view.k <= 700.001 && view.y + world.height * view.k <= 540.001);
  const lost = kept({ k: 1, x: 1e6, y: -1e6 }, world, place);
  assert.ok(lost.x < place.width && lost.y + world.height > 0);
});

test("one turn of a wheel never zooms far, whatever the device tells", () => {
  const turn = { deltaMode: 0, ctrlKey: false };
  assert.ok(wheelStep({ ...turn, deltaY: -100 }) > 0.2);
  assert.equal(wheelStep({ ...turn, deltaY: 100 }), -wheelStep({ ...turn, deltaY: -100 }));
  for (const deltaY of [-120, -5000]) assert.ok(2 ** wheelStep({ ...turn, deltaY, ctrlKey: true }) < 1.5);
  assert.ok(wheelStep({ ...turn, deltaY: -3, ctrlKey: true }) > wheelStep({ ...turn, deltaY: -3 }), "a pinch comes in small steps");
});

test("supernodes and labels of the review lie over the graph; ids that are not in it are left out", () => {
  const g = small();
  const scene = new Scene(g, 1.8);
  const supernode = { label: "says it", label_before: null, role: "output", role_before: null, members_before: [], rejected_by_report: false } as const;
  scene.groups = new Groups(g, scene.indexOf, {
    supernodes: [
      { ...supernode, supernode_id: "s1", members: ["1_7_1", "9_9_9"], members_before: [], decision: "open", gone: false, changed: true },
      { ...supernode, supernode_id: "s2", members: ["0_5_0"], members_before: [], decision: "rejected", gone: false, changed: true },
      { ...supernode, supernode_id: "s3", members: ["0_6_1"], members_before: [], decision: "open", gone: true, changed: true },
    ],
    labels: [{ layer: 1, feature: 7, text: "the end", text_before: null, decision: "open" }],
  });
  assert.deepEqual(scene.groups.all.map((group) => [group.id, [...group.nodes], group.rejected]), [["s1", [2], false], ["s2", [0], true]]);
  assert.equal(scene.groups.groupOf(1), null);
  assert.equal(nameOf(g, 2, (node) => scene.groups.labelOf(node)), "the end");
  assert.equal(nameOf(g, 1, (node) => scene.groups.labelOf(node)), "feature 0/6");
  assert.deepEqual(nodesOf("supernode:s1", scene), [2]);
  assert.deepEqual(nodesOf("edge:s2>3_200_1", scene), [0, 6]);
  assert.deepEqual(nodesOf("feature:1/7", scene), [2]);
  assert.deepEqual(nodesOf("node:E_101_1", scene), [5]);
  for (const nothing of ["claim:c1", "node:9_9_9", "sentence:2", null, "nonsense"]) assert.deepEqual(nodesOf(nothing, scene), []);
  assert.equal(targetOf(g, 3), "node:1_-1_0");
  assert.equal(targetOf({ ...g, ids: ["a.b"] }, 0), null, "no link carries this id");
});

test("outputs are named by their token, whatever it holds", () => {
  const g = { ...small(), labels: ['Output " "quoted"" (p=0.500)', "plain (p = 0.1)", "", "x".repeat(5)] };
  assert.equal(outputText(g, 0), '"quoted"');
  assert.equal(outputText(g, 1), "plain");
  assert.equal(outputText(g, 2), "token 7");
});

test("stronger edges are never fainter or thinner, and there is no faint edge of full colour", () => {
  const n = 20_000;
  const g = { ...small(), nEdges: n, weight: Float32Array.from({ length: n }, (_, i) => (i % 2 ? 1 : -1) * (50 / (i + 1))) };
  const styles = edgeStyles(g);
  for (let edge = 1; edge < n; edge += 37) {
    assert.ok(styles.alpha(edge) <= styles.alpha(edge - 1) + 1e-9);
    assert.ok(styles.width(edge) <= styles.width(edge - 1) + 1e-9);
  }
  assert.ok(styles.alpha(n - 1) < 0.05 && styles.alpha(n - 1) > 0);
});
