// Moving about the page by what is selected: marks, scrolling, folded parts that open, sentences that light up the drawing.

import { registerKey } from "../lib/keys";
import type { ReportContext } from "./context";
import { targetOfHash } from "./selection";

const SELECTED = "is-selected";
const SPOKEN_OF = "is-about";
const IN_THE_DRAWING = /^(supernode|edge|node):/;

function listed(target: string): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>(`.report-content [data-target="${CSS.escape(target)}"]`)];
}

/** Open every folded part that an element is in. */
export function unfold(element: Element): void {
  for (let at = element.parentElement?.closest("details"); at; at = at.parentElement?.closest("details")) at.open = true;
}

function mark(target: string | null): void {
  for (const old of document.querySelectorAll(`.report-content .${SELECTED}`)) {
    old.classList.remove(SELECTED);
    old.removeAttribute("aria-current");
  }
  if (target === null) return;
  for (const element of listed(target)) {
    element.classList.add(SELECTED);
    element.setAttribute("aria-current", "true");
  }
}

let lit: string | null = null;

/** Which targets of a drawing a claim or a sentence speaks of: those it names, and the links between those. */
export function spokenOf(about: string, drawn: readonly string[]): Set<string> {
  const named = new Set(about.split(" ").filter(Boolean));
  const inside = (end: string): boolean => named.has(`supernode:${end}`);
  return new Set(
    drawn.filter((target) => {
      if (named.has(target)) return true;
      const ends = target.startsWith("edge:") ? target.slice("edge:".length).split(">") : [];
      return ends.length === 2 && ends.every(inside);
    }),
  );
}

/** Light up in the drawing everything that a claim or a sentence speaks of. */
function lightUp(about: string | null): void {
  lit = about;
  const place = document.getElementById("circuit-supernodes");
  const drawn = [...(place?.querySelectorAll<SVGElement>("[data-target]") ?? [])];
  const spoken = spokenOf(about ?? "", drawn.map((element) => element.dataset["target"] ?? ""));
  place?.classList.toggle("has-about", spoken.size > 0);
  for (const element of drawn) element.classList.toggle(SPOKEN_OF, spoken.has(element.dataset["target"] ?? ""));
}

/** What a target's own place on the page says it speaks of. */
export function aboutOf(target: string | null): string | null {
  if (target === null) return null;
  return listed(target)[0]?.dataset["about"] ?? null;
}

/** Scroll to an element. What is skipped on the way gets its true height only then, so it is aimed at until it stays. */
function bringIntoView(place: HTMLElement, tries = 8): void {
  const tall = place.getBoundingClientRect().height > innerHeight * 0.8 || place.matches("section");
  place.scrollIntoView({ block: tall ? "start" : "center", behavior: "instant" });
  const at = place.getBoundingClientRect().top;
  requestAnimationFrame(() => {
    if (tries > 0 && Math.abs(place.getBoundingClientRect().top - at) > 2) bringIntoView(place, tries - 1);
  });
}

/** Keep the page in step with what is selected. */
export function wireNavigation(context: ReportContext): void {
  const { selection } = context;
  const follow = (target: string | null): void => {
    mark(target);
    lightUp(aboutOf(target));
  };
  selection.subscribe(follow);

  // A link within the page selects by its address; here its place is opened and brought into view.
  const goTo = (): void => {
    const target = selection.get();
    // What stands in the drawing is looked at there and in the inspector; the page does not run away to its table.
    if (target !== null && IN_THE_DRAWING.test(target)) return;
    const place = target === null ? document.getElementById(location.hash.slice(1)) : listed(target)[0];
    if (!place) return;
    unfold(place);
    bringIntoView(place);
  };
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>('a[href^="#"]') : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = targetOfHash(link.hash);
    if (target !== null && (IN_THE_DRAWING.test(target) || target.startsWith("sentence:"))) {
      event.preventDefault();
      selection.set(target);
    } else {
      setTimeout(goTo, 0); // after the browser has changed the address
    }
  });

  const content = document.querySelector<HTMLElement>(".report-content");
  const spoken = (event: Event): HTMLElement | null =>
    event.target instanceof Element ? event.target.closest<HTMLElement>("[data-about]") : null;
  const over = (event: Event): void => {
    const element = spoken(event);
    if (element) lightUp(element.dataset["about"] ?? null);
  };
  const out = (event: Event): void => {
    if (spoken(event)) lightUp(aboutOf(selection.get()));
  };
  content?.addEventListener("pointerover", over);
  content?.addEventListener("pointerout", out);
  content?.addEventListener("focusin", over);
  content?.addEventListener("focusout", out);

  registerKey({
    keys: "Escape",
    what: "Select nothing",
    section: "Report",
    when: () => selection.get() !== null,
    run: () => selection.set(null),
  });
  for (const [key, id, what] of [
    ["1", "circuit", "Go to the circuit"],
    ["2", "story", "Go to the story"],
    ["3", "claims", "Go to the claims"],
    ["4", "features", "Go to the features"],
  ] as const) {
    registerKey({
      keys: key,
      what,
      section: "Report",
      run: () => {
        const place = document.getElementById(id);
        place?.scrollIntoView({ block: "start" });
        place?.focus({ preventScroll: true });
      },
    });
  }

  // The drawing is made anew when the review changes; what is spoken of stays lit.
  const circuit = document.getElementById("circuit-supernodes");
  if (circuit) new MutationObserver(() => lightUp(lit)).observe(circuit, { childList: true, subtree: true });
  follow(selection.get());
  if (selection.get() !== null) requestAnimationFrame(goTo);
  // For print everything is opened, and afterwards as it was.
  let opened: HTMLDetailsElement[] = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll<HTMLDetailsElement>(".report details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
  });
}
