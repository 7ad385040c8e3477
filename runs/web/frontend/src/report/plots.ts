// Single values read off a strip plot: point at a dot, or focus the plot and use the arrow keys.

import { announce } from "../lib/announce";
import { svg } from "../lib/dom";

interface Dot {
  x: number;
  y: number;
  text: string;
}

/** The dots of a plot: places from its path (`M12.3 45.6h0` each), effects from its `data-values`, in the same order. */
export function dotsOf(path: string, values: string): Dot[] {
  const texts = values.split(" ");
  return [...path.matchAll(/M([0-9.-]+) ([0-9.-]+)h0/g)].map((place, at) => ({
    x: Number(place[1]),
    y: Number(place[2]),
    text: (texts[at] ?? "").replaceAll("-", "−"),
  }));
}

/** The place in a list of the dot nearest to a point, -1 for one farther than `reach`. */
export function nearestDot(dots: readonly Dot[], x: number, y: number, reach: number): number {
  let best = -1;
  let least = reach * reach;
  dots.forEach((dot, at) => {
    const distance = (dot.x - x) ** 2 + (dot.y - y) ** 2;
    if (distance < least) {
      least = distance;
      best = at;
    }
  });
  return best;
}

class Reader {
  private readonly dots: Dot[];
  private readonly ring = svg("circle", { class: "dot-ring", r: 4 });
  private readonly value = svg("text", { class: "dot-value", y: 36 });
  private at = -1;

  constructor(private readonly plot: SVGSVGElement) {
    this.dots = dotsOf(plot.querySelector(".dots")?.getAttribute("d") ?? "", plot.dataset["values"] ?? "");
  }

  point(event: PointerEvent): void {
    const box = this.plot.getBoundingClientRect();
    const scale = box.width ? this.plot.viewBox.baseVal.width / box.width : 1;
    this.show(nearestDot(this.dots, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale, 12));
  }

  step(by: number): void {
    const last = this.dots.length - 1;
    this.show(this.at < 0 ? (by > 0 ? 0 : last) : Math.min(last, Math.max(0, this.at + by)));
    const dot = this.dots[this.at];
    if (dot) announce(`control ${this.at + 1} of ${this.dots.length}: ${dot.text}`);
  }

  show(at: number): void {
    this.at = at;
    const dot = this.dots[at];
    if (!dot) {
      this.ring.remove();
      this.value.remove();
      return;
    }
    this.ring.setAttribute("cx", String(dot.x));
    this.ring.setAttribute("cy", String(dot.y));
    this.value.setAttribute("x", String(Math.min(230, Math.max(50, dot.x))));
    this.value.textContent = `a control: ${dot.text}`;
    this.plot.append(this.ring, this.value);
  }
}

const readers = new WeakMap<SVGSVGElement, Reader>();

function readerOf(event: Event): Reader | null {
  const plot = event.target instanceof Element ? event.target.closest<SVGSVGElement>("svg.strip[data-values]") : null;
  if (!plot) return null;
  let reader = readers.get(plot);
  if (!reader) readers.set(plot, (reader = new Reader(plot)));
  return reader;
}

/** Make every plot in a place readable; listeners are on the place, so that hundreds of plots cost nothing. */
export function wirePlots(root: HTMLElement): void {
  for (const plot of root.querySelectorAll<SVGSVGElement>("svg.strip[data-values]")) plot.setAttribute("tabindex", "0");
  root.addEventListener("pointermove", (event) => readerOf(event)?.point(event));
  root.addEventListener("pointerout", (event) => readerOf(event)?.show(-1));
  root.addEventListener("focusout", (event) => readerOf(event)?.show(-1));
  root.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const reader = step ? readerOf(event) : null;
    if (!reader || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    reader.step(step);
  });
}
