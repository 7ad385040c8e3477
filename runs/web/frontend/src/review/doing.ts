// What a person can do to one thing, from any part of the page and by any key: dialogs where something must be asked.

import { announce, toast } from "../lib/announce";
import { askText, confirmDialog, openDialog, type TextQuestion } from "../lib/dialogs";
import { h } from "../lib/dom";
import type { ReportContext } from "../report/context";
import { featureOf } from "../circuit/data";
import { visible } from "../circuit/text";
import { type Decision, MAX_LABEL, type ReviewState, type SupernodeState } from "./types";
import { NEW_LABEL } from "./drafts";
import { Typing } from "./typing";
import { targetName } from "./words";

/** What acting needs of the page. */
type Acting = Pick<ReportContext, "may" | "review">;

/** The target of an act for what is selected: a feature stands for its label. Null where nothing can be said of it. */
export function actTargetOf(selected: string | null): string | null {
  if (selected === null) return null;
  if (/^(supernode|edge|claim|label):/.test(selected) || selected === "report") return selected;
  if (selected.startsWith("feature:")) return `label:${selected.slice(8)}`;
  const at = selected.startsWith("node:") ? featureOf(selected.slice(5)) : null;
  return at ? `label:${at.layer}/${at.feature}` : null;
}

/** Whether something may be changed now; tells why where not. */
export function mayAct(context: Acting, tell = true): boolean {
  const { status } = context.review.state();
  if (context.may.review && status === "open") return true;
  if (tell) toast(context.may.review ? `This review is closed (${status}). Reopen it to go on.` : "Your role may read reviews, not change them.", "note");
  return false;
}

export function decisionOn(state: ReviewState, target: string): Decision | null {
  const rest = target.slice(target.indexOf(":") + 1);
  if (target === "report") return state.report_decision;
  if (target.startsWith("supernode:")) return state.supernodes.find((one) => one.supernode_id === rest)?.decision ?? null;
  if (target.startsWith("claim:")) return state.claims.find((one) => one.claim_id === rest)?.decision ?? null;
  if (target.startsWith("edge:")) return state.edges.find((one) => `${one.source}>${one.destination}` === rest)?.decision ?? null;
  if (target.startsWith("label:")) return state.labels.find((one) => `${one.layer}/${one.feature}` === rest)?.decision ?? null;
  return null;
}

/** Accepts or rejects; the same again takes the decision back. */
export async function decide(context: ReportContext, target: string, decision: Decision): Promise<void> {
  const before = decisionOn(context.review.state(), target);
  if (!mayAct(context)) return;
  if (before === null) {
    toast(`There is nothing to decide about ${targetName(context.review.state(), target)}.`, "note");
    return;
  }
  const next = before === decision ? "open" : decision;
  if (next !== before) await context.review.act({ kind: "judge", target, decision: next });
}

export function present(state: ReviewState): SupernodeState[] {
  return state.supernodes.filter((one) => !one.gone);
}

export function homeOf(state: ReviewState, node: string): SupernodeState | null {
  return present(state).find((one) => one.members.includes(node)) ?? null;
}

/** The label that a target has, and whether it can have another. */
export function labelOf(state: ReviewState, target: string): string | null {
  const rest = target.slice(target.indexOf(":") + 1);
  if (target.startsWith("supernode:")) return present(state).find((one) => one.supernode_id === rest)?.label ?? null;
  if (!target.startsWith("label:")) return null;
  return state.labels.find((one) => `${one.layer}/${one.feature}` === rest)?.text ?? "";
}

export async function rename(context: ReportContext, target: string, text: string, seen?: number): Promise<boolean> {
  const rest = target.slice(target.indexOf(":") + 1);
  const words = text.trim();
  if (!words || words === labelOf(context.review.state(), target) || !mayAct(context)) return false;
  if (target.startsWith("supernode:")) return context.review.act({ kind: "rename supernode", supernode: rest, text: words }, "", seen);
  const [layer = 0, feature = 0] = rest.split("/").map(Number);
  return context.review.act({ kind: "relabel feature", layer, feature, text: words }, "", seen);
}

/** Asks for a text, and keeps it until it is sent or given up; `save` is told which version its author began on. */
export async function askKept(context: Acting, name: string, question: TextQuestion, save: (text: string, seen: number) => Promise<boolean>): Promise<void> {
  if (!mayAct(context)) return;
  const typing = new Typing(context.review, name);
  const before = question.value ?? "";
  const text = await askText({ ...question, value: typing.text || before, typed: (now) => typing.keep(now === before ? "" : now), givenUp: () => typing.keep("") });
  if (text === null) {
    if (typing.text) announce("What you typed is kept.");
    return;
  }
  if (!mayAct(context)) return; // closed behind the dialog; the text stays
  typing.keep("");
  await save(text, typing.seen);
}

const NEW = " new";
const NOWHERE = " nowhere";

