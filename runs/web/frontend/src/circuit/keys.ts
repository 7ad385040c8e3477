// Keys of the drawing: walk it, and do everything that the pointer does.

import { announce, toast } from "../lib/announce";
import { registerKey } from "../lib/keys";
import { actTargetOf, askMerge, askMove, decide, decisionOn, homeOf } from "../review/doing";
import type { Decision } from "../review/types";
import { middle } from "./layout";
import type { Stage } from "./stage";

const SECTION = "Circuit";

/** Listen to the keys of the drawing. `reveal` brings into view what they lead to. */
export function listenToKeys(stage: Stage, reveal: (target: string) => void): void {
  const { context } = stage;
  const selected = (): string | null => context.selection.get();
  const shown = (): boolean => stage.scroll.offsetParent !== null;

  /** Runs with what is selected; says so where nothing is. */
  const withTarget = (run: (target: string) => unknown) => (): void => {
    const target = actTargetOf(selected());
    if (target === null) toast("Select something first: s goes to the next supernode, n to the next thing that is not decided.", "note");
    else void run(target);
  };
  const withSupernode = (run: (id: string) => unknown) => (): void => {
    const target = selected();
    const state = context.review.state();
    const id = target?.startsWith("supernode:") ? target.slice(10) : target?.startsWith("node:") ? homeOf(state, target.slice(5))?.supernode_id : undefined;
    if (id === undefined) toast("Select a supernode first (s).", "note");
    else void run(id);
  };
  const judge = (decision: Decision) => withTarget((target) => (decision === "open" ? reopen(target) : decide(context, target, decision)));
  const reopen = async (target: string): Promise<void> => {
    const before = decisionOn(context.review.state(), target);
    if (before && before !== "open") await decide(context, target, before);
  };
  const go = (target: string): void => {
    context.selection.set(target);
    const element = stage.element(target);
    element?.focus({ preventScroll: true });
    reveal(target);
    const label = element?.getAttribute("aria-label");
    if (label) announce(label);
  };
  const step = (by: 1 | -1) => (): void => {
    const ids = stage.model.boxes.map(({ id }) => id);
    if (!ids.length) return;
    const at = ids.indexOf(selected()?.replace("supernode:", "") ?? "");
    go(`supernode:${ids[at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length]!}`);
  };
  const membersOf = (id: string): string[] => context.review.state().supernodes.find((one) => one.supernode_id === id)?.members ?? [];
  /** The features that a key is about: the picked ones, the selected one, or those of the selected supernode. */
  const move = (split: boolean) => (): void => {
    const target = selected();
    const picked = [...stage.picked];
    if (picked.length) return void askMove(context, picked, new Set(picked), split);
    if (target?.startsWith("node:") && !split) return void askMove(context, [target.slice(5)]);
    withSupernode((id) => {
      const members = membersOf(id);
      if (split && members.length < 2) return toast("A supernode of one feature cannot be split.", "note");
      return askMove(context, members, split ? new Set() : new Set(members), split);
    })();
  };

  registerKey({ keys: "s", what: "Next supernode", section: SECTION, when: shown, run: step(1) });
  registerKey({ keys: "S", what: "Supernode before", section: SECTION, when: shown, run: step(-1) });
  for (const [key, dx, dy] of [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]] as const) {
    registerKey({
      keys: key,
      what: `Nearest thing ${{ ArrowLeft: "to the left", ArrowRight: "to the right", ArrowUp: "above", ArrowDown: "below" }[key]}`,
      section: SECTION,
      when: () => stage.scroll.contains(document.activeElement),
      run: () => {
        const target = neighbour(stage, selected(), dx, dy);
        if (target) go(target);
      },
    });
  }
  registerKey({ keys: "j", what: "Next edge of what is selected", section: SECTION, when: shown, run: () => nextEdge(stage, selected(), 1, go) });
  registerKey({ keys: "k", what: "Edge before", section: SECTION, when: shown, run: () => nextEdge(stage, selected(), -1, go) });
  registerKey({
    keys: ["Enter", "Space"],
    what: "Select what has the focus; show or hide the features of a supernode",
    section: SECTION,
    when: () => stage.scroll.contains(document.activeElement),
    run: () => {
      const active = document.activeElement as SVGElement;
      if (active.dataset.toggle) return stage.toggle(active.dataset.toggle);
      const target = active.dataset.target;
      if (!target) return;
      if (target === selected() && target.startsWith("supernode:")) stage.toggle(target.slice(10));
      else go(target);
    },
  });
  registerKey({
    keys: "p",
    what: "Pick a feature, to move or split several together",
    section: SECTION,
    when: shown,
    run: () => {
      const target = selected();
      if (target?.startsWith("node:") && stage.element(target)?.dataset.node) stage.pick(target.slice(5));
    },
  });
  registerKey({ keys: "v", what: "Show or hide the features of all supernodes", section: SECTION, when: shown, run: () => stage.expandAll(stage.expanded.size < stage.model.boxes.length) });
  registerKey({ keys: "t", what: "Tidy: every box back to its place", section: SECTION, when: shown, run: () => stage.tidy() });
  registerKey({ keys: ["+", "="], what: "Larger", section: SECTION, when: shown, run: () => stage.zoomBy(1.25) });
  registerKey({ keys: "-", what: "Smaller", section: SECTION, when: shown, run: () => stage.zoomBy(0.8) });
  registerKey({ keys: "0", what: "Fit to the page", section: SECTION, when: shown, run: () => stage.zoomBy(null) });

  const section = "Correct what is selected";
  registerKey({ keys: "a", what: "Accept; again takes it back", section, run: judge("accepted") });
  registerKey({ keys: "r", what: "Reject; again takes it back", section, run: judge("rejected") });
  registerKey({ keys: "o", what: "Open again: no decision", section, run: judge("open") });
  registerKey({ keys: "m", what: "Move features to another supernode", section, run: move(false) });
  registerKey({ keys: "M", what: "Merge other supernodes into this one", section, run: withSupernode((id) => askMerge(context, id)) });
  registerKey({ keys: "x", what: "Split features off into a new supernode", section, run: move(true) });
}

