// Accept, reject, edit and comment: the same controls wherever a thing is shown.

import { announce } from "../lib/announce";
import { h, replace } from "../lib/dom";
import { timeElement } from "../lib/moments";
import type { ReportContext } from "../report/context";
import { visible } from "../circuit/text";
import { actTargetOf, askMerge, askMove, decide, decisionOn, labelOf, mayAct, present, rename } from "./doing";
import { Typing } from "./typing";
import { type Decision, MAX_LABEL, MAX_TEXT, ROLES, type Role } from "./types";
import { person, targetName } from "./words";

/** Fields that open among the controls. */
export type FieldKind = "label" | "comment";

export interface ReviewControls {
  readonly element: HTMLElement;
  /** Opens a field and goes there; `back` takes the focus once it is closed. False where there is no such field. */
  open(kind: FieldKind, back: () => void): boolean;
}

/** Controls for a target; they follow the review for as long as they are on the page. Empty where nothing can be said. */
export function reviewControls(target: string, context: ReportContext): ReviewControls {
  const root = h("div", { class: "review-controls" });
  const about = actTargetOf(target);
  if (about === null) return { element: root, open: () => false };
  const buttons = h("div", { class: "row review-buttons" });
  const editor = h("div");
  const thread = h("div", { class: "review-thread" });
  const composer = h("div");
  root.append(buttons, editor, thread, composer);
  const parts: Parts = { context, target, about, buttons, editor, composer };
  const render = (): void => {
    const focused = buttons.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.do : undefined;
    replace(buttons, buttonsOf(parts));
    if (focused) buttons.querySelector<HTMLElement>(`[data-do="${focused}"]`)?.focus();
    replace(thread, commentsOf(parts));
  };
  render();
  const { drafts } = context.review;
  const reopen = (): void => {
    comeBack(editor, drafts.get(`label ${about}`), () => openEditor(parts, null));
    comeBack(composer, drafts.get(`comment ${about}`), () => openComposer(parts, null));
  };
  let shown = false;
  reopen();
  const end = context.review.subscribe(() => {
    if (root.isConnected) {
      shown = true;
      render();
      reopen(); // the text of an act that was not done comes back
    } else if (shown) end();
  });
  const open = (kind: FieldKind, back: () => void): boolean => {
    if (kind === "comment") openComposer(parts, back);
    else if (labelOf(context.review.state(), about) === null) return false;
    else openEditor(parts, back);
    return true;
  };
  return { element: root, open };
}

/** Shows a text that was not saved: in the field that is open, or in one that opens for it. */
function comeBack(place: HTMLElement, text: string, open: () => void): void {
  if (!text || place.dataset["putAway"] === text) return;
  const input = place.querySelector<HTMLInputElement | HTMLTextAreaElement>("input, textarea");
  if (input === null) open();
  else if (input.value !== text) input.value = text; // what is typed is kept as it is typed: this came back behind it
}

interface Parts {
  context: ReportContext;
  target: string;
  about: string;
  buttons: HTMLElement;
  editor: HTMLElement;
  composer: HTMLElement;
}

function control(name: string, words: string, about: string, run: () => void, more: { pressed?: boolean; class?: string; sign?: string } = {}): HTMLElement {
  return h(
    "button",
    { type: "button", class: `button button-small ${more.class ?? ""}`, "data-do": name, "aria-pressed": more.pressed === undefined ? null : String(more.pressed), "aria-label": `${words}: ${about}`, onclick: run },
    more.sign ? h("span", { "aria-hidden": "true" }, more.sign) : null,
    words,
  );
}

function buttonsOf(parts: Parts): (HTMLElement | null)[] {
  const { context, target, about } = parts;
  const state = context.review.state();
  const decision = decisionOn(state, about);
  const name = visible(targetName(state, about));
  const comments = state.comments.filter((one) => one.target === about).length;
  if (!mayAct(context, false)) {
    return [decision === null || decision === "open" ? null : h("span", { class: `chip chip-${decision}` }, decision === "accepted" ? "✓ accepted" : "✕ rejected")];
  }
  const judge = (to: Decision, words: string, sign: string): HTMLElement => control(to, words, name, () => void decide(context, about, to), { pressed: decision === to, class: `is-${to}`, sign });
  const to = (button: string) => (): void => parts.buttons.querySelector<HTMLElement>(`[data-do="${button}"]`)?.focus();
  const list: (HTMLElement | null)[] = [];
  if (decision !== null) list.push(h("span", { class: "button-group" }, judge("accepted", "Accept", "✓"), judge("rejected", "Reject", "✕")));
  if (labelOf(state, about) !== null) list.push(control("edit", "Edit label", name, () => openEditor(parts, to("edit"))));
  const supernode = about.startsWith("supernode:") ? present(state).find((one) => `supernode:${one.supernode_id}` === about) : undefined;
  if (supernode) {
    list.push(roleChoice(context, supernode.supernode_id, supernode.role, name));
    list.push(control("move", "Move features…", name, () => void askMove(context, supernode.members)));
    list.push(control("merge", "Merge…", name, () => void askMerge(context, supernode.supernode_id)));
    if (supernode.members.length > 1) list.push(control("split", "Split…", name, () => void askMove(context, supernode.members, new Set(), true)));
  }
  if (target.startsWith("node:")) {
    const node = target.slice(5);
    list.push(control("move", "Move…", name, () => void askMove(context, [node])));
    const undecided = state.undecided.includes(node);
    list.push(control("undecided", "Cannot tell", name, () => void context.review.act({ kind: "mark undecided", nodes: [node], undecided: !undecided }), { pressed: undecided }));
  }
  if (about.startsWith("edge:")) list.push(...edgeControls(context, about, name));
  list.push(control("comment", comments ? `Comment (${comments})` : "Comment", name, () => openComposer(parts, to("comment"))));
  return list;
}

