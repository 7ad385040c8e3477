// One frame: the grid, the picture of the edges, edges of what is selected, nodes, names.

import type { Transform } from "./camera";
import { DASH } from "./edge_styles";
import type { EdgeStyles } from "./edge_styles";
import { NARROW, paintFrame } from "./frame";
import { OUTPUT_STEP, STEP } from "./layout";
import type { EdgeLayer } from "./edge_layer";
import { FONT } from "./palette";
import type { Palette } from "./palette";
import { NOT_NEAR } from "./scene";
import type { Scene } from "./scene";
import { EMBEDDING, ERROR, FEATURE, LOGIT } from "./wire";
import { shortened } from "./words";

export interface Place {
  readonly width: number;
  readonly height: number;
  readonly ratio: number;
}

interface NodeSheet {
  readonly canvas: HTMLCanvasElement;
  readonly view: Transform;
  readonly width: number;
  readonly height: number;
}

const SHEET_MARGIN = 0.25;
const MAX_NEAR_EDGES = 3000;
const HOVER_EDGES = 40;
const DIM = 0.16;
const MOST_NAMES = 24;
export const MAX_RADIUS = 7;

/** Radius of a feature on the page, in pixels. */
export function radiusAt(k: number): number {
  return Math.min(MAX_RADIUS, Math.max(1.5, 0.36 * STEP * k));
}

export class Painter {
  constructor(
    private readonly scene: Scene,
    private readonly edges: EdgeLayer,
    private readonly styles: EdgeStyles,
  ) {}

  private sheet: NodeSheet | null = null;

  /** Draw the nodes into a picture that is moved while the graph is: exact while dragging, scaled while zooming. */
  private keepNodes(view: Transform, place: Place, palette: Palette, focused: boolean): void {
    const size = { width: place.width * (1 + 2 * SHEET_MARGIN), height: place.height * (1 + 2 * SHEET_MARGIN), ratio: place.ratio };
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(size.width * size.ratio);
    canvas.height = Math.round(size.height * size.ratio);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(size.ratio, size.ratio);
    const shifted = { k: view.k, x: view.x + place.width * SHEET_MARGIN, y: view.y + place.height * SHEET_MARGIN };
    this.nodes(context, shifted, size, palette, this.scene.chosen.length > 0);
    this.rings(context, shifted, palette, focused);
    this.sheet = { canvas, view: shifted, width: size.width, height: size.height };
  }

  /** Nodes look otherwise than they did a moment ago. */
  forget(): void {
    this.sheet = null;
  }

