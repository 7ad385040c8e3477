// Acts, targets and people in plain words, for the history, conflicts and announcements.

import type { Act, DoneAct, ReviewState } from "./types";

const LONGEST = 60;

/** A text in quotation marks, cut where it is long. */
export function quoted(text: string): string {
  const points = [...text];
  return `“${points.length > LONGEST ? points.slice(0, LONGEST - 1).join("") + "…" : text}”`;
}

/** What people call an actor: `token:anna` is anna. */
export function person(actor: string): string {
  const name = actor.replace(/^(token|local):/, "");
  return name || actor;
}

export function supernodeName(state: ReviewState, id: string): string {
  const found = state.supernodes.find((supernode) => supernode.supernode_id === id);
  return found ? `${quoted(found.label)} (${id})` : id;
}

function end(state: ReviewState, id: string): string {
  return /^[sn][0-9]+$/.test(id) ? supernodeName(state, id) : id;
}

/** What a target is called: `claim:c1` is claim c1. */
export function targetName(state: ReviewState, target: string): string {
  const at = target.indexOf(":");
  const kind = at < 0 ? target : target.slice(0, at);
  const rest = target.slice(at + 1);
  if (kind === "report") return "the report";
  if (kind === "supernode") return `supernode ${supernodeName(state, rest)}`;
  if (kind === "edge") {
    const [source = "", destination = ""] = rest.split(">");
    return `edge ${end(state, source)} → ${end(state, destination)}`;
  }
  if (kind === "label" || kind === "feature") {
    const [layer, feature] = rest.split("/").map(Number);
    const label = state.labels.find((one) => one.layer === layer && one.feature === feature);
    return `feature ${rest}${label ? ` ${quoted(label.text)}` : ""}`;
  }
  return `${kind} ${rest}`;
}

function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? "" : "s"}`;
}

/** What somebody did, as the end of a sentence that begins with their name. */
export function actWords(act: Act, state: ReviewState): string {
  switch (act.kind) {
    case "judge":
      return act.decision === "open"
        ? `took back the decision on ${targetName(state, act.target)}`
        : `${act.decision} ${targetName(state, act.target)}`;
    case "comment":
      return `commented on ${targetName(state, act.target)}: ${quoted(act.text)}`;
    case "relabel feature":
      return `labelled feature ${act.layer}/${act.feature} ${quoted(act.text)}`;
    case "rename supernode":
      return `renamed supernode ${act.supernode} to ${quoted(act.text)}`;
    case "set role":
      return `set the role of ${supernodeName(state, act.supernode)} to ${act.role}`;
    case "move nodes":
      return act.to === null
        ? `took ${count(act.nodes.length, "feature")} out of ${act.nodes.length === 1 ? "its supernode" : "their supernodes"}`
        : `moved ${count(act.nodes.length, "feature")} to ${supernodeName(state, act.to)}`;
    case "merge supernodes":
      return `merged ${act.supernodes.map((id) => supernodeName(state, id)).join(", ")} into ${supernodeName(state, act.into)}`;
    case "split supernode":
      return `split ${count(act.nodes.length, "feature")} off ${supernodeName(state, act.supernode)} as ${quoted(act.label)}`;
    case "add supernode":
      return `made supernode ${quoted(act.label)} of ${count(act.nodes.length, "feature")}`;
    case "set edge":
      return `set the edge ${end(state, act.source)} → ${end(state, act.destination)} to ${act.sign > 0 ? "raises" : "lowers"}`;
    case "mark undecided":
      return act.undecided
        ? `marked ${count(act.nodes.length, "feature")} as undecided`
        : `took back the undecided mark of ${count(act.nodes.length, "feature")}`;
    case "undo":
      return "undid the last change";
    case "redo":
      return "redid the last undone change";
    case "close":
      return `closed the review: report ${act.status}`;
    case "reopen":
      return "opened the review again";
  }
}

/** A done act as a sentence. */
export function doneWords(done: DoneAct, state: ReviewState): string {
  return `${person(done.actor)} ${actWords(done.act, state)}${done.why ? ` (${done.why})` : ""}`;
}

/** The supernode, label, claim or edge that an act is about, as something that can be selected; null where there is none. */
export function actTarget(act: Act): string | null {
  switch (act.kind) {
    case "judge":
    case "comment":
      return act.target === "report" ? null : act.target.replace(/^label:/, "feature:");
    case "relabel feature":
      return `feature:${act.layer}/${act.feature}`;
    case "rename supernode":
    case "set role":
    case "split supernode":
      return `supernode:${act.supernode}`;
    case "merge supernodes":
      return `supernode:${act.into}`;
    case "move nodes":
      return act.to === null ? (act.nodes[0] === undefined ? null : `node:${act.nodes[0]}`) : `supernode:${act.to}`;
    case "set edge":
      return `edge:${act.source}>${act.destination}`;
    case "mark undecided":
    case "add supernode":
      return act.nodes[0] === undefined ? null : `node:${act.nodes[0]}`;
    default:
      return null;
  }
}
