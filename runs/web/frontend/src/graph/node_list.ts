// The nodes as a table: the same graph for those who cannot see the drawing, or would rather read and sort.

import { append, h, replace } from "../lib/dom";
import { percent } from "../lib/percent";
import type { Scene } from "./scene";
import { EMBEDDING, KINDS, LOGIT } from "./wire";
import { count, nameOf, number } from "./words";

const PER_PAGE = 25;
type Order = "influence" | "layer" | "token" | "activation" | "edges";
const COLUMNS: readonly [Order | null, string][] = [[null, "Node"], ["layer", "Layer"], ["token", "Token"], ["activation", "Activation"], ["influence", "Within influence"], ["edges", "Edges"], [null, "Supernode"]];

export class NodeList {
  readonly element = h("details", { class: "graph-list" });
  private readonly body = h("div", { class: "stack" });
  private words: string[] = [];
  private order: Order = "influence";
  private page = 0;

  constructor(
    private readonly scene: Scene,
    private readonly select: (node: number) => void,
    private readonly pin: (node: number) => void,
  ) {
    append(this.element, h("summary", null, "Nodes as a table"), this.body);
    this.element.addEventListener("toggle", () => this.refresh());
  }

  /** Show only nodes whose name, id or token has all these words. */
  find(text: string): void {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.page = 0;
    this.refresh();
  }

  /** Nodes that the search finds, most influential first. */
  found(): number[] {
    const { data, shown } = this.scene;
    const found: number[] = [];
    for (let node = 0; node < data.nNodes; node++) if (shown[node] && this.matches(node)) found.push(node);
    return found.sort((a, b) => this.rank(a) - this.rank(b) || a - b);
  }

  refresh(): void {
    if (!this.element.open) return;
    const held = document.activeElement instanceof HTMLElement && this.body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const found = this.found();
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    this.page = Math.min(this.page, pages - 1);
    const rows = found.slice(this.page * PER_PAGE, (this.page + 1) * PER_PAGE);
    const turn = (by: number, name: string): HTMLElement =>
      h("button", { type: "button", class: "button button-small", "data-key": name, disabled: this.page + by < 0 || this.page + by >= pages, onclick: () => this.turn(by) }, name);
    replace(
      this.body,
      h("p", { class: "quiet small" }, `${count(found.length, "node")}${this.words.length ? ` found for “${this.words.join(" ")}”` : ""}. Select one to see its edges; ${count(this.scene.pinned.size, "node is", "nodes are")} pinned.`),
      h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Nodes of the graph" }, h("table", { class: "table" }, h("thead", null, h("tr", null, COLUMNS.map(([order, name]) => this.head(order, name)))), h("tbody", null, rows.map((node) => this.row(node))))),
      h("div", { class: "row" }, turn(-1, "Previous"), h("span", { class: "small" }, `Page ${this.page + 1} of ${pages}`), turn(1, "Next")),
    );
    if (held) this.body.querySelector<HTMLElement>(`[data-key="${CSS.escape(held)}"]`)?.focus();
  }

  private turn(by: number): void {
    this.page += by;
    this.refresh();
  }

  private head(order: Order | null, name: string): HTMLElement {
    if (!order) return h("th", { scope: "col" }, name);
    const sort = (): void => {
      this.order = order;
      this.page = 0;
      this.refresh();
    };
    const now = this.order === order;
    return h("th", { scope: "col", "aria-sort": now ? (order === "activation" || order === "edges" ? "descending" : "ascending") : null }, h("button", { type: "button", class: "sort", "data-key": `sort-${order}`, onclick: sort }, name));
  }

  private row(node: number): HTMLElement {
    const { data, links, groups, pinned, chosen } = this.scene;
    const id = data.ids[node]!;
    const name = nameOf(data, node, (n) => groups.labelOf(n));
    const value = data.activation[node]!;
    const select = h("button", { type: "button", class: "graph-node-button", "data-key": `node-${id}`, "aria-pressed": String(chosen.includes(node)), onclick: () => this.select(node) }, name);
    const pin = h("button", { type: "button", class: "button button-small button-quiet", "data-key": `pin-${id}`, "aria-pressed": String(pinned.has(node)), "aria-label": `${pinned.has(node) ? "pinned" : "pin"}: ${name}`, onclick: () => this.pin(node) }, pinned.has(node) ? "pinned" : "pin");
    const layer = data.kind[node] === EMBEDDING ? "token" : data.kind[node] === LOGIT ? "output" : String(data.layer[node]);
    return h(
      "tr",
      { class: chosen.includes(node) ? "is-selected" : null },
      h("td", null, h("span", { class: "row" }, select, h("span", { class: "quiet small" }, KINDS[data.kind[node]!]), pin)),
      h("td", { class: "number" }, layer),
      h("td", null, `${data.tokens[data.position[node]!]} (${data.position[node]})`),
      h("td", { class: "number" }, data.kind[node] === LOGIT ? percent(value) : number(value)),
      h("td", { class: "number" }, percent(data.influence[node]!)),
      h("td", { class: "number" }, `${links.into(node).length} in, ${links.outOf(node).length} out`),
      h("td", null, groups.groupOf(node)?.name ?? "–"),
    );
  }

  private matches(node: number): boolean {
    if (!this.words.length) return true;
    const { data, groups } = this.scene;
    const text = `${nameOf(data, node, (n) => groups.labelOf(n))} ${data.labels[node]} ${data.ids[node]} ${data.layer[node]}/${data.feature[node]} ${data.tokens[data.position[node]!]} ${groups.groupOf(node)?.name ?? ""}`.toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  private rank(node: number): number {
    const { data, links } = this.scene;
    const known = (value: number, otherwise: number): number => (Number.isFinite(value) ? value : otherwise);
    switch (this.order) {
      case "layer":
        return -data.layer[node]! * 1e6 + data.position[node]!;
      case "token":
        return data.position[node]! * 1e4 - data.layer[node]!;
      case "activation":
        return -known(data.activation[node]!, -Infinity);
      case "edges":
        return -(links.into(node).length + links.outOf(node).length);
      default:
        return known(data.influence[node]!, data.kind[node] === LOGIT ? -1 : 2);
    }
  }
}
