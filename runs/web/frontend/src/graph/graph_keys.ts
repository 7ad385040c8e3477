// Keys of the graph; they work while the drawing has the focus.

import { registerKey } from "../lib/keys";
import type { Scene } from "./scene";
import type { Stage } from "./stage";
import { Walker } from "./walking";
import type { Step } from "./walking";

export interface KeyedGraph {
  canvas: HTMLCanvasElement;
  scene: Scene;
  stage: Stage;
  select(node: number): void;
  pin(node: number): void;
  filtered(): void;
}

const SECTION = "Attribution graph (click it or tab to it first)";
const PAN = 90;
let ends: (() => void)[] = [];

/** Register the keys; those of a graph that was shown before are dropped. */
export function registerGraphKeys(graph: KeyedGraph): void {
  for (const end of ends) end();
  const { scene, stage } = graph;
  const focused = (): boolean => document.activeElement === graph.canvas;
  const walker = (): Walker => new Walker(scene.data, scene.layout, scene.links, scene.counts);
  const current = (): number => scene.chosen[0] ?? -1;
  const walk = (to: (walker: Walker, from: number) => number): void => {
    const from = current();
    const found = from < 0 ? walker().first() : to(walker(), from);
    if (found < 0) return;
    graph.select(found);
    stage.reveal(found);
  };
  const key = (keys: string | readonly string[], what: string, run: () => void): (() => void) => registerKey({ keys, what, section: SECTION, when: focused, run });
  const step = (keys: string, what: string, direction: Step): (() => void) => key(keys, what, () => walk((w, from) => w.step(from, direction)));
  ends = [
    step("ArrowLeft", "Previous node of the layer", "left"),
    step("ArrowRight", "Next node of the layer", "right"),
    step("ArrowUp", "Nearest node of a higher layer", "up"),
    step("ArrowDown", "Nearest node of a lower layer", "down"),
    key("[", "Along the strongest edge into the node", () => walk((w, from) => w.along(from, "in"))),
    key("]", "Along the strongest edge out of the node", () => walk((w, from) => w.along(from, "out"))),
    key("p", "Pin the node, or unpin it", () => current() >= 0 && graph.pin(current())),
    key("o", "Only pinned nodes, or all", () => {
      if (scene.pinned.size === 0) return;
      scene.filters.pinnedOnly = !scene.filters.pinnedOnly;
      graph.filtered();
    }),
    key(["+", "="], "Zoom in", () => stage.zoom(1.5)),
    key("-", "Zoom out", () => stage.zoom(1 / 1.5)),
    key("0", "Show the whole graph", () => stage.fit()),
    key("Shift+ArrowLeft", "Move left", () => stage.pan(PAN, 0)),
    key("Shift+ArrowRight", "Move right", () => stage.pan(-PAN, 0)),
    key("Shift+ArrowUp", "Move up", () => stage.pan(0, PAN)),
    key("Shift+ArrowDown", "Move down", () => stage.pan(0, -PAN)),
  ];
}
