// The bar of a review: whose it is, whether all is saved, what is still to be decided, and what can be done with the whole.

import { toast } from "../lib/announce";
import { confirmDialog, openDialog } from "../lib/dialogs";
import { h, replace } from "../lib/dom";
import { registerKey } from "../lib/keys";
import type { ReportContext } from "../report/context";
import { visible } from "../circuit/text";
import { decisions, nextUndecided, savingWords } from "./bar_words";
import { mayAct } from "./doing";
import { openHistory } from "./history";
import { openOthers } from "./others";
import { openExports } from "./saving_files";
import { WHY_CLOSED } from "./drafts";
import { type Act, MAX_TEXT, type ReviewState } from "./types";
import { Typing } from "./typing";
import { actWords, person } from "./words";

const NOT_UNDONE: ReadonlySet<Act["kind"]> = new Set(["undo", "redo", "close", "reopen"]);

export function mount(root: HTMLElement, context: ReportContext): void {
  const { review } = context;
  const act = (kind: "undo" | "redo"): void => {
    const state = review.state();
    if (!mayAct(context)) return;
    if (kind === "undo" ? state.can_undo : state.can_redo) void goBack(context, kind);
    else toast(`There is nothing to ${kind}.`, "note");
  };
  const next = (): void => {
    const target = nextUndecided(review.state(), context.selection.get());
    if (target) context.selection.set(target);
    else toast("Everything is decided. Close the review when you are done.", "done");
  };
  const tool = (name: string, words: string, run: () => void, more: { disabled?: boolean; title?: string; class?: string } = {}): HTMLElement =>
    h("button", { type: "button", class: `button button-small ${more.class ?? ""}`, "data-do": name, title: more.title, disabled: more.disabled, onclick: run }, words);
  // parts that stay, so that neither focus nor what a screen reader follows is lost when the rest is drawn again
  const saved = h("span", { class: "review-saved", role: "status" });
  const retry = tool("retry", "Try now", () => review.hurry(), { class: "review-retry" });
  const who = h("span", { class: "review-who" });
  const progress = h("span", { class: "review-progress" });
  const tools = h("span", { class: "review-tools" });
  replace(root, h("div", { class: "review-state" }, who, saved, retry), progress, tools);

  const render = (): void => {
    const state = review.state();
    const own = context.reviewId === null;
    const label = state.status === "open" ? "open" : `closed: report ${state.status}`;
    replace(who, h("strong", null, own ? "Your review" : `Review of ${visible(person(state.reviewer))}`), h("span", { class: `chip chip-${state.status}` }, label));
    const { words, tone } = savingWords(review.saving(), state.version);
    if (saved.textContent !== words) saved.textContent = visible(words);
    saved.dataset.tone = tone;
    retry.hidden = review.saving().kind !== "offline";
    tellHead(state);
    const all = decisions(state);
    const done = all.filter(({ decided }) => decided).length;
    replace(progress, h("progress", { max: Math.max(1, all.length), value: done, "aria-label": "Decided" }), h("span", null, `${done} of ${all.length} decided`));
    const focused = tools.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.do : undefined;
    const open = context.may.review && state.status === "open";
    replace(
      tools,
      context.may.review
        ? [
            open ? tool("next", "Next", next, { title: "Next thing that is not decided (n)", disabled: done === all.length }) : null,
            open ? tool("undo", "Undo", () => act("undo"), { title: "Undo (u)", disabled: !state.can_undo }) : null,
            open ? tool("redo", "Redo", () => act("redo"), { title: "Redo (U)", disabled: !state.can_redo }) : null,
          ]
        : null,
      tool("history", `History (${state.history.length})`, () => openHistory(context)),
      tool("others", "Reviewers", () => openOthers(context), { title: "Reviewers and how far they agree" }),
      tool("save", "Save as…", () => openExports(context)),
      context.may.review ? (open ? tool("close", "Close review…", () => close(context), { class: "button-main" }) : tool("reopen", "Reopen", () => void review.act({ kind: "reopen" }), { class: "button-main" })) : null,
    );
    if (focused) (tools.querySelector<HTMLElement>(`[data-do="${focused}"]:not(:disabled)`) ?? tools.querySelector<HTMLElement>("button:not(:disabled)"))?.focus();
  };
  review.subscribe(render);
  render();

  const section = "Review";
  registerKey({ keys: "n", what: "Next thing that is not decided", section, run: next });
  registerKey({ keys: ["u", "Mod+z"], what: "Undo", section, run: () => act("undo") });
  registerKey({ keys: ["U", "Mod+Shift+z"], what: "Redo", section, run: () => act("redo") });
  registerKey({ keys: "H", what: "History of the review", section, run: () => openHistory(context) });
}

/** The head of the page tells how the report stands; it was made before this page's acts. */
function tellHead({ version, status }: ReviewState): void {
  const chip = document.getElementById("review-status");
  const words = chip?.querySelector("b");
  if (!chip || !words || !version || words.textContent === status) return;
  chip.className = chip.className.replace(/chip-(unreviewed|open|accepted|rejected)/, `chip-${status}`);
  words.textContent = status;
}

/** Undoes or redoes; what somebody else did is only taken back when that is meant. */
async function goBack({ review }: ReportContext, kind: "undo" | "redo"): Promise<void> {
  const state = review.state();
  const last = state.history.findLast(({ act, undone }) => (kind === "redo" ? act.kind === "undo" : !undone && !NOT_UNDONE.has(act.kind)));
  if (last && last.actor !== review.visitor) {
    const did = visible(`${person(last.actor)} ${actWords(last.act, state)}`);
    if (!(await confirmDialog({ title: kind === "undo" ? "Undo what somebody else did?" : "Redo what somebody else took back?", text: `${did}.`, yes: kind === "undo" ? "Undo it" : "Redo it" }))) return;
  }
  await review.act({ kind }, "", state.version);
}

function close(context: ReportContext): void {
  if (!mayAct(context)) return;
  const left = decisions(context.review.state()).filter(({ decided }) => !decided).length;
  const why = h("textarea", { id: "close-why", rows: 3, maxlength: MAX_TEXT });
  const typing = new Typing(context.review, WHY_CLOSED);
  const { version } = context.review.state(); // what is accepted is the report as it stands behind this dialog
  why.value = typing.text;
  why.addEventListener("input", () => typing.keep(why.value));
  const finish = (status: "accepted" | "rejected") => (): void => {
    dialog.close();
    if (!mayAct(context)) return; // somebody else closed it meanwhile; the text stays
    typing.keep("");
    void context.review.act({ kind: "close", status }, why.value.trim(), version);
  };
  const dialog = openDialog(
    "Close this review",
    h(
      "div",
      { class: "stack" },
      h("p", null, "Accept the report if, as you corrected it, it tells what the model does: it can then be saved as gold. Reject it if it cannot be put right. You can reopen the review later."),
      left ? h("p", { class: "note" }, `${left} thing${left === 1 ? " is" : "s are"} not decided. What you did not reject counts as accepted.`) : null,
      h("div", { class: "field" }, h("label", { for: "close-why" }, "Why (kept in the history and the audit log)"), why),
      h("div", { class: "row row-end" }, h("button", { type: "button", class: "button button-danger", "data-do": "reject", onclick: finish("rejected") }, "Reject the report"), h("button", { type: "button", class: "button button-main", "data-do": "accept", onclick: finish("accepted") }, "Accept the report")),
    ),
  );
  why.focus();
}
