// Text that is being typed and not sent: kept for this browser tab, so that neither a reload nor a conflict loses it.

import type { Act } from "./types";

/** What this needs of `sessionStorage`. */
export interface Shelf {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const BEGIN = "tracescribe.review.";

/** Writes that fail (a full or forbidden storage) keep the text in memory, which lasts as long as the page. */
export class Drafts {
  private readonly memory = new Map<string, string>();

  constructor(
    private readonly prefix: string,
    private readonly shelf: Shelf | null,
  ) {}

  get(name: string): string {
    const kept = this.memory.get(name);
    if (kept !== undefined) return kept;
    try {
      return this.shelf?.getItem(this.prefix + name) ?? "";
    } catch {
      return "";
    }
  }

  set(name: string, text: string): void {
    if (text) this.memory.set(name, text);
    else this.memory.delete(name);
    try {
      if (text) this.shelf?.setItem(this.prefix + name, text);
      else this.shelf?.removeItem(this.prefix + name);
    } catch {
      // the memory has it
    }
  }
}

/** Where the texts of one visitor about one review are: never shown to, or sent by, anybody else who logs in. */
export function draftPlace(visitor: string, caseId: string, reviewId: string | null): string {
  const who = encodeURIComponent(visitor).replaceAll(".", "%2E"); // a dot ends it
  return `${BEGIN}${who}.${caseId}.${reviewId ?? "own"}.`;
}

/** Other visitors who left acts in this tab that are not saved. */
export function othersWaiting(shelf: Shelf | null, visitor: string): string[] {
  const found = new Set<string>();
  try {
    for (let i = 0; i < (shelf?.length ?? 0); i++) {
      const key = shelf?.key(i) ?? "";
      if (key.startsWith(BEGIN) && key.endsWith(".waiting")) found.add(decodeURIComponent(key.slice(BEGIN.length).split(".")[0]!));
    }
  } catch {
    return [];
  }
  found.delete(visitor);
  return [...found];
}

/** This tab's storage; null where the browser forbids it. */
export function tabShelf(): Shelf | null {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

/** Of the label of a supernode that is being made. */
export const NEW_LABEL = "label new";
/** Of why a review is closed. */
export const WHY_CLOSED = "close";

/** The text that an act carries, the name of the draft that it goes back to, and what stands between two such texts. */
export function draftOf(act: Act, why = ""): { name: string; text: string; between: string } | null {
  switch (act.kind) {
    case "comment":
      return { name: `comment ${act.target}`, text: act.text, between: "\n\n" };
    case "rename supernode":
      return { name: `label supernode:${act.supernode}`, text: act.text, between: " / " };
    case "relabel feature":
      return { name: `label label:${act.layer}/${act.feature}`, text: act.text, between: " / " };
    case "split supernode":
    case "add supernode":
      return { name: NEW_LABEL, text: act.label, between: " / " };
    case "close":
      return why ? { name: WHY_CLOSED, text: why, between: "\n\n" } : null;
    default:
      return null;
  }
}

/** Gives a text back to the field it came from, behind what is typed there by now. */
export function giveBack(drafts: Drafts, act: Act, why = ""): void {
  const draft = draftOf(act, why);
  if (!draft) return;
  const there = drafts.get(draft.name);
  if (there === draft.text) return;
  drafts.set(draft.name, there ? there + draft.between + draft.text : draft.text);
}
