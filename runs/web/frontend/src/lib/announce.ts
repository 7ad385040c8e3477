// Telling what happened: to a screen reader by the page's live region, to eyes by a toast.

import { byId, h } from "./dom";

export type Tone = "done" | "problem" | "note";

const SIGNS: Record<Tone, string> = { done: "✓", problem: "!", note: "i" };
const SHOWN_MS: Record<Tone, number> = { done: 5_000, problem: 15_000, note: 8_000 };

/** Say it to a screen reader alone; the same text twice is said twice. */
export function announce(text: string, urgent = false): void {
  const region = byId(urgent ? "live-urgent" : "live-polite");
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

/** Show a message for some seconds, and say it. A problem stays longer and interrupts; each can be closed. */
export function toast(text: string, tone: Tone = "done", action?: { label: string; run: () => void }): HTMLElement {
  const close = h("button", { type: "button", class: "toast-close", "aria-label": "Close this message" }, "×");
  const box = h("div", { class: `toast toast-${tone}` }, h("span", { class: "toast-sign", "aria-hidden": "true" }, SIGNS[tone]), h("p", null, text));
  let timer = setTimeout(remove, SHOWN_MS[tone]);
  function remove(): void {
    clearTimeout(timer);
    box.remove();
  }
  if (action) {
    const run = (): void => {
      remove();
      action.run();
    };
    box.append(h("button", { type: "button", class: "button button-small", onclick: run }, action.label));
  }
  close.addEventListener("click", remove);
  box.append(close);
  const stay = (): void => clearTimeout(timer);
  const go = (): void => {
    clearTimeout(timer);
    timer = setTimeout(remove, SHOWN_MS[tone]);
  };
  box.addEventListener("pointerenter", stay);
  box.addEventListener("focusin", stay);
  box.addEventListener("pointerleave", go);
  box.addEventListener("focusout", go);
  byId("toasts").append(box);
  announce(text, tone === "problem");
  return box;
}
