// Lines of links: out of a box at the top, into the next at the bottom, round the boxes between.

import type { Placement, Rect } from "./layout";
import type { Link } from "./model";

export interface Route {
  link: Link;
  /** SVG path of the line, and of its head. */
  path: string;
  head: string;
  width: number;
  /** Where a sign on the line stands. */
  sign: Point;
}

export type Point = { x: number; y: number };
type Curve = [Point, Point, Point, Point];

const THINNEST = 1.4;
const WIDEST = 6;
const PORT = 14;
const SAMPLES = 18;
const CLEAR = 6;
/** Boxes in the way that detours are tried round. */
const MAX_BLOCKS = 10;

export function routesOf(links: readonly Link[], placement: Placement, outputs: ReadonlySet<string>): Route[] {
  const rects = new Map<string, Rect>([...placement.boxes, ...placement.ends]);
  const drawn = links.filter(({ source, destination }) => rects.has(source) && rects.has(destination));
  const starts = ports(drawn, rects, "out");
  const arrivals = ports(drawn, rects, "in");
  // into outputs and into all else weights have other units, so each has its own scale
  const strongest = [false, true].map((out) => Math.max(1e-9, ...drawn.filter(({ destination }) => outputs.has(destination) === out).map(({ weight }) => Math.abs(weight))));
  const obstacles = [...rects, ...placement.folds.map((fold, at) => [`fold ${at}`, fold] as const)];
  return [...drawn]
    .sort((a, b) => Math.abs(a.weight) - Math.abs(b.weight))
    .map((link) => {
      const name = `${link.source}>${link.destination}`;
      const from = rects.get(link.source)!;
      const to = rects.get(link.destination)!;
      const foreign = obstacles.filter(([node]) => node !== link.source && node !== link.destination).map(([, rect]) => rect);
      const share = Math.abs(link.weight) / strongest[outputs.has(link.destination) ? 1 : 0]!;
      const width = link.stale ? THINNEST : THINNEST + (WIDEST - THINNEST) * share;
      const near = foreign.filter((rect) => rect.y < Math.max(from.y, to.y) + 130 && rect.y + rect.height > Math.min(from.y, to.y) - 130);
      const line = bestLine(from, to, starts.get(name)!, arrivals.get(name)!, near);
      return { link, path: pathOf(line, width), head: headOf(line, width), width, sign: pointOn(line, 0.5) };
    });
}

function ports(links: readonly Link[], rects: ReadonlyMap<string, Rect>, side: "out" | "in"): Map<string, number> {
  const far = new Map<string, { name: string; angle: number; up: number }[]>();
  for (const { source, destination } of links) {
    const [near, other] = side === "out" ? [source, destination] : [destination, source];
    const a = rects.get(near)!;
    const b = rects.get(other)!;
    const across = b.x + b.width / 2 - a.x - a.width / 2;
    const up = Math.abs(b.y + b.height / 2 - a.y - a.height / 2);
    far.set(near, [...(far.get(near) ?? []), { name: `${source}>${destination}`, angle: Math.round(Math.atan2(across, up) * 10), up }]);
  }
  const found = new Map<string, number>();
  for (const [near, others] of far) {
    const rect = rects.get(near)!;
    const step = Math.min(PORT, (rect.width - 20) / Math.max(1, others.length));
    others.sort((a, b) => a.angle - b.angle || a.up - b.up || a.name.localeCompare(b.name));
    others.forEach(({ name }, at) => found.set(name, rect.x + rect.width / 2 + (at - (others.length - 1) / 2) * step));
  }
  return found;
}

function rising(from: Point, to: Point, leave: number, arrive: number): Curve {
  const up = from.y - to.y;
  return [from, { x: from.x, y: from.y - up * leave }, { x: to.x, y: to.y + up * arrive }, to];
}

function bestLine(from: Rect, to: Rect, start: number, end: number, foreign: readonly Rect[]): Curve[] {
  if (to.y + to.height >= from.y - 8) return best(sideways(from, to), foreign).line;
  const a = { x: start, y: from.y };
  const b = { x: end, y: to.y + to.height + 1 };
  const straight: Curve[][] = [];
  for (const leave of [0.5, 0.25, 0.75, 1]) for (const arrive of [0.5, 0.25, 0.75, 1]) straight.push([rising(a, b, leave, arrive)]);
  const direct = best(straight, foreign);
  if (!direct.hits) return direct.line;
  const lines = [direct.line];
  const blocks = foreign
    .filter((rect) => rect.y < a.y && rect.y + rect.height > b.y && rect.x < Math.max(a.x, b.x) + 20 && rect.x + rect.width > Math.min(a.x, b.x) - 20)
    .slice(0, MAX_BLOCKS);
  for (const rect of blocks) {
    for (const beside of [rect.x - 14, rect.x - 30, rect.x + rect.width + 14, rect.x + rect.width + 30]) {
      for (const y of [rect.y, rect.y + rect.height / 2, rect.y + rect.height]) {
        if (y <= b.y + 12 || y >= a.y - 12) continue;
        const via = { x: beside, y };
        for (const bend of [0.5, 0.85]) lines.push([rising(a, via, 1 - bend, bend), rising(via, b, bend, 1 - bend)]);
      }
    }
  }
  return best(lines, foreign).line;
}