function roleChoice(context: ReportContext, supernode: string, role: Role, name: string): HTMLElement {
  const select = h("select", { class: "role-choice", "aria-label": `Role: ${name}`, "data-do": "role" }, ROLES.map((one) => h("option", { value: one, selected: one === role }, one)));
  select.addEventListener("change", () => void context.review.act({ kind: "set role", supernode, role: select.value as Role }));
  return select;
}

function edgeControls(context: ReportContext, about: string, name: string): HTMLElement[] {
  const [source = "", destination = ""] = about.slice(5).split(">");
  const edge = context.review.state().edges.find((one) => one.source === source && one.destination === destination);
  const set = (sign: 1 | -1) => (): void => void context.review.act({ kind: "set edge", source, destination, sign });
  if (edge?.stale) return [control("raises", "It raises still", name, set(1)), control("lowers", "It lowers now", name, set(-1))];
  if (edge) return [control("sign", edge.sign > 0 ? "It lowers instead" : "It raises instead", name, set(edge.sign > 0 ? -1 : 1))];
  return [control("raises", "Add: raises", name, set(1)), control("lowers", "Add: lowers", name, set(-1))];
}

function commentsOf({ context, about }: Parts): HTMLElement | null {
  const comments = context.review.state().comments.filter((one) => one.target === about);
  if (!comments.length) return null;
  return h(
    "ul",
    { class: "comments", "aria-label": "Comments" },
    comments.map(({ actor, at, text }) => h("li", null, h("p", { class: "comment-head" }, h("strong", null, visible(person(actor))), " ", timeElement(at, { class: "quiet small" })), h("p", { class: "comment-text", dir: "auto" }, visible(text)))),
  );
}

interface Asking {
  name: string;
  words: string;
  label: string;
  value: string;
  most: number;
  long: boolean;
  save: (text: string, seen: number) => Promise<boolean>;
}

/** What takes the focus when a field is closed; null for one that opens by itself and does not take it. */
type Back = (() => void) | null;

const backOf = new WeakMap<HTMLElement, Back>();

/** An inline field whose text is kept as a draft until it is saved or thrown away. */
function openField(place: HTMLElement, context: ReportContext, asking: Asking, back: Back): void {
  if (back !== null || !place.firstChild) backOf.set(place, back);
  if (place.firstChild) return place.querySelector<HTMLElement>("input, textarea")?.focus();
  const typing = new Typing(context.review, asking.name);
  const attributes = { "aria-label": asking.label, maxlength: asking.most, autocomplete: "off" };
  const input = asking.long ? h("textarea", { ...attributes, rows: 3 }) : h("input", { ...attributes, type: "text" });
  input.value = typing.text || asking.value;
  delete place.dataset["putAway"];
  const close = (): void => {
    typing.keep("");
    leave();
  };
  /** Escape may have been a slip: as in a dialog the text is kept, for when the field is opened again. */
  const putAway = (): void => {
    if (typing.text) {
      place.dataset["putAway"] = typing.text;
      announce("What you typed is kept.");
    }
    leave();
  };
  const leave = (): void => {
    const controls = place.parentElement;
    replace(place);
    const taken = backOf.get(place);
    if (taken) taken();
    else controls?.querySelector<HTMLElement>(".review-buttons button")?.focus();
  };
  const save = async (event?: Event): Promise<void> => {
    event?.preventDefault();
    const text = input.value.trim();
    if (text && !mayAct(context)) return; // closed by somebody else meanwhile; the text stays
    close(); // what is not saved at once waits in the queue; what is refused comes back as a draft
    if (text && text !== asking.value) await asking.save(text, typing.seen);
  };
  input.addEventListener("input", () => typing.keep(input.value === asking.value ? "" : input.value));
  input.addEventListener("keydown", (event) => {
    const key = event as KeyboardEvent;
    if (key.key === "Escape") {
      key.stopPropagation();
      putAway();
    } else if (key.key === "Enter" && (!asking.long || key.ctrlKey || key.metaKey)) void save(key);
  });
  replace(
    place,
    h("form", { class: "review-field", onsubmit: save }, input, h("div", { class: "row" }, h("button", { type: "submit", class: "button button-small button-main" }, asking.words), h("button", { type: "button", class: "button button-small", onclick: close }, "Cancel"), asking.long ? h("span", { class: "quiet small" }, "Ctrl and Enter saves") : null)),
  );
  if (back === null) return;
  input.focus();
  input.select(); // at once: later, a first letter that was typed quickly would be selected and lost
}

function openEditor({ context, about, editor }: Parts, back: Back): void {
  const state = context.review.state();
  const value = labelOf(state, about);
  if (value === null || !mayAct(context, back !== null)) return;
  openField(editor, context, { name: `label ${about}`, words: "Save label", label: `Label of ${visible(targetName(state, about))}`, value, most: MAX_LABEL, long: false, save: (text, seen) => rename(context, about, text, seen) }, back);
}

function openComposer({ context, about, composer }: Parts, back: Back): void {
  if (!mayAct(context, back !== null)) return;
  const name = visible(targetName(context.review.state(), about));
  openField(composer, context, { name: `comment ${about}`, words: "Save comment", label: `Comment on ${name}`, value: "", most: MAX_TEXT, long: true, save: (text, seen) => context.review.act({ kind: "comment", target: about, text }, "", seen) }, back);
}
