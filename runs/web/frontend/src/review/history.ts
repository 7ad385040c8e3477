// Everything that was done in a review, the last first: who, when, what, why; what was undone is struck out.

import { openDialog } from "../lib/dialogs";
import { h, replace } from "../lib/dom";
import { timeElement } from "../lib/moments";
import type { ReportContext } from "../report/context";
import { visible } from "../circuit/text";
import { actTarget, actWords, person } from "./words";

export function openHistory(context: ReportContext): void {
  const list = h("ol", { class: "history", reversed: true });
  const render = (): void => {
    const state = context.review.state();
    const lines = [...state.history].reverse().map((done) => {
      const target = actTarget(done.act);
      const words = visible(actWords(done.act, state));
      const show = (): void => {
        dialog.close();
        context.selection.set(target);
      };
      return h(
        "li",
        { class: done.undone ? "undone" : null, value: done.version },
        h("p", null, h("strong", null, visible(person(done.actor))), " ", done.undone ? [h("s", null, words), h("span", { class: "quiet" }, " (undone)")] : words),
        done.why ? h("p", { class: "why", dir: "auto" }, `Why: ${visible(done.why)}`) : null,
        h("p", { class: "row" }, timeElement(done.at, { class: "quiet small" }), target ? h("button", { type: "button", class: "button button-small button-quiet", onclick: show }, "Show") : null),
      );
    });
    replace(list, lines.length ? lines : h("li", { class: "quiet" }, "Nothing was done yet. Whatever you accept, reject, correct or say stands here, and everything can be undone."));
  };
  const end = context.review.subscribe(render);
  const dialog = openDialog("History of this review", list, { wide: true, whenClosed: end });
  render();
}
