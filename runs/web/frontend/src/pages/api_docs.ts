// The API's description: shows the operations that a search matches, and opens the one that the address names.
import "../lib/base";
import { byId } from "../lib/dom";

const search = byId("api-search") as HTMLFormElement;
const query = byId("api-query") as HTMLInputElement;
const count = byId("api-count");
const operations = [...document.querySelectorAll<HTMLElement>("article[data-operation]")];
const parts = [...document.querySelectorAll<HTMLElement>("[data-part]")];

function showMatching(): void {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = new Set<string>();
  for (const operation of operations) {
    const text = (operation.textContent ?? "").toLowerCase();
    if (words.every((word) => text.includes(word))) {
      shown.add(operation.dataset["operation"] ?? "");
    }
  }
  for (const element of document.querySelectorAll<HTMLElement>("[data-operation]")) {
    element.hidden = !shown.has(element.dataset["operation"] ?? "");
  }
  for (const part of parts) {
    part.hidden = part.querySelector("[data-operation]:not([hidden])") === null;
  }
  count.textContent = words.length > 0 ? `${shown.size} of ${operations.length}` : "";
}

search.hidden = false;
search.addEventListener("submit", (event) => event.preventDefault());
query.addEventListener("input", showMatching);
