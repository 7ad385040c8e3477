// Bringing in a report folder: the form in a dialog, and what the server says to it.

import { messageOf, postJson } from "../lib/api";
import { openDialog } from "../lib/dialogs";

interface BroughtIn {
  case_id: string;
  address: string;
}

function open(template: HTMLTemplateElement): void {
  const form = template.content.querySelector("form")!.cloneNode(true) as HTMLFormElement;
  const problem = form.querySelector<HTMLElement>("#bring-problem")!;
  const button = form.querySelector<HTMLButtonElement>("button")!;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  async function send(): Promise<void> {
    const values = new FormData(form);
    const graph = values.get("graph");
    if (graph instanceof File && graph.size === 0) values.delete("graph");
    problem.textContent = "";
    button.disabled = true;
    button.textContent = "Checking…";
    try {
      const made = await postJson<BroughtIn>("/api/reports", values);
      if (made.address.startsWith("/reports/")) location.assign(made.address);
    } catch (cause) {
      problem.textContent = messageOf(cause);
      button.disabled = false;
      button.textContent = "Bring in";
    }
  }
  openDialog("Bring in a report", form);
  form.querySelector<HTMLInputElement>("#bring-report")?.focus();
}

export function mountBringIn(): void {
  const template = document.getElementById("bring-in");
  const button = document.getElementById("bring-in-button");
  if (!(template instanceof HTMLTemplateElement) || !button) return;
  button.hidden = false;
  button.addEventListener("click", () => open(template));
}