/** Asks where some features go. With `home`, its members are listed to choose from, those in `chosen` already ticked. */
export async function askMove(context: ReportContext, nodes: readonly string[], chosen: ReadonlySet<string> = new Set(nodes), split = false): Promise<void> {
  const state = context.review.state();
  if (!nodes.length || !mayAct(context)) return;
  const home = homeOf(state, nodes[0]!);
  const labels = new Map(state.labels.map((one) => [`${one.layer}/${one.feature}`, one.text]));
  const boxes = nodes.map((node) => {
    const at = featureOf(node);
    const name = at ? `${at.layer}/${at.feature}` : node;
    const input = h("input", { type: "checkbox", value: node });
    input.checked = chosen.has(node);
    return { node, input, line: h("label", { class: "choice" }, input, h("span", null, `${visible(labels.get(name) ?? name)} `, h("span", { class: "quiet" }, `feature ${name}, token ${at?.position ?? "?"}`))) };
  });
  const others = present(state).filter((one) => one !== home);
  const select = h("select", { id: "move-to" }, others.map((one) => h("option", { value: one.supernode_id }, `${visible(one.label)} (${one.supernode_id})`)), h("option", { value: NEW }, "a new supernode"), home ? h("option", { value: NOWHERE }, "no supernode") : null);
  if (split || !others.length) select.value = NEW;
  const label = h("input", { id: "move-label", type: "text", maxlength: MAX_LABEL, autocomplete: "off" });
  const typing = new Typing(context.review, NEW_LABEL);
  label.value = typing.text;
  label.addEventListener("input", () => typing.keep(label.value));
  const named = h("div", { class: "field" }, h("label", { for: "move-label" }, "Label of the new supernode"), label);
  const sync = (): void => void (named.hidden = select.value !== NEW);
  select.addEventListener("change", sync);
  sync();
  select.addEventListener("keydown", (event) => {
    if ((event as KeyboardEvent).key !== "Enter") return; // a list alone does not send its form
    event.preventDefault();
    form.requestSubmit();
  });
  const problem = h("p", { class: "field-problem", role: "alert" });
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    const moved = boxes.filter(({ input }) => input.checked).map(({ node }) => node);
    if (!moved.length) return void (problem.textContent = "Tick at least one feature.");
    if (select.value === NEW && !label.value.trim()) {
      problem.textContent = "Give the new supernode a label.";
      return label.focus();
    }
    dialog.close();
    const made = select.value === NEW;
    if (made && mayAct(context, false)) typing.keep("");
    await place(context, moved, select.value === NOWHERE ? null : made ? { label: label.value.trim() } : select.value, state.version);
  };
  const form = h(
    "form",
    { class: "stack", onsubmit: save },
    h("fieldset", { class: "move-list" }, h("legend", null, "Features"), boxes.map(({ line }) => line)),
    h("div", { class: "field" }, h("label", { for: "move-to" }, "Move to"), select),
    named,
    problem,
    h("div", { class: "row row-end" }, h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit", class: "button button-main" }, split ? "Split" : "Move")),
  );
  const dialog = openDialog(split ? `Split ${home ? `“${visible(home.label)}”` : "features"}` : "Move features", form);
  (split ? boxes[0]!.input : select).focus();
}

/** Puts features into a supernode, a new one, or none. */
export async function place(context: ReportContext, nodes: readonly string[], to: string | null | { label: string }, seen?: number): Promise<boolean> {
  if (!nodes.length || !mayAct(context)) return false;
  const state = context.review.state();
  if (to === null || typeof to === "string") return context.review.act({ kind: "move nodes", nodes: [...nodes], to }, "", seen);
  const home = homeOf(state, nodes[0]!);
  const together = home !== null && nodes.every((node) => home.members.includes(node)) && nodes.length < home.members.length;
  if (together) return context.review.act({ kind: "split supernode", supernode: home.supernode_id, nodes: [...nodes], label: to.label }, "", seen);
  return context.review.act({ kind: "add supernode", nodes: [...nodes], label: to.label, role: home?.role ?? "other" }, "", seen);
}

/** Asks with which others a supernode is merged; its own label stays. */
export async function askMerge(context: ReportContext, id: string, with_: string | null = null): Promise<void> {
  const state = context.review.state();
  const into = present(state).find((one) => one.supernode_id === id);
  const other = present(state).find((one) => one.supernode_id === with_);
  if (!into || !mayAct(context)) return;
  if (other) {
    const yes = await confirmDialog({ title: "Merge two supernodes?", text: `All features of “${visible(other.label)}” (${other.supernode_id}) go into “${visible(into.label)}” (${into.supernode_id}), whose label stays. Undo takes it back.`, yes: "Merge" });
    if (yes) await context.review.act({ kind: "merge supernodes", supernodes: [other.supernode_id], into: id }, "", state.version);
    return;
  }
  const others = present(state).filter((one) => one !== into);
  if (!others.length) return void toast("There is no other supernode to merge with.", "note");
  const boxes = others.map((one) => ({ one, input: h("input", { type: "checkbox" }) }));
  const problem = h("p", { class: "field-problem", role: "alert" });
  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
    const merged = boxes.filter(({ input }) => input.checked).map(({ one }) => one.supernode_id);
    if (!merged.length) return void (problem.textContent = "Tick at least one supernode.");
    dialog.close();
    await context.review.act({ kind: "merge supernodes", supernodes: merged, into: id }, "", state.version);
  };
  const form = h(
    "form",
    { class: "stack", onsubmit: save },
    h("fieldset", { class: "move-list" }, h("legend", null, "Supernodes whose features it takes"), boxes.map(({ one, input }) => h("label", { class: "choice" }, input, h("span", null, `${visible(one.label)} `, h("span", { class: "quiet" }, one.supernode_id))))),
    problem,
    h("div", { class: "row row-end" }, h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { type: "submit", class: "button button-main" }, "Merge")),
  );
  const dialog = openDialog(`Merge into “${visible(into.label)}”`, form);
  boxes[0]!.input.focus();
}
