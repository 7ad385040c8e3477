// The list of claims: filters by kind, verdict and words; what is kept stays in its group.

import { announce } from "../lib/announce";
import { byId, debounced } from "../lib/dom";

export interface Filter {
  kind: string;
  verdict: string;
  words: string;
}

/** Whether a claim passes; every word must occur. */
export function passes(claim: { kind: string; verdict: string; text: string }, filter: Filter): boolean {
  if (filter.kind && claim.kind !== filter.kind) return false;
  if (filter.verdict && claim.verdict !== filter.verdict) return false;
  const text = claim.text.toLowerCase();
  return filter.words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** Wire the filters above the claims, and the tally in the head that sets them. */
export function wireClaims(): void {
  const form = document.getElementById("claim-filter");
  if (!form) return;
  form.hidden = false;
  const kind = byId<HTMLSelectElement>("filter-kind");
  const verdict = byId<HTMLSelectElement>("filter-verdict");
  const words = byId<HTMLInputElement>("filter-words");
  const count = byId("filter-count");
  const all = [...document.querySelectorAll<HTMLElement>("article.claim")];

  const apply = (tell = true): void => {
    let shown = 0;
    for (const claim of all) {
      const group = claim.closest<HTMLElement>(".claim-group");
      const text = claim.querySelector("h4")?.textContent ?? "";
      const item = { kind: group?.dataset["kind"] ?? "", verdict: claim.dataset["verdict"] ?? "", text: `${claim.id} ${text}` };
      const keep = passes(item, { kind: kind.value, verdict: verdict.value, words: words.value.trim() });
      claim.hidden = !keep;
      if (keep) shown += 1;
    }
    for (const group of document.querySelectorAll<HTMLElement>(".claim-group")) {
      group.hidden = group.querySelector("article.claim:not([hidden])") === null;
    }
    count.textContent = shown === all.length ? `${all.length} claims` : `${shown} of ${all.length} claims`;
    if (tell) announce(count.textContent);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  kind.addEventListener("change", () => apply());
  verdict.addEventListener("change", () => apply());
  words.addEventListener("input", debounced(() => apply(), 150));
  for (const link of document.querySelectorAll<HTMLElement>("[data-filter-verdict]")) {
    link.addEventListener("click", () => {
      verdict.value = link.dataset["filterVerdict"] ?? "";
      apply();
    });
  }
  // A claim that a link leads to is shown whatever the filters say.
  addEventListener("hashchange", () => {
    const claim = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (claim?.matches("article.claim") && claim.hidden) {
      kind.value = verdict.value = words.value = "";
      apply(false);
    }
  });
}
