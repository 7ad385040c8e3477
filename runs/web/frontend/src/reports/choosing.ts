// Choosing two reports to compare. The choice stays while one searches and turns pages.

import { announce } from "../lib/announce";
import { byId } from "../lib/dom";
import { registerKey } from "../lib/keys";

interface Chosen {
  caseId: string;
  prompt: string;
}

/** Add or take away one of at most two; a third takes the place of the first. */
export function toggled(chosen: readonly Chosen[], one: Chosen): Chosen[] {
  const rest = chosen.filter(({ caseId }) => caseId !== one.caseId);
  return rest.length < chosen.length ? rest : [...rest.slice(-1), one];
}

let chosen: Chosen[] = [];

function boxes(): HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>(".choose input")];
}

function says(): string {
  const [first, second] = chosen;
  if (!first) return "Choose two reports on one prompt, by their boxes or with x.";
  if (!second) return "One is chosen. Choose another one on the same prompt.";
  return first.prompt === second.prompt ? "Two are chosen." : "These two are on different prompts; only reports on one prompt can be compared.";
}

function show(): void {
  for (const box of boxes()) {
    box.checked = chosen.some(({ caseId }) => caseId === box.value);
    box.closest("tr")?.classList.toggle("is-chosen", box.checked);
  }
  const button = document.getElementById("compare-button") as HTMLButtonElement | null;
  if (!button) return;
  const [first, second] = chosen;
  button.disabled = !first || !second || first.prompt !== second.prompt;
  byId("compare-says").textContent = says();
  byId("compare-bar").classList.toggle("is-active", chosen.length > 0);
}

function toggle(box: HTMLInputElement): void {
  chosen = toggled(chosen, { caseId: box.value, prompt: box.closest("tr")?.dataset.prompt ?? "" });
  show();
  announce(says());
}

function compare(): void {
  const [first, second] = chosen;
  if (!first || !second) return;
  location.assign(`/compare?a=${encodeURIComponent(first.caseId)}&b=${encodeURIComponent(second.caseId)}`);
}

export function mountChoosing(): void {
  document.addEventListener("change", (event) => {
    if (event.target instanceof HTMLInputElement && event.target.closest(".choose")) toggle(event.target);
  });
  document.addEventListener("submit", (event) => {
    if (!(event.target instanceof HTMLFormElement) || event.target.id !== "compare-form") return;
    event.preventDefault();
    compare();
  });
  document.addEventListener("results", show);
  const section = "Reports";
  registerKey({
    keys: "x",
    what: "Choose this row to compare",
    section,
    run: () => {
      const row = document.activeElement?.closest("tr");
      const box = row?.querySelector<HTMLInputElement>(".choose input");
      if (box) toggle(box);
      else announce("Go to a row first, with j or k");
    },
  });
  registerKey({
    keys: "c",
    what: "Compare the two chosen",
    section,
    run: () => (byId<HTMLButtonElement>("compare-button").disabled ? announce(says()) : compare()),
  });
  show();
}