/** Between boxes at one height, or downward: out of one flank and into the other's. */
function sideways(from: Rect, to: Rect): Curve[][] {
  const lines: Curve[][] = [];
  for (const leave of [1, -1]) {
    for (const arrive of [1, -1]) {
      for (const reach of [30, 60, 110]) {
        const a = { x: leave > 0 ? from.x + from.width : from.x, y: from.y + from.height / 2 };
        const b = { x: arrive > 0 ? to.x + to.width : to.x, y: to.y + to.height / 2 };
        lines.push([[a, { x: a.x + leave * reach, y: a.y }, { x: b.x + arrive * reach, y: b.y }, b]]);
      }
    }
  }
  return lines;
}

function onCurve([a, b, c, d]: Curve, t: number): Point {
  const s = 1 - t;
  const [w0, w1, w2, w3] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t] as const;
  return { x: w0 * a.x + w1 * b.x + w2 * c.x + w3 * d.x, y: w0 * a.y + w1 * b.y + w2 * c.y + w3 * d.y };
}

function pointOn(line: Curve[], share: number): Point {
  const at = Math.min(line.length - 1, Math.floor(share * line.length));
  return onCurve(line[at]!, share * line.length - at);
}

function best(lines: Curve[][], foreign: readonly Rect[]): { line: Curve[]; hits: boolean } {
  let found = lines[0]!;
  let lowest = Infinity;
  let hits = false;
  for (const line of lines) {
    let price = 0;
    let met = false;
    let before = line[0]![0];
    for (let i = 1; i <= SAMPLES && price < lowest; i++) {
      const point = pointOn(line, Math.min(i / SAMPLES, 0.9999));
      price += Math.hypot(point.x - before.x, point.y - before.y);
      if (foreign.some((rect) => point.x > rect.x - CLEAR && point.x < rect.x + rect.width + CLEAR && point.y > rect.y - CLEAR && point.y < rect.y + rect.height + CLEAR)) {
        price += 400;
        met = true;
      }
      if (point.x < 4) price += 200;
      before = point;
    }
    if (price < lowest) [found, lowest, hits] = [line, price, met];
  }
  return { line: found, hits };
}

const figure = (value: number): string => value.toFixed(1);

/** How long a head is. */
function reach(width: number): number {
  return 6 + width * 1.5;
}

function pathOf(line: Curve[], width: number): string {
  const last = line.at(-1)!;
  const direction = arriving(last);
  const tip = last[3];
  const short = { x: tip.x - direction.x * reach(width) * 0.8, y: tip.y - direction.y * reach(width) * 0.8 };
  const start = line[0]![0];
  let path = `M${figure(start.x)} ${figure(start.y)}`;
  line.forEach((curve, at) => {
    const end = at === line.length - 1 ? short : curve[3];
    path += `C${figure(curve[1].x)} ${figure(curve[1].y)} ${figure(curve[2].x)} ${figure(curve[2].y)} ${figure(end.x)} ${figure(end.y)}`;
  });
  return path;
}

function arriving(curve: Curve): Point {
  const [, , c, d] = curve;
  const length = Math.hypot(d.x - c.x, d.y - c.y) || 1;
  return { x: (d.x - c.x) / length, y: (d.y - c.y) / length };
}

function headOf(line: Curve[], width: number): string {
  const last = line.at(-1)!;
  const { x, y } = arriving(last);
  const tip = last[3];
  const long = reach(width);
  const half = 3 + width * 0.8;
  const foot = { x: tip.x - x * long, y: tip.y - y * long };
  const corners = [tip, { x: foot.x - y * half, y: foot.y + x * half }, { x: foot.x + y * half, y: foot.y - x * half }];
  return `M${corners.map((corner) => `${figure(corner.x)} ${figure(corner.y)}`).join("L")}Z`;
}