  paint(context: CanvasRenderingContext2D, view: Transform, place: Place, palette: Palette, focused: boolean, moving: boolean): void {
    const { scene } = this;
    context.setTransform(place.ratio, 0, 0, place.ratio, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = palette.ground;
    context.fillRect(0, 0, place.width, place.height);
    const selected = scene.chosen.length > 0;
    paintFrame(context, scene, view, place, palette, "grid");
    context.globalAlpha = selected ? DIM : 1;
    this.edges.paint(context, view);
    if (selected) this.lines(context, view, palette, scene.nearEdges, MAX_NEAR_EDGES);
    if (scene.hovered >= 0 && !scene.chosen.includes(scene.hovered)) {
      const near = [...scene.links.into(scene.hovered).subarray(0, HOVER_EDGES), ...scene.links.outOf(scene.hovered).subarray(0, HOVER_EDGES)];
      this.lines(context, view, palette, near.sort((a, b) => b - a), near.length);
    }
    context.setLineDash([]);
    // whatever changes while the graph rests is in the next picture
    if (!moving) this.sheet = null;
    else if (!this.sheet) this.keepNodes(view, place, palette, focused);
    const { sheet } = this;
    if (sheet) {
      const by = view.k / sheet.view.k;
      context.globalAlpha = 1;
      context.drawImage(sheet.canvas, view.x - sheet.view.x * by, view.y - sheet.view.y * by, sheet.width * by, sheet.height * by);
    } else {
      this.nodes(context, view, place, palette, selected);
      this.rings(context, view, palette, focused);
    }
    this.names(context, view, place, palette);
    context.globalAlpha = 1;
    paintFrame(context, scene, view, place, palette, "names");
  }

  /** Edges one by one, weakest first. */
  private lines(context: CanvasRenderingContext2D, view: Transform, palette: Palette, edges: readonly number[], most: number): void {
    const { data, layout } = this.scene;
    for (const edge of edges.slice(-most)) {
      if (!this.scene.edgeCounts(edge)) continue;
      const [source, target] = [data.source[edge]!, data.target[edge]!];
      const helps = data.weight[edge]! > 0;
      context.strokeStyle = helps ? palette.helps : palette.hinders;
      context.setLineDash(helps ? [] : DASH);
      context.lineWidth = this.styles.width(edge) + 0.4;
      context.globalAlpha = Math.min(1, 0.3 + this.styles.alpha(edge) * 1.4);
      context.beginPath();
      context.moveTo(layout.x[source]! * view.k + view.x, layout.y[source]! * view.k + view.y);
      context.lineTo(layout.x[target]! * view.k + view.x, layout.y[target]! * view.k + view.y);
      context.stroke();
    }
  }

  /** Nodes by colour, so that each colour is filled at once. */
  private nodes(context: CanvasRenderingContext2D, view: Transform, place: Place, palette: Palette, selected: boolean): void {
    const { scene } = this;
    const { data, layout } = scene;
    const bright = new Map<string, Path2D>();
    const faint = new Map<string, Path2D>();
    const r = radiusAt(view.k);
    for (let node = 0; node < data.nNodes; node++) {
      if (!scene.shown[node]) continue;
      const x = layout.x[node]! * view.k + view.x;
      const y = layout.y[node]! * view.k + view.y;
      if (x < -40 || y < -40 || x > place.width + 40 || y > place.height + 40) continue;
      const stands = !selected || scene.near[node] !== NOT_NEAR || node === scene.hovered;
      const paths = stands ? bright : faint;
      const colour = this.colour(node, palette);
      let path = paths.get(colour);
      if (!path) paths.set(colour, (path = new Path2D()));
      addShape(path, data.kind[node]!, x, y, r, view.k);
    }
    for (const [paths, alpha] of [[faint, 0.28], [bright, 1]] as const) {
      context.globalAlpha = alpha;
      context.lineWidth = 0.8;
      context.strokeStyle = palette.ground;
      for (const [colour, path] of paths) {
        context.fillStyle = colour;
        context.fill(path);
        if (r > 2.5) context.stroke(path);
      }
    }
  }

  private colour(node: number, palette: Palette): string {
    const { data, groups } = this.scene;
    const group = groups.groupOf(node);
    if (group) return palette[group.role];
    switch (data.kind[node]) {
      case FEATURE:
        return palette.quiet;
      case ERROR:
        return palette.other;
      case EMBEDDING:
        return palette.input;
      default:
        return palette.output;
    }
  }

  /** Rings: members of supernodes thin, pinned ones double, what is selected thick. Rings that look alike go together. */
  private rings(context: CanvasRenderingContext2D, view: Transform, palette: Palette, focused: boolean): void {
    const { scene } = this;
    const { data, layout } = scene;
    const r = radiusAt(view.k);
    const ring = (nodes: Iterable<number>, extra: number, styles: readonly (readonly [string, number])[]): void => {
      const path = new Path2D();
      for (const node of nodes) {
        if (scene.shown[node]) addShape(path, data.kind[node]!, layout.x[node]! * view.k + view.x, layout.y[node]! * view.k + view.y, r + extra, view.k, extra);
      }
      for (const [colour, width] of styles) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.stroke(path);
      }
    };
    for (const near of [false, true]) {
      context.globalAlpha = near ? 1 : 0.25;
      for (const rejected of [false, true]) {
        const byRole = new Map<string, number[]>();
        for (const group of scene.groups.all) {
          if (group.rejected !== rejected) continue;
          const nodes = byRole.get(group.role) ?? [];
          for (const node of group.nodes) if (near === (scene.chosen.length === 0 || scene.near[node] !== NOT_NEAR)) nodes.push(node);
          byRole.set(group.role, nodes);
        }
        context.setLineDash(rejected ? [2, 2] : []);
        for (const [role, nodes] of byRole) ring(nodes, r < 2.5 ? 1 : 2, [[palette[role as keyof Palette], r < 2.5 ? 1 : 1.5]]);
      }
    }
    context.setLineDash([]);
    if (scene.pinned.size) ring(scene.pinned, 3, [[palette.ground, 4], [palette.ink, 1.6]]);
    if (scene.hovered >= 0) ring([scene.hovered], 2, [[palette.ink, 1.5]]);
    if (scene.chosen.length) ring(scene.chosen, 3.5, [[palette.ground, 5], [palette.accent, focused ? 3.2 : 2.4]]);
  }

