// The two drawings of a circuit in one place: supernodes first, the full attribution graph one key away.

import { announce } from "../lib/announce";
import { byId, h, replace } from "../lib/dom";
import { registerKey } from "../lib/keys";
import { messageOf } from "../lib/api";
import type { Selection } from "./context";

export type View = "supernodes" | "graph";

const NAMES: Record<View, string> = { supernodes: "supernodes", graph: "the full attribution graph" };

type Mounting<Context> = (root: HTMLElement, context: Context) => void | Promise<void>;

/** Mount a part; what it throws is told in its place, and the rest of the page goes on. */
export async function mountPart<Context>(root: HTMLElement, mount: Mounting<Context>, context: Context): Promise<void> {
  try {
    await mount(root, context);
  } catch (cause) {
    replace(root, h("p", { class: "note note-problem", role: "alert" }, `This part could not be shown: ${messageOf(cause)}`));
    console.info("part failed", root.id, cause);
  }
}

/** Wire the switch between the drawings; the graph is fetched when it is first asked for. */
export function wireViews<Context extends { readonly selection: Selection }>(context: Context, mountGraph: Mounting<Context>, first: View): void {
  const places: Record<View, HTMLElement> = { supernodes: byId("circuit-supernodes"), graph: byId("circuit-graph") };
  const buttons: Record<View, HTMLButtonElement> = {
    supernodes: byId<HTMLButtonElement>("show-supernodes"),
    graph: byId<HTMLButtonElement>("show-graph"),
  };
  let now: View = "supernodes";
  let mounted = false;

  const show = (view: View, remember: boolean): void => {
    if (buttons[view].disabled) return;
    now = view;
    for (const name of ["supernodes", "graph"] as const) {
      places[name].hidden = name !== view;
      buttons[name].setAttribute("aria-pressed", String(name === view));
    }
    if (remember) {
      const address = new URL(location.href);
      if (view === "graph") address.searchParams.set("view", "graph");
      else address.searchParams.delete("view");
      history.replaceState(history.state, "", address);
      announce(`Showing ${NAMES[view]}`);
    }
    if (view === "graph" && !mounted) {
      mounted = true;
      void mountPart(places.graph, mountGraph, context);
    }
    document.dispatchEvent(new CustomEvent("viewchange", { detail: view }));
  };
  for (const name of ["supernodes", "graph"] as const) buttons[name].addEventListener("click", () => show(name, true));
  const bringUp = (): void => {
    const box = byId("circuit").getBoundingClientRect();
    if (box.bottom < 80 || box.top > innerHeight - 160) byId("circuit").scrollIntoView({ block: "start" });
  };
  registerKey({
    keys: "g",
    what: "Switch between supernodes and the full attribution graph",
    section: "Report",
    run: () => {
      show(now === "graph" ? "supernodes" : "graph", true);
      bringUp();
    },
  });
  // Single nodes are only in the full graph; a link to one opens it.
  const asked = context.selection.get();
  show(first === "graph" || (asked?.startsWith("node:") ?? false) ? "graph" : "supernodes", false);
}
