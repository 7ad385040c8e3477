// The live panel: runs interventions on the server and shows what changes. Nothing here changes the report.

import { announce, toast } from "../lib/announce";
import { ApiError, getJson, messageOf, postJson } from "../lib/api";
import { h } from "../lib/dom";
import { registerKey } from "../lib/keys";
import { parseTarget } from "../lib/targets";
import type { ReportContext } from "../report/context";
import { LiveForm, featureWords } from "./form";
import type { Choice } from "./form";
import { parseLink } from "./links";
import { Results } from "./results";
import type { LiveRequest, LiveResult, LiveState } from "./types";

const LOOK_MS = 1_000;

/** Fill the place of the live panel. */
export async function mount(root: HTMLElement, context: ReportContext): Promise<void> {
  const path = `/api/reports/${context.caseId}/live`;
  let state: LiveState;
  try {
    state = await getJson<LiveState>(path);
  } catch (cause) {
    root.replaceChildren(h("p", { class: "note note-problem" }, messageOf(cause)));
    return;
  }
  if (!state.available) {
    root.replaceChildren(h("p", { class: "note" }, "Interventions cannot be run here: ", state.why_not));
    return;
  }
  const status = h("p", { class: "live-status", role: "status" });
  const form = new LiveForm(state, (asked, choice) => void run(asked, choice));
  const results = new Results(context, (asked) => {
    form.fill(asked);
    form.element.scrollIntoView({ block: "nearest" });
    form.focus();
  });
  root.replaceChildren(form.element, status, results.element);

  async function run(asked: LiveRequest, choice: Choice): Promise<void> {
    form.busy(true);
    status.textContent = "Running on the server…";
    const looking = setInterval(() => void look(), LOOK_MS);
    try {
      const result = await postJson<LiveResult>(path, asked);
      results.add({ result, what: choice.what, supernode: choice.supernode });
      status.textContent = "";
    } catch (cause) {
      const wait = cause instanceof ApiError && cause.status === 429 ? " The server takes turns, and not too many a minute." : "";
      status.textContent = messageOf(cause) + wait;
      toast(messageOf(cause), "problem");
    } finally {
      clearInterval(looking);
      form.busy(false);
    }
  }

  async function look(): Promise<void> {
    const seen = await getJson<LiveState>(path).catch(() => null);
    if (seen === null || !form.element.querySelector("button[type=submit]:disabled")) return;
    const before = Math.max(0, seen.waiting - 1);
    const told =
      seen.phase === "loading"
        ? "Loading the model: the first run waits for it, later ones do not…"
        : before > 0
          ? `${before} ${before === 1 ? "intervention is" : "interventions are"} before yours…`
          : "Running on the server…";
    if (told !== status.textContent) status.textContent = told;
  }

  const follow = (target: string | null): void => {
    const found = target === null ? null : parseTarget(target);
    const members = context.review.state().supernodes.filter((one) => !one.gone);
    if (found?.kind === "supernode" && members.some((one) => one.supernode_id === found.id)) form.choose(found.id, null);
    else if (found?.kind === "node" && /^[0-9]+_[0-9]+_[0-9]+$/.test(found.id)) {
      form.choose(null, { nodes: [found.id], what: featureWords([found.id]) });
    } else if (found?.kind === "feature") {
      const nodes = members.flatMap((one) => one.members).filter((node) => node.startsWith(`${found.layer}_${found.feature}_`));
      if (nodes.length) form.choose(null, { nodes, what: featureWords(nodes) });
    }
  };
  form.update(context.review.state().supernodes);
  context.review.subscribe(() => form.update(context.review.state().supernodes));
  context.selection.subscribe(follow);
  follow(context.selection.get());

  const link = new URL(location.href).searchParams.get("live");
  const asked = link === null ? null : parseLink(link);
  if (asked !== null) {
    form.fill(asked);
    status.textContent = "Filled in from the link. Run it when you are ready.";
    root.scrollIntoView({ block: "center" });
  }
  registerKey({
    keys: "l",
    what: "Try what is selected live",
    section: "Live",
    run: () => {
      root.scrollIntoView({ block: "nearest" });
      form.focus();
      announce("Live intervention. Tab to the button Run, or press Enter.");
    },
  });
}
