// The pointer in the drawing: select, pick several, move boxes by hand, and drag features and supernodes to where they belong.
// A finger selects and scrolls; what it cannot drag it does by the buttons beside the drawing.

import { svg } from "../lib/dom";
import { askMerge, askMove, mayAct, place } from "../review/doing";
import type { Stage } from "./stage";

const FAR = 5;

interface Drag {
  kind: "member" | "box" | "lasso";
  id: string;
  start: DOMPoint;
  now: DOMPoint;
  begun: boolean;
  ghost: SVGElement | null;
}

export function listenToPointer(stage: Stage): void {
  const { scroll } = stage;
  let drag: Drag | null = null;
  let dragged = false;

  scroll.addEventListener("click", (event) => {
    if (dragged) {
      dragged = false;
      return;
    }
    const toggle = closest(event.target, "[data-toggle]");
    if (toggle) return stage.toggle(toggle.dataset.toggle!);
    const found = closest(event.target, "[data-target]");
    const target = found?.dataset.target ?? null;
    if (found?.dataset.node && (event.shiftKey || event.ctrlKey || event.metaKey)) return stage.pick(found.dataset.node);
    if (target === null && stage.picked.size) stage.picked.clear();
    stage.context.selection.set(target);
    if (target === null) stage.render();
    else stage.element(target)?.focus({ preventScroll: true });
  });
  scroll.addEventListener("dblclick", (event) => {
    const box = closest(event.target, ".box");
    if (box) stage.toggle(box.dataset.target!.slice("supernode:".length));
  });
  scroll.addEventListener("pointerover", (event) => stage.hover(closest(event.target, "[data-target]")?.dataset.target ?? null));
  scroll.addEventListener("pointerleave", () => stage.hover(null));

  scroll.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button !== 0 || event.pointerType === "touch" || closest(event.target, "[data-toggle]")) return;
    const member = closest(event.target, ".member");
    const box = closest(event.target, ".box");
    const start = pointIn(stage, event);
    if (member && !event.shiftKey) drag = { kind: "member", id: member.dataset.node!, start, now: start, begun: false, ghost: null };
    else if (box) drag = { kind: "box", id: box.dataset.target!.slice("supernode:".length), start, now: start, begun: false, ghost: null };
    else if (event.shiftKey) drag = { kind: "lasso", id: "", start, now: start, begun: false, ghost: null };
    if (drag) event.preventDefault();
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.now = pointIn(stage, event);
    if (!drag.begun && Math.hypot(drag.now.x - drag.start.x, drag.now.y - drag.start.y) * stage.scale() < FAR) return;
    if (!drag.begun) begin(stage, drag);
    follow(stage, drag, event);
  });
  window.addEventListener("pointerup", (event) => {
    const done = drag;
    drag = null;
    if (!done?.begun) return;
    dragged = true;
    window.setTimeout(() => (dragged = false), 0); // a drop outside of the drawing brings no click
    const under = boxUnder(stage, event, done);
    clear(stage, done);
    if (done.kind === "lasso") lasso(stage, done);
    else if (done.kind === "member") void dropMember(stage, done.id, under);
    else dropBox(stage, done, under);
  });
  const cancel = (): void => {
    if (drag) clear(stage, drag);
    drag = null;
  };
  window.addEventListener("pointercancel", cancel);
  window.addEventListener("blur", cancel);
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !drag?.begun) return;
      event.preventDefault();
      event.stopPropagation();
      cancel();
    },
    true,
  );
}

function closest(target: EventTarget | null, selector: string): SVGElement | null {
  return target instanceof Element ? target.closest<SVGElement>(selector) : null;
}

/** Where a pointer is in the drawing's own measure. */
function pointIn(stage: Stage, event: PointerEvent): DOMPoint {
  const matrix = stage.drawing.getScreenCTM();
  const point = new DOMPoint(event.clientX, event.clientY);
  return matrix ? point.matrixTransform(matrix.inverse()) : point;
}

