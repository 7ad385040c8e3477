// Grid lines and the names along the borders, which stay in sight while the graph is moved: tokens below, layers at the
// left, outputs with their probabilities beside their boxes.

import { percent } from "../lib/percent";
import type { Transform } from "./camera";
import type { Place } from "./painter";
import { FONT } from "./palette";
import type { Palette } from "./palette";
import type { Scene } from "./scene";
import { LOGIT } from "./wire";
import { outputText, shortened } from "./words";

/** Places narrower than this, in pixels, have short names at the left. */
export const NARROW = 560;

/** Width of the strip of layers. */
export function leftOf(place: { width: number }): number {
  return place.width < NARROW ? 38 : 64;
}

const LINE = 14;
const SLANT = -0.9;

/** Height of the strip of tokens: more where they have to stand at a slant. */
export function stripHeight(scene: Scene, view: Transform): number {
  return isSlanted(scene, view) ? 64 : 28;
}

function isSlanted(scene: Scene, view: Transform): boolean {
  const narrow = Math.min(...scene.layout.columns.map((column) => column.width)) * view.k;
  const longest = Math.min(14, Math.max(...scene.data.tokens.map((token) => token.length)));
  return longest * 6.2 + 6 > narrow;
}

/** Draw the grid under the graph, or the names over it. */
export function paintFrame(context: CanvasRenderingContext2D, scene: Scene, view: Transform, place: Place, palette: Palette, part: "grid" | "names"): void {
  const strip = stripHeight(scene, view);
  const bottom = place.height - strip;
  context.setLineDash([]);
  context.lineWidth = 1;
  if (part === "grid") {
    grid(context, scene, view, place, palette);
    return;
  }
  outputs(context, scene, view, place, palette);
  context.fillStyle = palette.soft;
  context.fillRect(0, bottom, place.width, strip);
  context.fillRect(0, 0, leftOf(place), place.height);
  context.fillStyle = palette.rule;
  context.fillRect(0, bottom, place.width, 1);
  context.fillRect(leftOf(place), 0, 1, bottom);
  layers(context, scene, view, place, bottom, palette);
  tokens(context, scene, view, place, bottom, strip, palette);
}

function grid(context: CanvasRenderingContext2D, scene: Scene, view: Transform, place: Place, palette: Palette): void {
  const { columns, rows, width, height } = scene.layout;
  const [left, right] = [view.x, view.x + width * view.k];
  const [top, bottom] = [view.y, view.y + height * view.k];
  for (const [index, row] of rows.entries()) {
    const y = (row.y - row.height / 2) * view.k + view.y;
    const next = y + row.height * view.k;
    if (index % 2 === 1 && next > 0 && y < place.height) {
      context.globalAlpha = 0.45;
      context.fillStyle = palette.soft;
      context.fillRect(left, y, right - left, next - y);
    }
  }
  context.globalAlpha = 0.55;
  context.strokeStyle = palette.rule;
  context.beginPath();
  for (const column of columns) {
    const x = Math.round((column.x + column.width / 2) * view.k + view.x) + 0.5;
    if (x < 0 || x > place.width) continue;
    context.moveTo(x, Math.max(0, top));
    context.lineTo(x, Math.min(place.height, bottom));
  }
  context.stroke();
  context.globalAlpha = 1;
}

function layers(context: CanvasRenderingContext2D, scene: Scene, view: Transform, place: Place, bottom: number, palette: Palette): void {
  const narrow = place.width < NARROW;
  context.font = `12px ${FONT}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillStyle = palette.quiet;
  let last = Infinity;
  for (const row of scene.layout.rows) {
    const y = row.y * view.k + view.y;
    if (y < 8 || y > bottom - 6 || last - y < LINE) continue;
    last = y;
    const name = row.layer < 0 ? (narrow ? "in" : "tokens") : row.layer >= scene.data.nLayers ? (narrow ? "out" : "outputs") : `${narrow ? "L" : "layer "}${row.layer}`;
    context.fillText(name, leftOf(place) - 6, y);
  }
}

function tokens(context: CanvasRenderingContext2D, scene: Scene, view: Transform, place: Place, bottom: number, strip: number, palette: Palette): void {
  context.save();
  context.beginPath();
  context.rect(0, bottom, place.width, strip);
  context.clip();
  context.font = `12px ${FONT}`;
  context.fillStyle = palette.ink;
  const slanted = isSlanted(scene, view);
  let last = -Infinity;
  for (const column of scene.layout.columns) {
    const x = column.x * view.k + view.x;
    if (x < leftOf(place) - 10 || x > place.width + 60 || x - last < LINE) continue;
    last = x;
    const text = scene.data.tokens[column.position]!;
    if (!slanted) {
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(shortened(text, 14), x, bottom + strip / 2 + 1);
      continue;
    }
    context.save();
    context.translate(x + 4, bottom + 8);
    context.rotate(SLANT);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(shortened(text, 10), 0, 0);
    context.restore();
  }
  context.restore();
}

/** Outputs' tokens and probabilities, right of their boxes, as many as there is room for, the most probable first. */
function outputs(context: CanvasRenderingContext2D, scene: Scene, view: Transform, place: Place, palette: Palette): void {
  const { data, layout } = scene;
  const found: number[] = [];
  for (let node = 0; node < data.nNodes; node++) if (data.kind[node] === LOGIT && scene.shown[node]) found.push(node);
  found.sort((a, b) => Number(scene.chosen.includes(b)) - Number(scene.chosen.includes(a)) || data.slot[a]! - data.slot[b]!);
  context.font = `12px ${FONT}`;
  context.textBaseline = "middle";
  const taken: { x: number; y: number }[] = [];
  for (const node of found) {
    const x = layout.x[node]! * view.k + view.x;
    const y = layout.y[node]! * view.k + view.y;
    if (x < leftOf(place) || x > place.width + 20 || y < 6 || y > place.height - 20) continue;
    if (taken.some((other) => Math.abs(other.y - y) < LINE && Math.abs(other.x - x) < 150)) continue;
    taken.push({ x, y });
    const text = `${shortened(outputText(data, node), 12)} ${percent(data.activation[node]!)}`;
    const width = context.measureText(text).width;
    const right = place.width >= NARROW && x + 18 + width < place.width;
    context.textAlign = "left";
    const left = right ? x + 16 : x - 16 - width;
    context.globalAlpha = 0.85;
    context.fillStyle = palette.ground;
    context.fillRect(left - 2, y - 8, width + 4, 16);
    context.globalAlpha = 1;
    context.fillStyle = palette.ink;
    context.fillText(text, left, y + 0.5);
  }
}
