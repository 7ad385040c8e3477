// The supernode graph of a report: tools, drawing, legend. The server tells the circuit, the review what became of it.

import { getJson, messageOf } from "../lib/api";
import { h, replace, svg } from "../lib/dom";
import type { ReportContext } from "../report/context";
import { ROLES } from "../review/types";
import type { CircuitData } from "./data";
import { wireFilling } from "./filling";
import { listenToKeys } from "./keys";
import { ROLE_SHAPES } from "./marks";
import { listenToPointer } from "./pointer";
import { Revealing } from "./revealing";
import { Stage } from "./stage";

export async function mount(root: HTMLElement, context: ReportContext): Promise<void> {
  let data: CircuitData;
  try {
    data = await getJson<CircuitData>(`/api/reports/${encodeURIComponent(context.caseId)}/circuit`);
  } catch (cause) {
    replace(root, h("div", { class: "note note-problem", role: "alert" }, h("p", null, `The circuit cannot be drawn: ${messageOf(cause)}`), h("button", { type: "button", class: "button", onclick: () => void mount(root, context) }, "Try again")));
    return;
  }
  const tools = h("div", { class: "circuit-tools", role: "group", "aria-label": "Tools of the drawing" });
  const scroll = h("div", { class: "circuit-scroll" });
  const hint = context.may.review
    ? "Click to select and see what feeds it. Drag a feature into another supernode, or a supernode onto another to merge them; Shift and a drag picks several features. Everything works from the keyboard too: press ? for the keys."
    : "Click to select and see what feeds it; press ? for the keys.";
  replace(root, scroll, tools, legend(), h("p", { class: "quiet small circuit-hint" }, hint));
  const stage = new Stage(scroll, data, context);
  const tool = (words: string, keys: string, run: () => void, pressed?: boolean): HTMLElement =>
    h("button", { type: "button", class: "button button-small", title: keys, "aria-pressed": pressed === undefined ? null : String(pressed), onclick: run }, words);
  stage.whenDrawn(() => {
    const focused = tools.contains(document.activeElement) ? [...tools.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement) : -1;
    const all = stage.expanded.size >= stage.model.boxes.length && stage.model.boxes.length > 0;
    const loose = stage.model.loose.length;
    replace(
      tools,
      tool("Features", "v", () => stage.expandAll(!all), all),
      loose ? tool(`In no supernode (${loose})`, "features that belong to no supernode", () => ((stage.showLoose = !stage.showLoose), stage.render()), stage.showLoose) : null,
      stage.isTidy() ? null : tool("Tidy", "t", () => stage.tidy()),
      stage.picked.size ? tool(`Let go of ${stage.picked.size} picked`, "", () => (stage.picked.clear(), stage.render())) : null,
      stage.model.undrawn ? h("span", { class: "quiet small circuit-undrawn" }, `${stage.model.undrawn} weaker links are not drawn; select a supernode to see all of its own`) : null,
      h("span", { class: "circuit-zoom button-group" }, h("button", { type: "button", class: "button button-small", "aria-label": "Smaller", title: "-", onclick: () => stage.zoomBy(0.8) }, "−"), tool("Fit", "0", () => stage.zoomBy(null)), h("button", { type: "button", class: "button button-small", "aria-label": "Larger", title: "+", onclick: () => stage.zoomBy(1.25) }, "+")),
    );
    if (focused >= 0) tools.querySelectorAll("button")[Math.min(focused, tools.querySelectorAll("button").length - 1)]?.focus();
  });
  const revealing = new Revealing(stage, context.selection);
  listenToPointer(stage);
  listenToKeys(stage, (target) => revealing.show(target, { far: true }));
  wireFilling(context, () => stage.render());
}

function legend(): HTMLElement {
  const roles = ROLES.map((role) => h("li", null, svg("svg", { class: `role-mark role-${role}`, viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" }, svg("path", { class: "stroke", d: ROLE_SHAPES[role] })), role));
  const line = (kind: string, words: string): HTMLElement => h("li", null, svg("svg", { class: `legend-line ${kind}`, viewBox: "0 0 34 10", width: 34, height: 10, "aria-hidden": "true" }, svg("path", { class: "line", d: "M1 5H26" }), svg("path", { class: "head", d: "M33 5L25 1V9Z" })), words);
  return h("ul", { class: "circuit-legend", "aria-label": "What the signs mean" }, roles, line("helps", "raises"), line("hinders", "lowers"), line("helps stale", "not known since features moved"));
}
