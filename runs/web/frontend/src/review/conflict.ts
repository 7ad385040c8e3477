// The dialog after a conflict: what the other person did, what was to be done here, and the two ways to go on.

import { openDialog } from "../lib/dialogs";
import { h } from "../lib/dom";
import type { Choice, Waiting } from "./queue";
import type { Conflict } from "./types";
import { actWords, person } from "./words";

/** Asks which way to go on. Closing the dialog drops nothing: mine is done on top of theirs. */
export function askAboutConflict(conflict: Conflict, mine: readonly Waiting[], visitor: string): Promise<Choice> {
  const { state, since } = conflict;
  const others = since.some((done) => done.actor !== visitor);
  const who = (actor: string): string => (actor === visitor ? "you, in another window," : person(actor));
  const people = [...new Set(since.map((done) => who(done.actor)))].join(" and ");
  const told = others
    ? `${people} changed this review while you worked on it. Nothing was overwritten: their changes are saved, yours wait for your word.`
    : "You changed this review in another window, or before this page was loaded, and this page did not know. Nothing was overwritten: those changes are saved, these wait for your word.";
  const theirs = since.map((done) => `${who(done.actor)} ${actWords(done.act, state)}${done.why ? ` (${done.why})` : ""}`);
  const yours = mine.map(({ act, why }) => `you ${actWords(act, state)}${why ? ` (${why})` : ""}`);
  const blind = mine.some(({ act }) => act.kind === "undo" || act.kind === "redo");
  return new Promise((resolve) => {
    let choice: Choice = "on top";
    const choose = (chosen: Choice) => () => {
      choice = chosen;
      dialog.close();
    };
    const first = h("button", { type: "button", class: "button button-main", onclick: choose("on top") }, others ? "Keep theirs, do mine on top" : "Keep those, do these on top");
    const dialog = openDialog(
      others ? "Somebody else changed this review" : "You changed this review in another window",
      h(
        "div",
        { class: "conflict stack" },
        h("p", null, told),
        h("div", { class: "conflict-sides" }, side(others ? "Saved by others" : "Saved in the other window", theirs), side(others ? "Yours, not saved yet" : "Not saved yet", yours)),
        blind ? h("p", { class: "quiet" }, "Undo and redo are not done on top of what this page did not know. Press them again if you mean that.") : null,
        h("div", { class: "row row-end" }, h("button", { type: "button", class: "button", onclick: choose("drop") }, others ? "Keep theirs, drop mine" : "Keep those, drop these"), first),
      ),
      { wide: true, whenClosed: () => resolve(choice) },
    );
    dialog.element.dataset.part = "conflict";
    first.focus();
  });
}

function side(title: string, lines: string[]): HTMLElement {
  return h("section", null, h("h3", null, title), h("ul", null, lines.map((line) => h("li", null, line))));
}
