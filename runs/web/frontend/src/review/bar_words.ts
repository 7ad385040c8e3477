// What is left to decide in a review, and how its saving is told.

import type { EdgeState, ReviewState, Saving, SupernodeState } from "./types";

/** Who corrects a thing has decided about it: it is not asked again. */
function supernodeDecided(one: SupernodeState): boolean {
  return one.decision !== "open" || one.changed || one.label !== one.label_before || one.role !== one.role_before;
}

function edgeDecided(one: EdgeState): boolean {
  return one.decision !== "open" || one.origin === "reviewer" || one.sign !== one.sign_before;
}

/** What can be decided, in the order in which one goes through it: what is selected for it, and whether it is decided. */
export function decisions(state: ReviewState): { target: string; decided: boolean }[] {
  const here = state.supernodes.filter((one) => !one.gone);
  const gone = new Set(state.supernodes.filter((one) => one.gone).map((one) => one.supernode_id));
  const untold = new Set(state.undecided.map((node) => node.slice(0, node.lastIndexOf("_"))));
  return [
    ...here.map((one) => ({ target: `supernode:${one.supernode_id}`, decided: supernodeDecided(one) })),
    ...state.edges.filter((one) => !one.stale && !gone.has(one.source) && !gone.has(one.destination)).map((one) => ({ target: `edge:${one.source}>${one.destination}`, decided: edgeDecided(one) })),
    ...state.labels.map((one) => ({ target: `feature:${one.layer}/${one.feature}`, decided: one.decision !== "open" || one.text !== one.text_before || untold.has(`${one.layer}_${one.feature}`) })),
    ...state.claims.map((one) => ({ target: `claim:${one.claim_id}`, decided: one.decision !== "open" })),
  ];
}

/** The next thing after the selected one that nobody decided about; null when all is decided. */
export function nextUndecided(state: ReviewState, selected: string | null): string | null {
  const all = decisions(state);
  const at = all.findIndex(({ target }) => target === selected);
  const ordered = [...all.slice(at + 1), ...all.slice(0, at + 1)];
  return ordered.find(({ decided }) => !decided)?.target ?? null;
}

export function savingWords(saving: Saving, version: number): { words: string; tone: "good" | "wait" | "bad" } {
  const changes = (n: number): string => `${n} change${n === 1 ? "" : "s"}`;
  switch (saving.kind) {
    case "saved":
      return { words: version ? `All saved, version ${version}` : "Nothing changed yet", tone: "good" };
    case "saving":
      return { words: "Saving…", tone: "wait" };
    case "offline":
      return { words: `${changes(saving.waiting)} not saved: ${saving.why}. Kept here, tried again soon`, tone: "bad" };
    case "conflict":
      return { words: `${changes(saving.waiting)} wait for your word`, tone: "bad" };
    case "refused":
      return { words: `Not saved: ${saving.why}`, tone: "bad" };
  }
}
