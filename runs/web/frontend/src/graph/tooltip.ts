// What a node is, beside the pointer.

import { h, replace } from "../lib/dom";
import { percent } from "../lib/percent";
import type { Scene } from "./scene";
import { KINDS, LOGIT } from "./wire";
import { nameOf, number, placeOf } from "./words";

export class Tooltip {
  private readonly box = h("div", { class: "graph-tooltip", "aria-hidden": "true", hidden: true });
  private node = -1;

  constructor(
    private readonly place: HTMLElement,
    private readonly scene: Scene,
  ) {
    place.append(this.box);
  }

  show(node: number, at: { x: number; y: number } | null): void {
    if (node < 0 || !at) {
      this.box.hidden = true;
      this.node = -1;
      return;
    }
    if (node !== this.node) this.fill(node);
    this.node = node;
    this.box.hidden = false;
    const room = this.place.clientWidth;
    const width = this.box.offsetWidth;
    this.box.style.left = `${Math.max(4, at.x + 16 + width > room ? at.x - width - 12 : at.x + 16)}px`;
    this.box.style.top = `${Math.max(4, at.y + 14 + this.box.offsetHeight > this.place.clientHeight ? at.y - this.box.offsetHeight - 10 : at.y + 14)}px`;
  }

  private fill(node: number): void {
    const { data, links, groups, pinned } = this.scene;
    const value = data.activation[node]!;
    const influence = data.influence[node]!;
    const group = groups.groupOf(node);
    const facts: [string, string][] = [];
    if (Number.isFinite(value)) facts.push(data.kind[node] === LOGIT ? ["probability", percent(value)] : ["activation", number(value)]);
    if (Number.isFinite(influence)) facts.push(["within influence", percent(influence)]);
    facts.push(["edges", `${links.into(node).length} in · ${links.outOf(node).length} out`]);
    replace(
      this.box,
      h("strong", null, nameOf(data, node, (n) => groups.labelOf(n))),
      h("span", { class: "quiet small" }, `${KINDS[data.kind[node]!]} · ${placeOf(data, node)}`),
      group ? h("span", { class: `role role-${group.role}` }, group.name) : null,
      h("dl", null, facts.map(([name, text]) => h("div", null, h("dt", null, name), h("dd", null, text)))),
      pinned.has(node) ? h("span", { class: "small" }, "pinned") : null,
    );
  }
}
