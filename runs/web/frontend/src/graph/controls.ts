// The bar above the graph: search, what is shown, pins, zoom; and below it the legend.

import { h } from "../lib/dom";
import { debounced } from "../lib/dom";
import type { Scene } from "./scene";
import { count } from "./words";

export interface ControlActions {
  find(text: string): void;
  /** Enter in the search: go to the next node that was found. */
  next(): void;
  filtered(): void;
  fit(): void;
  zoom(factor: number): void;
  /** Pin what is selected, or unpin it. */
  pin(): void;
  unpin(): void;
  /** Make a supernode of what is pinned; null where the visitor may not review. */
  group: (() => void) | null;
  more: (() => void) | null;
}

let made = 0;
/** Positions of the edge slider: equal steps are equal factors, since few edges matter most. */
const SLIDER_STEPS = 100;

export class Controls {
  readonly element: HTMLElement;
  readonly legend: HTMLElement;
  private readonly pins = h("span", null);
  private readonly pinnedOnly: HTMLButtonElement;
  private readonly pin: HTMLButtonElement;
  private readonly unpin: HTMLButtonElement;
  private readonly group: HTMLButtonElement | null;
  /** How much of the graph is drawn; it stands below the drawing. */
  readonly told = h("p", { class: "quiet small graph-told", role: "status" });
  private readonly influenceText = h("output", { class: "small" });
  private readonly edgesText = h("output", { class: "small" });

  constructor(
    private readonly scene: Scene,
    private readonly actions: ControlActions,
  ) {
    const button = (text: string, run: () => void, attributes: Record<string, string> = {}): HTMLButtonElement => h("button", { type: "button", class: "button button-small", onclick: run, ...attributes }, text);
    const find = debounced((text: string) => actions.find(text), 120);
    const search = h("input", { type: "search", placeholder: "Find a feature, label or token", "aria-label": "Find nodes by label, id or token; Enter goes to the next", oninput: () => find(search.value) });
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      actions.find(search.value);
      actions.next();
    });
    this.pinnedOnly = h("button", { type: "button", class: "button button-small", "aria-pressed": "false", onclick: () => this.togglePinnedOnly() }, "Pinned only ", this.pins);
    this.pin = button("Pin", actions.pin, { title: "Pin the selected node (p)" });
    this.unpin = button("Unpin all", actions.unpin);
    this.group = actions.group ? button("Make a supernode…", actions.group, { title: "Of the pinned features" }) : null;
    const zoom = h("div", { class: "button-group", role: "group", "aria-label": "Zoom" }, button("−", () => actions.zoom(1 / 1.5), { "aria-label": "Zoom out" }), button("+", () => actions.zoom(1.5), { "aria-label": "Zoom in" }), button("Fit", actions.fit, { "aria-label": "Fit: show the whole graph" }));
    this.element = h(
      "div",
      { class: "graph-controls" },
      h("div", { class: "row graph-bar" }, h("div", { class: "graph-search" }, search), h("div", { class: "row" }, this.pin, this.pinnedOnly, this.unpin, this.group), zoom),
      h("div", { class: "row graph-filters" }, this.influence(), this.edges(), this.errors()),
    );
    this.legend = legend();
    this.refresh();
  }

  /** Tell what changed elsewhere. */
  refresh(): void {
    const { scene } = this;
    const { data, filters, pinned } = scene;
    const one = scene.chosen.length === 1 ? scene.chosen[0]! : -1;
    this.pin.disabled = one < 0;
    this.pin.textContent = one >= 0 && pinned.has(one) ? "Unpin" : "Pin";
    this.pins.textContent = pinned.size ? `(${pinned.size})` : "";
    this.pinnedOnly.disabled = pinned.size === 0 && !filters.pinnedOnly;
    this.pinnedOnly.setAttribute("aria-pressed", String(filters.pinnedOnly));
    this.unpin.hidden = pinned.size === 0;
    if (this.group) this.group.hidden = pinned.size === 0;
    this.influenceText.textContent = filters.influence >= 1 ? "all" : `${Math.round(filters.influence * 100)} %`;
    this.edgesText.textContent = filters.edges >= data.nEdges ? `all ${data.nEdges.toLocaleString("en")}` : `strongest ${filters.edges.toLocaleString("en")}`;
    const parts = [`${scene.nShown.toLocaleString("en")} of ${count(data.nNodesTotal, "node")}`];
    const hidden = data.nEdgesTotal - Math.min(filters.edges, data.nEdges);
    parts.push(hidden > 0 ? `${count(hidden, "weak edge")} of ${data.nEdgesTotal.toLocaleString("en")} hidden` : `all ${count(data.nEdgesTotal, "edge")} drawn where both ends are shown`);
    this.told.replaceChildren(`${parts.join("; ")}. `);
    if (data.nEdges < data.nEdgesTotal && this.actions.more) this.told.append(h("button", { type: "button", class: "button button-small", onclick: this.actions.more }, "Fetch more edges"));
  }

  private togglePinnedOnly(): void {
    this.scene.filters.pinnedOnly = !this.scene.filters.pinnedOnly;
    this.actions.filtered();
  }

  private influence(): HTMLElement | null {
    if (!this.scene.knowsInfluence) return null;
    const id = `graph-influence-${++made}`;
    const slider = h("input", { id, type: "range", min: 5, max: 100, value: 100, step: 1 });
    slider.addEventListener("input", () => {
      this.scene.filters.influence = Number(slider.value) / 100;
      this.actions.filtered();
    });
    return h("div", { class: "graph-slider" }, h("label", { for: id }, "Influence kept"), slider, this.influenceText);
  }

  private edges(): HTMLElement {
    const id = `graph-edges-${++made}`;
    const all = this.scene.data.nEdges;
    const slider = h("input", { id, type: "range", min: 0, max: SLIDER_STEPS, value: SLIDER_STEPS, step: 1, "aria-valuetext": "all edges" });
    slider.addEventListener("input", () => {
      const step = Number(slider.value);
      this.scene.filters.edges = step === SLIDER_STEPS ? all : Math.min(all, Math.round(10 ** ((step / SLIDER_STEPS) * Math.log10(Math.max(10, all)))));
      slider.setAttribute("aria-valuetext", `${this.scene.filters.edges} strongest edges`);
      this.actions.filtered();
    });
    return h("div", { class: "graph-slider" }, h("label", { for: id }, "Edges"), slider, this.edgesText);
  }

  private errors(): HTMLElement {
    const box = h("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      this.scene.filters.errors = box.checked;
      this.actions.filtered();
    });
    return h("label", { class: "choice" }, box, "Error nodes");
  }
}

function legend(): HTMLElement {
  const item = (shape: string, text: string): HTMLElement => h("li", null, h("span", { class: `graph-sign ${shape}`, "aria-hidden": "true" }), text);
  return h(
    "ul",
    { class: "graph-legend small", "aria-label": "Legend" },
    item("is-feature", "feature"),
    item("is-error", "error: what the features do not explain"),
    item("is-embedding", "token of the prompt"),
    item("is-logit", "output"),
    item("is-helps", "raises (+)"),
    item("is-hinders", "lowers (−), dashed"),
    item("is-member", "ring: in a supernode, coloured by its role"),
  );
}
