// The drawing over the whole window, with the inspector beside it: for circuits that need the room.

import { announce } from "../lib/announce";
import { h, replace, svg } from "../lib/dom";
import { registerKey } from "../lib/keys";
import type { ReportContext } from "../report/context";

/** Puts the button beside the switch of views and listens to its key. Runs `changed` after the room has changed. */
export function wireFilling(context: ReportContext, changed: () => void): void {
  const columns = document.querySelector<HTMLElement>(".report-columns");
  const views = document.querySelector<HTMLElement>(".view-switch");
  if (!columns || !views) return;
  const filled = (): boolean => columns.classList.contains("is-filled");
  const button = h("button", { type: "button", class: "button icon-button", id: "fill-window", "aria-pressed": "false", "aria-keyshortcuts": "f", "aria-label": "The drawing over the whole window", onclick: () => fill(!filled()) });
  const sign = (on: boolean): void => {
    button.title = on ? "Back to the page (f)" : "The drawing over the whole window (f)";
    const arrows = on ? "M8.5 3v5.5H3M11.5 17v-5.5H17" : "M11.5 3H17v5.5M8.5 17H3v-5.5M17 3l-6 6M3 17l6-6";
    replace(button, svg("svg", { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true" }, svg("path", { d: arrows, fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" })));
  };
  sign(false);
  const fill = (on: boolean): void => {
    columns.classList.toggle("is-filled", on);
    document.documentElement.classList.toggle("has-filled", on);
    button.setAttribute("aria-pressed", String(on));
    sign(on);
    announce(on ? "The drawing fills the window; Escape goes back" : "Back to the page");
    changed();
    window.dispatchEvent(new Event("resize"));
  };
  views.after(button);
  registerKey({ keys: "f", what: "The drawing over the whole window, and back", section: "Circuit", run: () => fill(!filled()) });
  registerKey({ keys: "Escape", what: "Back to the page", section: "Circuit", when: () => filled() && context.selection.get() === null, run: () => fill(false) });
}
