// What the review changed, shown where the page tells the report's own: labels with what they were, and the status.

import { h, replace } from "../lib/dom";
import type { ReviewState } from "../review/types";
import type { ReportContext } from "./context";

/** Labels that differ from the report's, by target; a target that is back at the report's is not among them. */
export function renamed(state: ReviewState): Map<string, { now: string; before: string }> {
  const found = new Map<string, { now: string; before: string }>();
  for (const label of state.labels) {
    if (label.text_before !== null && label.text !== label.text_before) found.set(`label:${label.layer}/${label.feature}`, { now: label.text, before: label.text_before });
  }
  for (const node of state.supernodes) {
    if (node.label_before !== null && node.label !== node.label_before) found.set(`supernode:${node.supernode_id}`, { now: node.label, before: node.label_before });
  }
  return found;
}

/** Keep the page's own labels in step with the review. */
export function wireReflecting(context: ReportContext): void {
  const places = [...document.querySelectorAll<HTMLElement>("[data-label]")];
  const status = document.querySelector<HTMLElement>(".review-status");
  const originals = new Map(places.map((place) => [place, place.textContent ?? ""]));
  let drawn = "";

  const reflect = (): void => {
    const state = context.review.state();
    const version = `${state.review_id} ${state.version}`;
    if (version === drawn) return;
    drawn = version;
    const changed = renamed(state);
    for (const place of places) {
      const own = changed.get(place.dataset["label"] ?? "");
      const original = originals.get(place) ?? "";
      if (own) replace(place, own.now, h("span", { class: "was" }, " was “", h("bdi", null, original), "”"));
      else if (place.childNodes.length > 1) replace(place, original);
    }
    const word = status?.querySelector("b");
    if (status && word && state.version > 0) {
      status.className = `tally-item chip chip-${state.status} review-status`;
      word.textContent = state.status;
    }
  };
  reflect();
  context.review.subscribe(reflect);
}
