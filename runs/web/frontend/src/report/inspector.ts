// What is selected, and everything that is known of it: beside the drawing on wide screens, a sheet from below on narrow ones.

import { messageOf } from "../lib/api";
import { announce, toast } from "../lib/announce";
import { h, replace } from "../lib/dom";
import { registerKey } from "../lib/keys";
import { parseTarget, type Target } from "../lib/targets";
import { type FieldKind, reviewControls } from "../review/controls";
import { actTargetOf, mayAct } from "../review/doing";
import { targetName } from "../review/words";
import type { ReportContext } from "./context";
import { claimBody, sentenceBody } from "./inspector_claim";
import { edgeBody, supernodeBody } from "./inspector_circuit";
import { Framed } from "./inspector_frame";
import { featureBody, nodeBody } from "./inspector_node";

/** What a body of the inspector is made of. */
export interface Shown {
  /** What kind of thing it is, in a word or two. */
  kind: string;
  title: string;
  parts: (Node | null)[];
  /** What the review's controls are about; null where nothing of it can be judged. */
  judged: string | null;
}

async function bodyOf(target: Target, context: ReportContext, signal: AbortSignal): Promise<Shown | null> {
  switch (target.kind) {
    case "supernode":
      return supernodeBody(target.id, context);
    case "edge":
      return edgeBody(target.source, target.destination, context);
    case "node":
      return await nodeBody(target.id, context, signal);
    case "feature":
    case "label":
      return await featureBody(target.layer, target.feature, context, signal);
    case "claim":
      return claimBody(target.id);
    case "sentence":
      return sentenceBody(target.number, context);
    case "report":
      return null;
  }
}

function emptyBody(may: boolean): HTMLElement {
  const hint = (keys: string[], what: string): HTMLElement =>
    h("div", null, h("dt", null, keys.map((key) => h("kbd", null, key))), h("dd", null, what));
  return h(
    "div",
    { class: "inspector-empty" },
    h("h2", null, "Nothing is selected"),
    h("p", null, "Select a box, a line, a token or a sentence, and everything that is known of it stands here", may ? ", with what you may say about it." : "."),
    h(
      "dl",
      { class: "hints" },
      document.querySelector("#show-graph:not([disabled])") ? hint(["g"], "full graph") : null,
      may ? hint(["n"], "next thing to decide") : null,
      may ? hint(["a", "r"], "accept, reject") : null,
      hint(["Esc"], "select nothing"),
      hint(["?"], "all keys"),
    ),
  );
}

/** Copy a link; where the browser does not allow it, select it in a field. */
async function copyLink(link: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied");
  } catch {
    toast(`Copy this link: ${link}`, "note");
  }
}

/** Mount the inspector. */
export function mount(root: HTMLElement, context: ReportContext): void {
  const { selection, review } = context;
  let asking: AbortController | null = null;
  let shown: string | null = null;
  let drawn = "";
  let framed: Framed | null = null;

  const frame = (target: string, body: Shown): void => {
    if (framed?.updated(target, body)) return;
    const copy = h("button", { type: "button", class: "button button-small", title: "Copy a link to this (y)" }, "Copy link");
    copy.addEventListener("click", () => void copyLink(selection.link(target)));
    const close = h("button", { type: "button", class: "button button-small button-quiet inspector-close", "aria-label": "Select nothing", title: "Select nothing (Esc)" }, "×");
    close.addEventListener("click", () => selection.set(null));
    framed = new Framed(root, target, body, [copy, close], body.judged && context.may.review ? reviewControls(body.judged, context) : null);
  };

  const show = async (target: string | null): Promise<void> => {
    asking?.abort();
    const parsed = target === null ? null : parseTarget(target);
    root.classList.toggle("is-open", parsed !== null);
    if (target === null || parsed === null) {
      shown = null;
      replace(root, emptyBody(context.may.review));
      return;
    }
    const own = (asking = new AbortController());
    const changed = shown !== target;
    shown = target;
    const timer = setTimeout(() => {
      if (changed && !own.signal.aborted && !framed?.isFor(target)) replace(root, h("div", { class: "skeleton", role: "img", "aria-label": "Loading" }), h("div", { class: "skeleton" }));
    }, 150);
    try {
      const body = await bodyOf(parsed, context, own.signal);
      if (own.signal.aborted) return;
      if (body === null) replace(root, h("p", { class: "note" }, "This is not in the report."));
      else frame(target, body);
      if (body !== null && changed) announce(`${body.kind}: ${body.title}`);
      if (changed) root.scrollTop = 0;
    } catch (cause) {
      if (own.signal.aborted) return;
      const again = h("button", { type: "button", class: "button", onclick: () => void show(target) }, "Try again");
      replace(root, h("div", { class: "note note-problem", role: "alert" }, h("p", null, messageOf(cause)), again));
    } finally {
      clearTimeout(timer);
    }
  };

  selection.subscribe((target) => void show(target));
  // A change of the review (a new label, another grouping) is shown at once; what is typed in here stays.
  review.subscribe(() => {
    const state = review.state();
    const version = `${state.review_id} ${state.version}`;
    if (version === drawn) return;
    drawn = version;
    const parsed = shown === null ? null : parseTarget(shown);
    if (parsed && (parsed.kind === "supernode" || parsed.kind === "edge")) void show(shown);
    else if (shown !== null) relabel(shown);
  });
  /** A feature's new label, without asking the server for all that is known of it. */
  const relabel = (target: string): void => {
    const label = review.state().labels.find((one) => `label:${one.layer}/${one.feature}` === actTargetOf(target));
    if (label && framed?.isFor(target) && framed.judged !== null) framed.title = label.text;
  };
  /** The field of a key stands where the button's does, at once: what is typed next belongs to it. */
  const openField = (kind: FieldKind): void => {
    const about = actTargetOf(shown);
    if (about === null || shown === null) return void toast("Select something first: s goes to the next supernode, n to the next thing that is not decided.", "note");
    if (!mayAct(context)) return;
    if (!framed?.isFor(shown)) frame(shown, { kind: "Loading", title: targetName(review.state(), about), parts: [h("div", { class: "skeleton", role: "img", "aria-label": "Loading" })], judged: shown.startsWith("node:") ? shown : about });
    if (!framed?.open(kind)) toast(kind === "label" ? "This has no label to edit." : "There is nothing to say about this.", "note");
  };
  const section = "Correct what is selected";
  registerKey({ keys: "e", what: "Edit the label", section, run: () => openField("label") });
  registerKey({ keys: "c", what: "Comment", section, run: () => openField("comment") });
  registerKey({
    keys: "y",
    what: "Copy a link to what is selected",
    section: "Report",
    when: () => selection.get() !== null,
    run: () => {
      const target = selection.get();
      if (target !== null) void copyLink(selection.link(target));
    },
  });
  registerKey({
    keys: "i",
    what: "Go to what is known of the selection",
    section: "Report",
    when: () => selection.get() !== null,
    run: () => document.getElementById("inspector-name")?.focus(),
  });
  void show(selection.get());
}
