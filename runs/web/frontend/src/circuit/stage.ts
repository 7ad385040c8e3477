// The drawing as it stands on the page: what is expanded, picked, moved by hand; drawn again whenever anything changes.

import { replace } from "../lib/dom";
import type { ReportContext } from "../report/context";
import type { CircuitData } from "./data";
import { draw } from "./draw";
import { type Placement, layOut } from "./layout";
import { type Model, modelOf } from "./model";
import { routesOf } from "./routes";
import { type Measure, measuredIn } from "./text";

type Offset = { dx: number; dy: number };
const LEAST_ZOOM = 0.4;
const MOST_ZOOM = 2.5;
const SMALLEST_FIT = 0.72;
const SMALLEST_OVERVIEW = 0.38;
const TALL_OVERVIEW = 0.45;
const MUCH_TOO_TALL = 1.5;
const ROOM_FOR_A_WHOLE = 600;
/** Asked for, the whole drawing is shown down to this; letters are small then, shapes are not. */
const SMALLEST_WHOLE = 0.25;
const LARGEST_FIT = 1.6;

export class Stage {
  readonly expanded = new Set<string>();
  readonly picked = new Set<string>();
  showLoose = false;
  model: Model;
  placement!: Placement;
  drawing!: SVGSVGElement;
  /** Null fits the drawing to the width that there is, as far as it stays readable. */
  private zoom: number | null = null;
  private readonly moved: Map<string, Offset>;
  private readonly measure: Measure;
  private hovered: string | null = null;
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly scroll: HTMLElement,
    readonly data: CircuitData,
    readonly context: ReportContext,
  ) {
    this.measure = measuredIn(scroll);
    this.moved = this.readMoved();
    this.model = modelOf(data, context.review.state(), this.about());
    this.showLoose = this.model.loose.length > 0 && this.model.loose.some(({ node }) => this.wasGrouped(node));
    this.render();
    context.review.subscribe(() => this.refresh());
    context.selection.subscribe((_, before) => this.reselect(before));
    const answer = this.placement.ends.get(this.model.outputs[0]?.node ?? "");
    if (answer) scroll.scrollLeft = (answer.x + answer.width / 2) * this.scale() - scroll.clientWidth / 2;
    new ResizeObserver(() => this.fit()).observe(scroll);
  }

  /** Runs after every drawing. */
  whenDrawn(run: () => void): void {
    this.listeners.push(run);
    run();
  }

  /** Another thing is selected. What is drawn stays, unless weak links come with the selection. */
  private reselect(before: string | null): void {
    const now = this.context.selection.get();
    if (this.model.undrawn) this.refresh();
    else {
      for (const [target, chosen] of [[before, false], [now, true]] as const) {
        const element = target === null ? null : this.element(target);
        element?.classList.toggle("is-chosen", chosen);
        element?.setAttribute("aria-pressed", String(chosen));
      }
      for (const stop of this.drawing.querySelectorAll('[tabindex="0"]')) stop.setAttribute("tabindex", "-1");
      this.emphasise();
      this.makeFocusable(this.focusedTarget());
    }
  }

  refresh(): void {
    const before = new Set(this.model.loose.map(({ node }) => node));
    this.model = modelOf(this.data, this.context.review.state(), this.about());
    // what was just taken out of its supernode must not vanish
    if (this.model.loose.some(({ node }) => !before.has(node))) this.showLoose = true;
    for (const id of [...this.expanded]) if (!this.model.boxes.some((box) => box.id === id)) this.expanded.delete(id);
    const nodes = new Set([...this.model.boxes.flatMap((box) => box.members), ...this.model.loose].map(({ node }) => node));
    for (const node of [...this.picked]) if (!nodes.has(node)) this.picked.delete(node);
    this.render();
  }

  render(): void {
    const focused = this.focusedTarget();
    const room = Math.max(360, this.scroll.clientWidth);
    this.placement = layOut(this.model, { expanded: this.expanded, showLoose: this.showLoose, moved: this.moved, room, tall: this.scroll.closest(".is-filled") ? this.scroll.clientHeight - 8 : 0 }, this.measure);
    const routes = routesOf(this.model.links, this.placement, new Set(this.model.outputs.map(({ node }) => node)));
    const view = { selected: this.context.selection.get(), picked: this.picked, acting: this.context.may.review };
    const drawing = draw(this.model, this.placement, routes, view);
    replace(this.scroll, drawing);
    this.drawing = drawing;
    this.fit();
    this.emphasise();
    this.makeFocusable(focused);
    if (focused) this.element(focused)?.focus({ preventScroll: true });
    for (const run of this.listeners) run();
  }

  element(target: string): SVGElement | null {
    return this.drawing.querySelector<SVGElement>(`[data-target="${CSS.escape(target)}"]`);
  }

  toggle(id: string): void {
    if (!this.expanded.delete(id)) this.expanded.add(id);
    this.render();
    this.drawing.querySelector<SVGElement>(`[data-toggle="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
  }

  expandAll(open: boolean): void {
    this.expanded.clear();
    if (open) for (const { id } of this.model.boxes) this.expanded.add(id);
    this.render();
  }

  pick(node: string, on = !this.picked.has(node)): void {
    if (on) this.picked.add(node);
    else this.picked.delete(node);
    this.render();
  }

  hover(target: string | null): void {
    if (target === this.hovered) return;
    this.hovered = target;
    this.emphasise();
  }

  /** Closer or farther; null shows the whole drawing. */
  zoomBy(factor: number | null): void {
    this.zoom = factor === null ? Math.max(SMALLEST_WHOLE, Math.min(1, this.across(), this.down())) : Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.scale() * factor));
    this.fit();
  }

  /** Pixels of the screen for one of the drawing. */
  scale(): number {
    if (this.zoom !== null) return this.zoom;
    if (!this.scroll.closest(".is-filled")) {
      const readable = Math.min(1, Math.max(SMALLEST_FIT, this.across()));
      // of a tall circuit one would see a corner: there the whole comes first, where there is room for it
      const tall = readable > MUCH_TOO_TALL * this.down() && this.scroll.clientWidth >= ROOM_FOR_A_WHOLE;
      return tall ? Math.max(SMALLEST_OVERVIEW, Math.min(1, this.across(), Math.max(TALL_OVERVIEW, this.down()))) : readable;
    }
    return Math.min(LARGEST_FIT, Math.max(SMALLEST_FIT, Math.min(this.across(), this.down())));
  }

  private across(): number {
    return (this.scroll.clientWidth - 4) / this.placement.width;
  }

  /** What fits into the height that the drawing may take, however much of it it takes now. */
  private down(): number {
    const most = parseFloat(getComputedStyle(this.scroll).maxHeight);
    const room = Number.isFinite(most) && !this.scroll.closest(".is-filled") ? most : this.scroll.clientHeight;
    return (room - 4) / this.placement.height;
  }

  moveBox(id: string, by: Offset): void {
    const before = this.moved.get(id) ?? { dx: 0, dy: 0 };
    this.moved.set(id, { dx: before.dx + by.dx, dy: before.dy + by.dy });
    this.keepMoved();
    this.render();
  }

  tidy(): void {
    this.moved.clear();
    this.keepMoved();
    this.zoom = null;
    this.render();
  }

  isTidy(): boolean {
    return this.moved.size === 0;
  }

  /** Whether the features that are in no supernode were in one before the review. */
  private wasGrouped(node: string): boolean {
    return this.context.review.state().supernodes.some((one) => one.members_before.includes(node));
  }

  /** What is selected, without its kind; for a feature its supernode. */
  private about(): string | null {
    const selected = this.context.selection.get();
    if (selected === null) return null;
    const id = selected.slice(selected.indexOf(":") + 1);
    if (!selected.startsWith("node:")) return id;
    return this.context.review.state().supernodes.find((one) => !one.gone && one.members.includes(id))?.supernode_id ?? id;
  }

  private focusedTarget(): string | null {
    const active = document.activeElement;
    return active instanceof SVGElement && this.scroll.contains(active) ? (active.getAttribute("data-target") ?? null) : null;
  }

  /** One stop for the tab key: what is selected, else the first supernode; arrows go on from there. */
  private makeFocusable(focused: string | null): void {
    const selected = this.context.selection.get();
    const stop = (focused && this.element(focused)) || (selected && this.element(selected)) || this.drawing.querySelector<SVGElement>(".box") || this.drawing.querySelector<SVGElement>("[data-target]");
    stop?.setAttribute("tabindex", "0");
  }

  private fit(): void {
    const scale = this.scale();
    this.drawing.style.width = `${this.placement.width * scale}px`;
    this.drawing.style.height = `${this.placement.height * scale}px`;
  }

  /** Links into and out of what is pointed at or selected stand out; the others step back. */
  private emphasise(): void {
    const about = this.hovered ?? this.context.selection.get();
    const end = about === null ? null : this.endOf(about);
    let any = false;
    for (const link of this.drawing.querySelectorAll<SVGGElement>(".link")) {
      const { source, destination, target } = link.dataset;
      const near = about !== null && (target === about || (end !== null && (source === end || destination === end)));
      link.classList.toggle("is-near", near);
      any ||= near;
    }
    this.drawing.classList.toggle("has-near", any);
  }

  /** The end of links that a target stands for; for a member its supernode. */
  private endOf(target: string): string | null {
    const id = target.slice(target.indexOf(":") + 1);
    if (target.startsWith("supernode:")) return id;
    if (!target.startsWith("node:")) return null;
    return this.model.boxes.find((box) => box.members.some(({ node }) => node === id))?.id ?? id;
  }

  private get shelf(): string {
    return `tracescribe.layout.${this.context.caseId}`;
  }

  private readMoved(): Map<string, Offset> {
    try {
      const found: unknown = JSON.parse(localStorage.getItem(this.shelf) ?? "{}");
      const entries = Object.entries(found as Record<string, Offset>).filter(([, by]) => Number.isFinite(by?.dx) && Number.isFinite(by?.dy));
      return new Map(entries);
    } catch {
      return new Map(); // nothing stored, or nothing may be
    }
  }

  private keepMoved(): void {
    try {
      if (this.moved.size) localStorage.setItem(this.shelf, JSON.stringify(Object.fromEntries(this.moved)));
      else localStorage.removeItem(this.shelf);
    } catch {
      // the layout lasts as long as the page
    }
  }
}