/** The nearest thing in a direction: forward counts once, sideways double. */
function neighbour(stage: Stage, selected: string | null, dx: number, dy: number): string | null {
  const { boxes, members, ends } = stage.placement;
  const spots = new Map<string, { x: number; y: number }>([
    ...[...boxes].map(([id, rect]) => [`supernode:${id}`, middle(rect)] as const),
    ...members.map((one) => [`node:${one.member.node}`, middle(one)] as const),
    ...[...ends].filter(([node]) => !node.startsWith("token-")).map(([node, rect]) => [`node:${node}`, middle(rect)] as const),
  ]);
  const here = selected === null ? undefined : spots.get(selected);
  if (!here) return [...spots.keys()][0] ?? null;
  let best: string | null = null;
  let least = Infinity;
  for (const [target, { x, y }] of spots) {
    const ahead = (x - here.x) * dx + (y - here.y) * dy;
    if (target === selected || ahead < 4) continue;
    const aside = Math.abs((x - here.x) * dy) + Math.abs((y - here.y) * dx);
    const far = ahead + 2 * aside;
    if (far < least) [best, least] = [target, far];
  }
  return best;
}

function nextEdge(stage: Stage, selected: string | null, by: 1 | -1, go: (target: string) => void): void {
  const names = stage.model.links.map(({ source, destination }) => `edge:${source}>${destination}`);
  const [, source, destination] = /^edge:(.+)>(.+)$/.exec(selected ?? "") ?? [];
  // from an edge it goes on round the supernode at which the walk began
  const about = destination ?? selected?.replace(/^(supernode|node):/, "");
  const near = stage.model.links.flatMap((link, at) => (about === undefined || link.source === about || link.destination === about || (source !== undefined && link.source === source) ? [names[at]!] : []));
  const next = near.at((near.indexOf(selected ?? "") + by) % Math.max(1, near.length));
  if (next) go(next);
  else toast("Nothing leads here or away from here.", "note");
}
