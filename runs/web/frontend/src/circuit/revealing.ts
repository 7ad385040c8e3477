// What is selected is seen: panned to in the drawing's own box, and on the page above the sheet that covers its lower part.

import type { Selection } from "../report/context";

const MARGIN = 20;

/** How far something must be scrolled so that it lies within a span; of what is longer, a part is enough. */
export function wayInto(begin: number, end: number, from: number, to: number): number {
  const longer = end - begin > to - from - 2 * MARGIN;
  if (longer && begin < to - MARGIN && end > from + MARGIN) return 0;
  if (longer || begin < from) return begin - from - MARGIN;
  return end > to ? end - to + MARGIN : 0;
}

function pan(scroller: Element, left: number, top: number, smooth: boolean): void {
  const still = !smooth || matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (left || top) scroller.scrollTo({ left: scroller.scrollLeft + left, top: scroller.scrollTop + top, behavior: still ? "instant" : "smooth" });
}

/** Where the part of the window ends that no sheet lies over. */
function bottomOf(sheet: HTMLElement | null): number {
  if (!sheet?.classList.contains("is-open") || getComputedStyle(sheet).position !== "fixed") return innerHeight;
  return Math.min(innerHeight, sheet.getBoundingClientRect().top);
}

interface Drawing {
  readonly scroll: HTMLElement;
  readonly drawing: SVGSVGElement;
  element(target: string): SVGElement | null;
  whenDrawn(run: () => void): void;
}

export class Revealing {
  private readonly sheet = document.getElementById("inspector");
  /** What is kept in view while the sheet grows over it; nothing once the person moves the page. */
  private held: string | null = null;

  constructor(
    private readonly drawing: Drawing,
    selection: Selection,
  ) {
    this.show(selection.get(), { far: true, smooth: false });
    selection.subscribe((target) => this.show(target));
    const hold = (): void => {
      if (this.held !== null) this.show(this.held, { smooth: false });
    };
    const watch = new ResizeObserver(hold);
    drawing.whenDrawn(() => {
      watch.disconnect();
      watch.observe(drawing.drawing);
      if (this.sheet) watch.observe(this.sheet);
    });
    for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) addEventListener(kind, () => (this.held = null), { capture: true, passive: true });
  }

  /** Bring a target into view. `far`: even where the drawing itself is off the screen; else the reader stays where they read. */
  show(target: string | null, { far = false, smooth = true } = {}): void {
    const element = target === null ? null : this.drawing.element(target);
    this.held = element ? target : null;
    if (!element || this.drawing.scroll.offsetParent === null) return;
    const { scroll } = this.drawing;
    const room = scroll.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    const left = wayInto(box.left, box.right, room.left, room.right);
    const top = wayInto(box.top, box.bottom, room.top, room.bottom);
    const before = { left: scroll.scrollLeft, top: scroll.scrollTop };
    pan(scroll, left, top, smooth);
    if (!far && (room.bottom < 0 || room.top > innerHeight)) return;
    // where it will be once the pan has ended, which goes no farther than the drawing does
    const inside = Math.min(Math.max(0, before.top + top), scroll.scrollHeight - scroll.clientHeight) - before.top;
    pan(document.scrollingElement ?? document.documentElement, 0, wayInto(box.top - inside, box.bottom - inside, 0, bottomOf(this.sheet)), smooth);
  }
}
