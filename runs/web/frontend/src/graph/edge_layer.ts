// All edges as a picture of their own: drawn bit by bit while the page stays quick, moved as a whole while the graph is
// dragged or zoomed, drawn anew once it rests. Measured against graph libraries in docs/decisions/0013.

import type { Transform } from "./camera";
import { DASH, DASHED, WIDE } from "./edge_styles";
import type { EdgeStyles } from "./edge_styles";
import type { Palette } from "./palette";
import type { Scene } from "./scene";

/** The picture is larger than the place by this share on each side, so that dragging does not show its border. */
const MARGIN = 0.25;
const FIRST_CHUNK = 6000;
/** Of the strongest, which are wide and dashed. */
const STRONG_CHUNK = 500;
const MIN_CHUNK = 3000;
/** Edges of one sign that are drawn before those of the other. */
const BLOCK = 256;
const MAX_CHUNK = 16_000;
/** Longer frames halve the next chunk, shorter ones let it grow, in milliseconds. While the graph moves nothing is drawn here. */
const SLOW_FRAME = 45;
const QUICK_FRAME = 30;

interface Picture {
  /** The strongest edges, which come first and lie on top, and all others. */
  readonly strong: HTMLCanvasElement;
  readonly weak: HTMLCanvasElement;
  readonly view: Transform;
  readonly width: number;
  readonly height: number;
  readonly ratio: number;
  next: number;
}

export class EdgeLayer {
  /** Called after each part that is drawn, and with true once all are. */
  whenDrawn: (whole: boolean) => void = () => {};
  /** Edges in the picture that is shown. */
  nDrawn = 0;
  private shown: Picture | null = null;
  private work: Picture | null = null;
  private frame = 0;
  private chunk = FIRST_CHUNK;
  private lastFrame = 0;
  private drawnInWork = 0;

  constructor(
    private readonly scene: Scene,
    private readonly styles: EdgeStyles,
  ) {}

  /** Begin to draw the picture for a view; what was being drawn is dropped. */
  redraw(view: Transform, place: { width: number; height: number }, ratio: number, palette: Palette): void {
    this.stop();
    const width = Math.ceil(place.width * (1 + 2 * MARGIN));
    const height = Math.ceil(place.height * (1 + 2 * MARGIN));
    const [strong, weak] = [sheet(width, height, ratio), sheet(width, height, ratio)];
    const shifted = { k: view.k, x: view.x + place.width * MARGIN, y: view.y + place.height * MARGIN };
    this.work = { strong, weak, view: shifted, width, height, ratio, next: 0 };
    this.drawnInWork = 0;
    this.chunk = Math.min(this.chunk, FIRST_CHUNK);
    this.draw(palette);
  }

  /** Drop what is being drawn; the picture that is shown stays. */
  stop(): void {
    cancelAnimationFrame(this.frame);
    this.work = null;
    this.lastFrame = 0;
  }

  get isWhole(): boolean {
    return this.work === null && this.shown !== null;
  }

  /** Put the picture into a context whose units are the place's pixels. */
  paint(context: CanvasRenderingContext2D, view: Transform): void {
    const picture = this.shown;
    if (!picture) return;
    const by = view.k / picture.view.k;
    for (const canvas of picture.next === Infinity ? [picture.weak] : [picture.weak, picture.strong]) {
      context.drawImage(canvas, view.x - picture.view.x * by, view.y - picture.view.y * by, picture.width * by, picture.height * by);
    }
  }

  private draw(palette: Palette): void {
    const work = this.work;
    if (!work) return;
    const now = performance.now();
    if (this.lastFrame) {
      const took = now - this.lastFrame;
      if (took > SLOW_FRAME) this.chunk = Math.max(MIN_CHUNK, this.chunk >> 1);
      else if (took < QUICK_FRAME) this.chunk = Math.min(MAX_CHUNK, Math.ceil(this.chunk * 1.3));
    }
    this.lastFrame = now;
    const all = Math.min(this.scene.filters.edges, this.scene.data.nEdges);
    const end = Math.min(all, work.next < WIDE ? work.next + STRONG_CHUNK : work.next + this.chunk);
    const context = (work.next < WIDE ? work.strong : work.weak).getContext("2d");
    if (context) this.drawnInWork += this.strokes(context, work, palette, work.next, end);
    work.next = end;
    const whole = end >= all;
    // a first picture is shown while it grows; later ones when they are whole, so that nothing flickers
    if (whole || !this.shown || this.shown === work) {
      this.shown = work;
      this.nDrawn = this.drawnInWork;
    }
    if (whole) {
      this.work = null;
      merge(work);
    } else {
      this.frame = requestAnimationFrame(() => this.draw(palette));
    }
    this.whenDrawn(whole);
  }

  /** Draw edges from one number to another; how many were within the picture. */
  private strokes(context: CanvasRenderingContext2D, picture: Picture, palette: Palette, from: number, end: number): number {
    const { data, layout } = this.scene;
    const { source, target, weight } = data;
    const { x, y } = layout;
    const { k, x: left, y: top } = picture.view;
    const block = (sign: number, first: number, last: number): number => {
      let found = 0;
      context.strokeStyle = sign > 0 ? palette.helps : palette.hinders;
      let style = -1;
      for (let edge = first; edge < last; edge++) {
        if (weight[edge]! > 0 !== sign > 0 || !this.scene.edgeCounts(edge)) continue;
        const x1 = x[source[edge]!]! * k + left;
        const y1 = y[source[edge]!]! * k + top;
        const x2 = x[target[edge]!]! * k + left;
        const y2 = y[target[edge]!]! * k + top;
        found++;
        if ((x1 < 0 && x2 < 0) || (y1 < 0 && y2 < 0) || (x1 > picture.width && x2 > picture.width) || (y1 > picture.height && y2 > picture.height)) continue;
        // neighbours in strength look alike: settings of the context cost more than lines
        if (style < 0 || edge - style >= 64 || edge < 64) {
          context.lineWidth = this.styles.width(edge);
          context.globalAlpha = this.styles.alpha(edge);
          context.setLineDash(sign < 0 && edge < DASHED ? DASH : []);
          style = edge;
        }
        context.beginPath();
        context.moveTo(x1, y1);
        context.lineTo(x2, y2);
        context.stroke();
      }
      return found;
    };
    let drawn = 0;
    for (let start = from; start < end; start += BLOCK) {
      // by turns, so that neither sign always lies on top
      const signs = Math.floor(start / BLOCK) % 2 ? [1, -1] : [-1, 1];
      for (const sign of signs) drawn += block(sign, start, Math.min(end, start + BLOCK));
    }
    return drawn;
  }
}

/** An empty canvas whose units are the place's pixels. */
function sheet(width: number, height: number, ratio: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.getContext("2d")?.scale(ratio, ratio);
  return canvas;
}

/** Put both sheets into one: half the work for every frame that only moves the picture. */
function merge(picture: Picture): void {
  const context = picture.weak.getContext("2d");
  if (!context) return;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.drawImage(picture.strong, 0, 0);
  picture.strong.width = 0; // gives its memory back
  picture.next = Infinity;
}
