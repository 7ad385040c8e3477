// Keys that go through the rows and pages of the list.

import { registerKey } from "../lib/keys";

function links(): HTMLAnchorElement[] {
  return [...document.querySelectorAll<HTMLAnchorElement>(".report-link")];
}

function step(by: 1 | -1): void {
  const all = links();
  const now = all.findIndex((link) => link.closest("tr")?.contains(document.activeElement));
  const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + by));
  all[next]?.focus();
  all[next]?.closest("tr")?.scrollIntoView({ block: "nearest" });
}

function follow(relation: "next" | "prev"): void {
  document.querySelector<HTMLAnchorElement>(`.pager a[rel=${relation}]`)?.click();
}

export function mountRowKeys(): void {
  const section = "Reports";
  registerKey({ keys: ["j", "ArrowDown"], what: "Next row (Enter opens it)", section, run: () => step(1) });
  registerKey({ keys: ["k", "ArrowUp"], what: "Row before", section, run: () => step(-1) });
  registerKey({ keys: ["]", "n"], what: "Next page", section, run: () => follow("next") });
  registerKey({ keys: ["[", "p"], what: "Page before", section, run: () => follow("prev") });
}
