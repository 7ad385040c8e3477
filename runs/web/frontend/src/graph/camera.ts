// Which part of the world is seen. d3-zoom moves it by wheel, mouse, fingers and from the program; here is what it needs to
// know of the graph, and what it leaves to the page around it.

import { select } from "d3-selection";
import type { Selection } from "d3-selection";
import "d3-transition";
import type { Transition } from "d3-transition";
import { zoom, zoomIdentity, zoomTransform } from "d3-zoom";
import type { D3ZoomEvent, ZoomBehavior } from "d3-zoom";

export interface Transform {
  /** Pixels per world unit. */
  readonly k: number;
  readonly x: number;
  readonly y: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box {
  readonly width: number;
  readonly height: number;
}

/** Space at the edges of the place for the names of tokens, layers and outputs, in pixels. */
export interface Margins {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface CameraEvents {
  /** What is seen changed; `byHand` by a gesture and not by the program. */
  moved(byHand: boolean): void;
  /** A movement by itself has begun; `moved` is called at its end at the latest, however that comes. */
  leaving(): void;
  /** Size of the world, which never leaves the place altogether. */
  world(): Box;
}

export const MAX_SCALE = 12;
const MAX_FIT = 2.2;
const KEPT_IN_SIGHT = 60;
const CLICK_REACH = 5;
const GLIDE_MS = 260;
const MOST_WHEEL = 0.55;

/** The transform that shows the whole world, centred. */
export function fitted(world: Box, place: Box, margins: Margins): Transform {
  const width = Math.max(40, place.width - margins.left - margins.right);
  const height = Math.max(40, place.height - margins.top - margins.bottom);
  const k = Math.min(MAX_FIT, width / Math.max(1, world.width), height / Math.max(1, world.height));
  return { k, x: margins.left + (width - world.width * k) / 2, y: margins.top + (height - world.height * k) / 2 };
}

/** The same, moved so that some of the world stays in sight. */
export function kept(view: Transform, world: Box, place: Box): Transform {
  const within = (offset: number, size: number, room: number): number => Math.min(room - KEPT_IN_SIGHT, Math.max(KEPT_IN_SIGHT - size, offset));
  return { k: view.k, x: within(view.x, world.width * view.k, place.width), y: within(view.y, world.height * view.k, place.height) };
}

/** Powers of two by which one turn of a wheel zooms. A trackpad's pinch comes as small steps with Ctrl. */
export function wheelStep(event: Pick<WheelEvent, "deltaY" | "deltaMode" | "ctrlKey">): number {
  const step = -event.deltaY * (event.deltaMode === 1 ? 0.05 : event.deltaMode ? 1 : 0.0023) * (event.ctrlKey ? 4 : 1);
  return Math.max(-MOST_WHEEL, Math.min(MOST_WHEEL, step));
}

const d3Of = (view: Transform): typeof zoomIdentity => zoomIdentity.translate(view.x, view.y).scale(view.k);

export class Camera {
  private readonly selection: Selection<HTMLCanvasElement, unknown, null, undefined>;
  private readonly zooming: ZoomBehavior<HTMLCanvasElement, unknown>;
  private quiet = false;
  private glides = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly events: CameraEvents,
  ) {
    this.selection = select(canvas);
    this.zooming = zoom<HTMLCanvasElement, unknown>()
      .clickDistance(CLICK_REACH)
      .touchable(true) // also where a screen is touched that does not tell beforehand that it can be
      .tapDistance(0) // browsers tell of a double tap themselves
      .duration(this.glide())
      .wheelDelta(wheelStep)
      .filter((event: MouseEvent) => (event.type === "wheel" ? this.wheelZooms(event) : !event.button))
      .constrain((to, [[left, top], [right, bottom]]) => d3Of(kept(to, events.world(), { width: right - left, height: bottom - top })))
      .on("zoom", (event: D3ZoomEvent<HTMLCanvasElement, unknown>) => {
        if (this.quiet) return;
        const by: unknown = event.sourceEvent;
        if (by instanceof MouseEvent && by.type === "mousemove") canvas.classList.add("is-dragged");
        events.moved(Boolean(by));
      })
      .on("end", () => canvas.classList.remove("is-dragged"));
    this.leaveUpAndDown();
    this.selection.call(this.zooming);
    // at the limits d3-zoom lets go of the wheel, and the page would jump away under a reader who zooms
    canvas.addEventListener("wheel", (event) => this.wheelZooms(event) && event.preventDefault(), { passive: false });
  }

  get view(): Transform {
    return zoomTransform(this.canvas);
  }

  /** Whether a movement by itself is on its way. */
  get glidesNow(): boolean {
    return this.glides > 0;
  }

  /** How far away one can go, in pixels per world unit. */
  set least(k: number) {
    this.zooming.scaleExtent([k, MAX_SCALE]);
  }

  /** Show this now; whoever asks draws it. */
  jump(to: Transform): void {
    this.quiet = true;
    this.selection.interrupt().call(this.zooming.transform, d3Of(to));
    this.quiet = false;
  }

  /** Go there; at once for those who asked for less motion. */
  glideTo(to: Transform): void {
    this.gliding().call(this.zooming.transform, d3Of(to));
  }

  /** Bring a point of the world into the middle. */
  centre(at: Point, k = this.view.k): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.glideTo({ k, x: width / 2 - at.x * k, y: height / 2 - at.y * k });
  }

  pan(dx: number, dy: number): void {
    const { k } = this.view;
    this.gliding().call(this.zooming.translateBy, dx / k, dy / k);
  }

  /** Zoom about the middle. */
  zoom(factor: number): void {
    this.selection.interrupt().call(this.zooming.scaleBy, factor);
  }

  private gliding(): Transition<HTMLCanvasElement, unknown, null, undefined> {
    this.glides++;
    this.events.leaving();
    return this.selection
      .transition()
      .duration(this.glide())
      .on("end.rest interrupt.rest cancel.rest", () => {
        this.glides--;
        this.events.moved(false);
      });
  }

  private glide(): number {
    return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : GLIDE_MS;
  }

  /** Whether the wheel zooms; where it does not, the page scrolls. Ctrl or Command and a trackpad's pinch always zoom. */
  private wheelZooms(event: MouseEvent): boolean {
    return event.ctrlKey || event.metaKey || document.activeElement === this.canvas;
  }

  /** One finger that goes up or down scrolls the page past the graph: d3-zoom never hears of it. */
  private leaveUpAndDown(): void {
    let start: Touch | undefined;
    let decided = false;
    let leaves = false;
    this.canvas.addEventListener("touchstart", (event) => {
      [start, decided, leaves] = [event.touches[0], event.touches.length > 1, false];
    });
    this.canvas.addEventListener("touchmove", (event) => {
      const now = event.touches[0];
      if (!decided && start && now) {
        [decided, leaves] = [true, Math.abs(now.clientY - start.clientY) > Math.abs(now.clientX - start.clientX)];
      }
      if (leaves) event.stopImmediatePropagation();
    });
  }
}