  /**
   * Names of supernodes, each beside its topmost member; of two that would overlap the later is left out. Of many
   * supernodes only those near the selection are named, or as many as leave the graph to be seen.
   */
  private names(context: CanvasRenderingContext2D, view: Transform, place: Place, palette: Palette): void {
    const { scene } = this;
    const taken: [number, number, number, number][] = [];
    context.font = `600 12px ${FONT}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    const many = scene.groups.all.length > MOST_NAMES;
    for (const group of scene.groups.all) {
      const nodes = group.nodes.filter(scene.counts);
      if (!nodes.length || taken.length >= (place.width < NARROW ? MOST_NAMES / 3 : MOST_NAMES)) continue;
      const top = nodes.reduce((a, b) => (scene.layout.y[b]! < scene.layout.y[a]! ? b : a));
      const near = scene.chosen.length === 0 || nodes.some((node) => scene.near[node] !== NOT_NEAR);
      if (many && !near) continue;
      const text = shortened(group.rejected ? `${group.name} (rejected)` : group.name, 30);
      const width = context.measureText(text).width + 10;
      const anchor = scene.layout.x[top]! * view.k + view.x;
      const left = anchor + width + 14 > place.width ? anchor - width - 12 : anchor + 12;
      const y = scene.layout.y[top]! * view.k + view.y - 12;
      if (anchor < 0 || anchor > place.width || y < 8 || y > place.height) continue;
      if (taken.some(([l, t, w, h]) => left < l + w && l < left + width && y < t + h && t < y + 18)) continue;
      taken.push([left, y, width, 18]);
      context.globalAlpha = near ? 0.92 : 0.3;
      context.fillStyle = palette.ground;
      context.strokeStyle = palette[group.role];
      context.lineWidth = 1;
      context.beginPath();
      context.roundRect(left, y - 9, width, 18, 4);
      context.fill();
      context.stroke();
      context.globalAlpha = near ? 1 : 0.4;
      context.fillStyle = palette[group.role];
      context.fillText(text, left + 5, y + 0.5);
    }
    context.globalAlpha = 1;
  }
}



/** Shapes tell kinds without colour: features round, errors diamonds, tokens square, outputs wide. */
function addShape(path: Path2D, kind: number, x: number, y: number, r: number, k: number, extra = 0): void {
  if (kind === FEATURE) {
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
  } else if (kind === ERROR) {
    path.moveTo(x, y - r);
    path.lineTo(x + r, y);
    path.lineTo(x, y + r);
    path.lineTo(x - r, y);
    path.lineTo(x, y - r);
  } else if (kind === LOGIT) {
    const height = Math.min(16, Math.max(3, 0.72 * OUTPUT_STEP * k)) + 2 * extra;
    const width = Math.min(26, Math.max(8, 2 * STEP * k)) + 2 * extra;
    path.rect(x - width / 2, y - height / 2, width, height);
  } else {
    path.rect(x - r, y - r, 2 * r, 2 * r);
  }
}
