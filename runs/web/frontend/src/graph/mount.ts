// The full attribution graph of a report, in `#circuit-graph`: the canvas, its bar, its table, and how it follows the
// page's selection and the review.

import { announce, toast } from "../lib/announce";
import { getBytes, messageOf, withQuery } from "../lib/api";
import { h, replace } from "../lib/dom";
import type { Permissions, Selection } from "../report/context";
import { askKept } from "../review/doing";
import { NEW_LABEL } from "../review/drafts";
import { MAX_LABEL } from "../review/types";
import type { Review } from "../review/types";
import { Controls } from "./controls";
import { Groups } from "./groups";
import { registerGraphKeys } from "./graph_keys";
import { NodeList } from "./node_list";
import { loadPins, savePins } from "./pins";
import { Scene } from "./scene";
import { Stage } from "./stage";
import { nodesOf, targetOf } from "./targets";
import { Tooltip } from "./tooltip";
import { FEATURE, decodeGraph } from "./wire";
import type { GraphData } from "./wire";
import { count, nameOf, sentenceOf } from "./words";

const MOST_EDGES = 2_000_000;

/** What the graph needs of the page. It is drawn before the review is there; supernodes and labels follow. */
export interface GraphContext {
  readonly caseId: string;
  readonly may: Permissions;
  readonly selection: Selection;
  /** Rejected where there is none; the page tells it. */
  readonly review: Promise<Review>;
}

/** Fetch and show the graph. A graph that cannot be had is told in its place. */
export async function mount(root: HTMLElement, context: GraphContext): Promise<void> {
  replace(root, h("p", { class: "quiet", role: "status" }, "Loading the attribution graph…"));
  try {
    show(root, context, await fetched(context));
  } catch (cause) {
    replace(root, h("p", { class: "note note-problem", role: "alert" }, messageOf(cause)), h("button", { type: "button", class: "button", onclick: () => void mount(root, context) }, "Try again"));
  }
}

/** Without `edges` this is the address that the page's head has begun to load. */
async function fetched(context: GraphContext, edges?: number): Promise<GraphData> {
  return decodeGraph(await getBytes(withQuery(`/api/reports/${encodeURIComponent(context.caseId)}/graph`, { edges })));
}

