// The canvas and what it shows: camera, redrawing, and what is under the pointer. It knows the scene, not the page.

import { Camera, fitted } from "./camera";
import type { Point, Transform } from "./camera";
import { EdgeLayer } from "./edge_layer";
import { edgeStyles } from "./edge_styles";
import { leftOf, NARROW, stripHeight } from "./frame";
import { Painter, radiusAt } from "./painter";
import type { Place } from "./painter";
import { paletteAt } from "./palette";
import type { Palette } from "./palette";
import type { Scene } from "./scene";

const REST_MS = 140;
const MAX_RATIO = 2;
const REACH = 9;
const CLOSE_SCALE = 1.6;
const RIGHT = { wide: 132, narrow: 26 };

export interface StageEvents {
  hovered(node: number, at: Point | null): void;
  clicked(node: number, pin: boolean): void;
}

export class Stage {
  private readonly camera: Camera;
  private place: Place = { width: 1, height: 1, ratio: 1 };
  private palette: Palette;
  private frame = 0;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private readonly edges: EdgeLayer;
  private readonly painter: Painter;
  private fits = true;
  private movedAt = -Infinity;

  constructor(
    readonly canvas: HTMLCanvasElement,
    readonly scene: Scene,
    private readonly events: StageEvents,
  ) {
    const styles = edgeStyles(scene.data);
    this.edges = new EdgeLayer(scene, styles);
    this.painter = new Painter(scene, this.edges, styles);
    this.palette = paletteAt(canvas.parentElement ?? document.body);
    this.edges.whenDrawn = (whole) => this.drawn(whole);
    this.camera = new Camera(canvas, { moved: (byHand) => this.moved(byHand), leaving: () => this.ask(), world: () => scene.layout });
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.ask());
    const recolour = (): void => {
      this.palette = paletteAt(canvas.parentElement ?? document.body);
      this.redraw();
    };
    document.addEventListener("themechange", recolour);
    this.resize();
  }

  /** Filters, selection or groups changed in a way that the edges' picture shows. */
  redraw(): void {
    this.edges.redraw(this.view, this.place, this.place.ratio, this.palette);
    this.changed();
  }

  /** What is selected, pinned or grouped changed. */
  changed(): void {
    this.painter.forget();
    this.ask();
  }

  /** Draw a frame soon. */
  ask(): void {
    this.canvas.dataset.settled = "false";
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  fit(): void {
    this.fits = true;
    this.camera.glideTo(this.fitting());
  }

  zoom(factor: number): void {
    this.fits = false;
    this.camera.zoom(factor);
  }

  pan(dx: number, dy: number): void {
    this.camera.pan(dx, dy);
  }

  /** Bring a node into sight, close enough to be told from its neighbours, if it is not. */
  reveal(node: number): void {
    const at = { x: this.scene.layout.x[node]!, y: this.scene.layout.y[node]! };
    const now = this.screenOf(node);
    const strip = stripHeight(this.scene, this.view);
    const inside = now.x > leftOf(this.place) + 16 && now.y > 16 && now.x < this.place.width - 16 && now.y < this.place.height - strip - 16;
    if (inside) return this.ask();
    this.camera.centre(at);
  }

  /** Show a node large, in the middle. */
  closeUp(node: number): void {
    const at = { x: this.scene.layout.x[node]!, y: this.scene.layout.y[node]! };
    this.camera.centre(at, Math.max(this.view.k, CLOSE_SCALE));
  }

  screenOf(node: number): Point {
    return { x: this.scene.layout.x[node]! * this.view.k + this.view.x, y: this.scene.layout.y[node]! * this.view.k + this.view.y };
  }

  /** The node at a point of the canvas, or -1. */
  nodeAt(at: Point): number {
    const { k, x, y } = this.view;
    const reach = Math.max(REACH, radiusAt(k) + 4) / k;
    return this.scene.picker.nearest((at.x - x) / k, (at.y - y) / k, reach);
  }

  private fitting(): Transform {
    const right = this.place.width < NARROW ? RIGHT.narrow : RIGHT.wide;
    const guess = { k: this.place.width / Math.max(1, this.scene.layout.width), x: 0, y: 0 };
    const bottom = stripHeight(this.scene, guess) + 6;
    return fitted(this.scene.layout, this.place, { left: leftOf(this.place) + 6, right, top: 14, bottom });
  }

  private get view(): Transform {
    return this.camera.view;
  }

  /** Pointing and clicking; dragging and zooming are the camera's, which takes the click after a drag away. */
  private listen(): void {
    const { canvas } = this;
    const at = (event: MouseEvent): Point => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && event.buttons === 0 && this.point(at(event)));
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("click", (event) => this.events.clicked(this.nodeAt(at(event)), event.ctrlKey || event.metaKey));
    // on a Mac Ctrl and a click is also the menu
    canvas.addEventListener("contextmenu", (event) => event.ctrlKey && event.preventDefault());
  }

  private moved(byHand: boolean): void {
    if (byHand) this.fits = false;
    this.movedAt = performance.now();
    // a first picture that is still growing goes on; later ones would be of a view that is gone
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.resting = undefined;
      this.redraw();
    }, REST_MS);
    this.ask();
  }

  private resize(): void {
    const box = this.canvas.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) return; // hidden
    const ratio = Math.min(MAX_RATIO, window.devicePixelRatio || 1);
    if (box.width === this.place.width && box.height === this.place.height && ratio === this.place.ratio) return;
    const before = this.place;
    this.place = { width: box.width, height: box.height, ratio };
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    if (this.fits || before.width < 2) {
      this.scene.place(Math.max(0.5, (box.width - leftOf(box) - RIGHT.narrow) / Math.max(1, box.height - 50)));
      this.camera.jump(this.fitting());
    }
    this.camera.least = this.fitting().k * 0.5;
    this.redraw();
    this.paint(); // a resized canvas is empty until it is painted
  }

  private point(at: Point | null): void {
    const node = at ? this.nodeAt(at) : -1;
    if (node !== this.scene.hovered) {
      this.scene.hovered = node;
      this.ask();
    }
    this.events.hovered(node, at);
  }

  private paint(): void {
    const context = this.canvas.getContext("2d", { alpha: false });
    if (!context) return;
    const moving = performance.now() - this.movedAt < REST_MS;
    const focused = document.activeElement === this.canvas;
    this.painter.paint(context, this.view, this.place, this.palette, focused, moving);
    const chosen = this.scene.chosen[0];
    if (chosen !== undefined) {
      const at = this.screenOf(chosen);
      [this.canvas.dataset.selectedX, this.canvas.dataset.selectedY] = [at.x.toFixed(1), at.y.toFixed(1)];
    }
    this.canvas.dataset.scale = this.view.k.toFixed(4);
    this.canvas.dataset.nodes = String(this.scene.nShown);
    // all that was asked for is seen, and nothing moves
    this.canvas.dataset.settled = String(this.edges.isWhole && this.resting === undefined && !this.camera.glidesNow && !this.frame);
  }

  private drawn(whole: boolean): void {
    if (this.canvas.dataset.edges === undefined) performance.mark("graph-first-paint");
    if (whole) performance.mark("graph-settled");
    this.canvas.dataset.edges = String(this.edges.nDrawn);
    this.ask();
  }
}