function begin(stage: Stage, drag: Drag): void {
  drag.begun = true;
  stage.scroll.classList.add("is-dragging");
  if (drag.kind === "lasso") {
    drag.ghost = svg("rect", { class: "lasso", "aria-hidden": "true" });
    stage.drawing.append(drag.ghost);
    return;
  }
  const target = drag.kind === "member" ? `node:${drag.id}` : `supernode:${drag.id}`;
  const original = stage.element(target);
  if (!original) return;
  const ghost = original.cloneNode(true) as SVGElement;
  for (const name of ["data-target", "data-node", "tabindex", "role"]) ghost.removeAttribute(name);
  ghost.setAttribute("aria-hidden", "true");
  ghost.classList.add("ghost");
  original.classList.add("is-dragged");
  stage.drawing.append(ghost);
  drag.ghost = ghost;
}

function follow(stage: Stage, drag: Drag, event: PointerEvent): void {
  const { start, now, ghost } = drag;
  if (drag.kind === "lasso") {
    const { x, y, width, height } = spanned(drag);
    for (const [name, value] of Object.entries({ x, y, width, height })) ghost?.setAttribute(name, String(value));
    return;
  }
  ghost?.setAttribute("transform", `translate(${now.x - start.x} ${now.y - start.y})`);
  const under = boxUnder(stage, event, drag);
  for (const box of stage.drawing.querySelectorAll(".box.is-target")) box.classList.remove("is-target");
  if (under) stage.element(`supernode:${under}`)?.classList.add("is-target");
}

function clear(stage: Stage, drag: Drag): void {
  drag.ghost?.remove();
  stage.scroll.classList.remove("is-dragging");
  for (const element of stage.drawing.querySelectorAll(".is-target, .is-dragged")) element.classList.remove("is-target", "is-dragged");
}

function spanned({ start, now }: Drag): { x: number; y: number; width: number; height: number } {
  return { x: Math.min(start.x, now.x), y: Math.min(start.y, now.y), width: Math.abs(now.x - start.x), height: Math.abs(now.y - start.y) };
}

/** The supernode under the pointer, other than the one that is dragged. */
function boxUnder(stage: Stage, event: PointerEvent, drag: Drag): string | null {
  const { x, y } = pointIn(stage, event);
  for (const [id, rect] of stage.placement.boxes) {
    if (drag.kind === "box" && id === drag.id) continue;
    if (x >= rect.x && x <= rect.x + rect.width && y >= rect.y && y <= rect.y + rect.height) return id;
  }
  return null;
}

function lasso(stage: Stage, drag: Drag): void {
  const span = spanned(drag);
  for (const { member, x, y, width, height } of stage.placement.members) {
    const inside = x + width / 2 > span.x && x + width / 2 < span.x + span.width && y + height / 2 > span.y && y + height / 2 < span.y + span.height;
    if (inside) stage.picked.add(member.node);
  }
  stage.render();
}

/** Onto a supernode: into it. Onto empty ground: out of its own, and what it comes to is asked. */
async function dropMember(stage: Stage, node: string, under: string | null): Promise<void> {
  if (!mayAct(stage.context)) return;
  const nodes = stage.picked.has(node) ? [...stage.picked] : [node];
  const home = stage.model.boxes.find((box) => box.members.some((member) => member.node === node));
  if (under === null) {
    if (!home) return;
    await askMove(stage.context, nodes, new Set(nodes), true);
  } else if (under !== home?.id) {
    const strangers = nodes.filter((one) => !stage.model.boxes.find((box) => box.id === under)?.members.some((member) => member.node === one));
    if (await place(stage.context, strangers, under)) stage.picked.clear();
  }
}

/** Onto another supernode: merge, which is asked. Anywhere else: that is where the box stands from now on. */
function dropBox(stage: Stage, drag: Drag, under: string | null): void {
  if (under !== null) void askMerge(stage.context, under, drag.id);
  else stage.moveBox(drag.id, { dx: drag.now.x - drag.start.x, dy: drag.now.y - drag.start.y });
}