function show(root: HTMLElement, context: GraphContext, data: GraphData): void {
  if (data.nNodes === 0) {
    replace(root, h("p", { class: "empty" }, "This graph has no nodes."));
    return;
  }
  const scene = new Scene(data, root.clientWidth > 700 ? 1.9 : 0.8);
  for (const id of loadPins(context.caseId)) {
    const node = scene.indexOf.get(id);
    if (node !== undefined) scene.pinned.add(node);
  }
  const canvas = h("canvas", { class: "graph-canvas", tabindex: 0, role: "application", "aria-roledescription": "attribution graph", "aria-label": `Attribution graph of ${count(data.nNodesTotal, "node")} and ${count(data.nEdgesTotal, "edge")}. Arrow keys walk from node to node, square brackets along the strongest edges, p pins, question mark lists all keys. The table of nodes below has the same nodes.` });
  const holder = h("div", { class: "graph-stage" }, canvas);
  const use = matchMedia("(pointer: coarse)").matches ? "Tap selects and shows edges. One finger moves the graph sideways and the page up and down; two fingers move the graph and zoom." : "Click selects and shows edges, Ctrl or ⌘ and click pins. Drag moves; once the graph has the focus, the wheel zooms.";
  // a region of its own: the page tells what is selected in other words at the same moment
  const hint = h("p", { class: "quiet small graph-hint", role: "status" }, use);
  const tooltip = new Tooltip(holder, scene);
  const list = new NodeList(scene, (node) => select(node), (node) => pin(node));
  const controls = new Controls(scene, {
    find: (text) => list.find(text),
    next: () => toNext(),
    filtered: () => filtered(),
    fit: () => stage.fit(),
    zoom: (factor) => stage.zoom(factor),
    pin: () => scene.chosen.length === 1 && pin(scene.chosen[0]!),
    unpin: () => {
      scene.pinned.clear();
      scene.filters.pinnedOnly = false;
      pinsChanged();
      announce("Nothing is pinned.");
    },
    group: context.may.review ? () => void makeSupernode() : null,
    more: data.nEdges < data.nEdgesTotal && data.nEdges < MOST_EDGES ? () => void fetchMore() : null,
  });
  replace(root, controls.element, holder, h("div", { class: "graph-below" }, hint, controls.told), controls.legend, list.element);
  const stage = new Stage(canvas, scene, {
    hovered: (node, at) => tooltip.show(node, at),
    clicked: (node, pins) => {
      canvas.focus({ preventScroll: true });
      if (pins && node >= 0) pin(node);
      else select(node);
    },
  });

  function select(node: number): void {
    const target = node < 0 ? null : targetOf(data, node);
    if (node >= 0 && target === null) follow([node]); // an id that links cannot carry
    else context.selection.set(target);
  }

  /** Show what is selected. */
  function follow(nodes: readonly number[], reveal = false): void {
    scene.choose(nodes);
    scene.filter();
    canvas.dataset.selected = nodes.map((node) => data.ids[node]).slice(0, 20).join(" ");
    list.refresh();
    controls.refresh();
    stage.changed();
    hint.textContent = nodes[0] === undefined ? use : nodes.length === 1 ? told(nodes[0]) : `${count(nodes.length, "node")} selected.`;
    if (reveal && nodes[0] !== undefined) stage.reveal(nodes[0]);
  }

  function told(node: number): string {
    const group = scene.groups.groupOf(node);
    const more = [...(group ? [`in supernode ${group.name}`] : []), ...(scene.pinned.has(node) ? ["pinned"] : [])];
    const name = nameOf(data, node, (n) => scene.groups.labelOf(n));
    return sentenceOf(data, node, name, scene.links.into(node).length, scene.links.outOf(node).length, more);
  }

  function filtered(): void {
    scene.filter();
    controls.refresh();
    list.refresh();
    stage.redraw();
  }

  function pin(node: number): void {
    const now = !scene.pinned.delete(node);
    if (now) scene.pinned.add(node);
    if (scene.pinned.size === 0) scene.filters.pinnedOnly = false;
    pinsChanged();
    announce(`${nameOf(data, node, (n) => scene.groups.labelOf(n))} ${now ? "pinned" : "no longer pinned"}; ${count(scene.pinned.size, "node")} pinned.`);
  }

  function pinsChanged(): void {
    savePins(context.caseId, [...scene.pinned].map((node) => data.ids[node]!));
    if (scene.filters.pinnedOnly) return filtered();
    scene.filter();
    controls.refresh();
    list.refresh();
    stage.changed();
  }

  function toNext(): void {
    const found = list.found();
    const at = found.indexOf(scene.chosen[0] ?? -1);
    const node = found[(at + 1) % Math.max(1, found.length)];
    if (node === undefined) return announce("No node is found.");
    select(node);
    stage.closeUp(node);
    announce(`${at + 2 > found.length ? 1 : at + 2} of ${found.length} found.`);
  }

  async function makeSupernode(): Promise<void> {
    const nodes = [...scene.pinned].filter((node) => data.kind[node] === FEATURE).map((node) => data.ids[node]!);
    if (!nodes.length) return void toast("Pin features first: tokens, errors and outputs belong to no supernode.", "note");
    const review = await context.review.catch(() => null);
    if (review === null) return void toast("The review cannot be opened, so nothing can be changed now.", "problem");
    const question = { title: `A supernode of ${count(nodes.length, "feature")}`, text: "They leave the supernodes that they are in now. Undo takes it back.", label: "What do they stand for together?", maxLength: MAX_LABEL, yes: "Make it" };
    await askKept({ may: context.may, review }, NEW_LABEL, question, async (label, seen) => {
      const made = await review.act({ kind: "add supernode", nodes, label, role: "other" }, "", seen);
      if (made) toast(`Supernode “${label}” made of ${count(nodes.length, "feature")}.`);
      return made;
    });
  }

  async function fetchMore(): Promise<void> {
    try {
      show(root, context, await fetched(context, Math.min(MOST_EDGES, data.nEdges * 4)));
    } catch (cause) {
      toast(messageOf(cause), "problem");
    }
  }

  function regroup(review: Review): void {
    scene.groups = new Groups(data, scene.indexOf, review.state());
    list.refresh();
    stage.changed();
  }

  registerGraphKeys({ canvas, scene, stage, select, pin, filtered });
  const followSelection = (): void => follow(nodesOf(context.selection.get(), scene), true);
  context.selection.subscribe(followSelection);
  followSelection();
  context.review.then(
    (review) => {
      review.subscribe(() => regroup(review));
      regroup(review);
      if (scene.chosen.length === 0) followSelection(); // a supernode is known only now
      else follow(scene.chosen);
    },
    () => undefined,
  );
}
