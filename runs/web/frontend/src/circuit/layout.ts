// Places the circuit: tokens along the bottom, supernodes by token (across) and layer (up), outputs on top. Boxes of one
// token and layer stand in a grid of their own, so that none overlap; who moved a box by hand finds it where it was put.

import type { Box, Member, Model } from "./model";
import { type Measure, shorten, wrap } from "./text";

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface PlacedMember extends Rect {
  member: Member;
  /** Id of its supernode; null for one in none. */
  home: string | null;
  text: string;
}

export interface PlacedBox extends Rect {
  box: Box;
  lines: string[];
  expanded: boolean;
  /** Members that an expanded box has no room for. */
  more: number;
}

export interface Placement {
  width: number;
  height: number;
  boxes: Map<string, PlacedBox>;
  members: PlacedMember[];
  /** By node id: prompt tokens and outputs. */
  ends: Map<string, Rect & { text: string }>;
  folds: (Rect & { texts: string[] })[];
  bands: { name: string; y: number; height: number }[];
}

export interface Wishes {
  expanded: ReadonlySet<string>;
  showLoose: boolean;
  /** How far boxes were moved by hand. */
  moved: ReadonlyMap<string, { dx: number; dy: number }>;
  /** Width that the drawing may take without growing. */
  room: number;
  /** Height that it is spread over where it needs less; 0 for no more than it needs. */
  tall: number;
}

export const SIZE = { label: 13, small: 11.5, labelLine: 17, pad: 10, pill: 26, pillGap: 4, token: 30, output: 48 };
const LABEL_WIDTH = 132;
const MIN_WIDTH = 112;
const PILL_WIDTH = 150;
const MAX_PILLS = 10;
const GUTTER = 78;
const MARGIN = 12;
const BAND_GAP = 46;
const MOST_BAND_GAP = 130;
const CELL_GAP = 26;
const RIGHT = 40;
const MAX_BANDS = 8;
const FOLD_FROM = 5;

type Item = { key: string; position: number; layer: number; width: number; height: number; place: (rect: Rect) => void };

export function middle(rect: Rect): { x: number; y: number } {
  return { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 };
}

/** Neighbouring layers share a band where there are many. */
export function bandsOf(layers: number[]): number[][] {
  const all = [...new Set(layers)].sort((a, b) => a - b);
  const n = Math.min(MAX_BANDS, all.length);
  return Array.from({ length: n }, (_, i) => all.slice(Math.round((i * all.length) / n), Math.round(((i + 1) * all.length) / n)));
}

export function layOut(model: Model, wishes: Wishes, measure: Measure): Placement {
  const placement: Placement = { width: 0, height: 0, boxes: new Map(), members: [], ends: new Map(), folds: [], bands: [] };
  const items = [...model.boxes.map((box) => boxItem(box, wishes, measure, placement))];
  if (wishes.showLoose) items.push(...model.loose.map((member) => looseItem(member, model, measure, placement)));
  const bands = bandsOf(items.map(({ layer }) => layer));
  const bandOf = new Map(bands.flatMap((layers, index) => layers.map((layer) => [layer, index])));
  const cells = new Map<string, Item[]>();
  for (const item of items.sort((a, b) => a.layer - b.layer || a.key.localeCompare(b.key, "en", { numeric: true }))) {
    const name = `${item.position} ${bandOf.get(item.layer)!}`;
    cells.set(name, [...(cells.get(name) ?? []), item]);
  }
  const grids = new Map([...cells].map(([name, inside]) => [name, gridOf(inside)]));
  const { centres, right, columns } = placeColumns(model, grids, wishes.room, measure);
  const outputsRight = placeOutputs(model, centres.get(model.tokens.at(-1)?.position ?? 0) ?? GUTTER, right, measure, placement);
  const inBand = (index: number): [string, Grid][] => [...grids].filter(([name]) => name.endsWith(` ${index}`));
  const needed = bands.reduce((sum, _, index) => sum + Math.max(...inBand(index).map(([, grid]) => grid.height)), 2 * MARGIN + SIZE.output + SIZE.token);
  const gap = Math.min(MOST_BAND_GAP, Math.max(BAND_GAP, (wishes.tall - needed) / (bands.length + 1)));
  let y = MARGIN + SIZE.output + gap;
  for (let index = bands.length - 1; index >= 0; index--) {
    const inside = inBand(index);
    const height = Math.max(...inside.map(([, grid]) => grid.height));
    const layers = bands[index]!;
    placement.bands.push({ name: layers.length === 1 ? `layer ${layers[0]}` : `layers ${layers[0]}–${layers.at(-1)}`, y, height });
    for (const [name, grid] of inside) grid.place(centres.get(Number(name.split(" ")[0])) ?? GUTTER, y + height);
    y += height + gap;
  }
  for (const column of columns) {
    const only = column.tokens.length === 1 ? column.tokens[0] : undefined;
    if (only === undefined) {
      placement.folds.push({ x: column.x, y, width: column.width, height: SIZE.token, texts: column.tokens.map(({ text }) => text) });
    } else {
      const own = tokenWidth(only.text, measure);
      const text = shorten(only.text, own - 12, SIZE.label, measure);
      placement.ends.set(only.node, { x: column.x + (column.width - own) / 2, y, width: own, height: SIZE.token, text });
    }
  }
  placement.width = Math.max(right + RIGHT, outputsRight + MARGIN);
  placement.height = y + SIZE.token + MARGIN;
  for (const placed of placement.boxes.values()) {
    placement.width = Math.max(placement.width, placed.x + placed.width + MARGIN);
    placement.height = Math.max(placement.height, placed.y + placed.height + MARGIN);
  }
  return placement;
}

function boxItem(box: Box, wishes: Wishes, measure: Measure, placement: Placement): Item {
  const expanded = wishes.expanded.has(box.id);
  const lines = wrap(box.label, LABEL_WIDTH, SIZE.label, 3, measure, true);
  const shown = expanded ? box.members.slice(0, MAX_PILLS) : [];
  const more = expanded ? box.members.length - shown.length : 0;
  const texts = shown.map((member) => shorten(member.label, PILL_WIDTH - 60, SIZE.small, measure));
  const inner = Math.max(...lines.map((line) => measure(line, SIZE.label, true)), MIN_WIDTH - 2 * SIZE.pad, expanded ? PILL_WIDTH : 0);
  const width = inner + 2 * SIZE.pad + 26; // the sign of the review and the button stand at the right
  const head = 2 * SIZE.pad + lines.length * SIZE.labelLine + 38;
  const height = head + shown.length * (SIZE.pill + SIZE.pillGap) + (more ? 20 : 0);
  const place = (rect: Rect): void => {
    const by = wishes.moved.get(box.id) ?? { dx: 0, dy: 0 };
    const x = Math.max(2, rect.x + by.dx);
    const y = Math.max(2, rect.y + by.dy);
    placement.boxes.set(box.id, { ...rect, x, y, box, lines, expanded, more });
    shown.forEach((member, at) => {
      const top = y + head - SIZE.pad + 4 + at * (SIZE.pill + SIZE.pillGap);
      placement.members.push({ member, home: box.id, text: texts[at]!, x: x + SIZE.pad, y: top, width: width - 2 * SIZE.pad, height: SIZE.pill });
    });
  };
  return { key: box.id, position: box.position, layer: box.layer, width, height, place };
}

function looseItem(member: Member, model: Model, measure: Measure, placement: Placement): Item {
  const text = shorten(member.label, PILL_WIDTH - 60, SIZE.small, measure);
  const width = Math.max(60, measure(text, SIZE.small) + 54);
  const place = (rect: Rect): void => void placement.members.push({ ...rect, member, home: null, text });
  const position = Math.min(member.position, Math.max(0, model.tokens.length - 1));
  return { key: member.node, position, layer: member.layer, width, height: SIZE.pill, place };
}

interface Grid {
  width: number;
  height: number;
  place: (centre: number, bottom: number) => void;
}

function gridOf(items: Item[]): Grid {
  const across = items.length <= 4 ? Math.min(items.length, 2) : 3;
  const rows: Item[][] = [];
  for (let at = 0; at < items.length; at += across) rows.push(items.slice(at, at + across));
  const widthOf = (row: Item[]): number => row.reduce((sum, { width }) => sum + width, 0) + CELL_GAP * (row.length - 1);
  const heightOf = (row: Item[]): number => Math.max(...row.map(({ height }) => height));
  return {
    width: Math.max(...rows.map(widthOf)),
    height: rows.reduce((sum, row) => sum + heightOf(row), 0) + CELL_GAP * (rows.length - 1),
    place(centre, bottom) {
      let low = bottom;
      for (const row of rows) {
        let x = centre - widthOf(row) / 2;
        for (const item of row) {
          item.place({ x, y: low - item.height, width: item.width, height: item.height });
          x += item.width + CELL_GAP;
        }
        low -= heightOf(row) + CELL_GAP;
      }
    },
  };
}

interface Column {
  tokens: Model["tokens"];
  x: number;
  width: number;
}

function tokenWidth(text: string, measure: Measure): number {
  return Math.min(118, Math.max(28, measure(text, SIZE.label) + 14));
}

function placeColumns(model: Model, grids: Map<string, Grid>, room: number, measure: Measure): { centres: Map<number, number>; right: number; columns: Column[] } {
  const touched = new Set(model.links.flatMap(({ source, destination }) => [source, destination]));
  const busy = new Set([...grids.keys()].map((name) => Number(name.split(" ")[0])));
  const groups: Model["tokens"][] = [];
  let idle: Model["tokens"] = [];
  const close = (): void => {
    groups.push(...(idle.length >= FOLD_FROM ? [idle] : idle.map((token) => [token])));
    idle = [];
  };
  for (const token of model.tokens) {
    if (touched.has(token.node) || busy.has(token.position)) {
      close();
      groups.push([token]);
    } else idle.push(token);
  }
  close();
  const widths = groups.map((tokens) => {
    if (tokens.length > 1) return measure(`… ${tokens.length} tokens`, SIZE.small) + 12;
    const inside = [...grids].filter(([name]) => name.startsWith(`${tokens[0]!.position} `)).map(([, grid]) => grid.width);
    return Math.max(tokenWidth(tokens[0]!.text, measure), ...inside);
  });
  const taken = widths.reduce((sum, width) => sum + width, 0);
  const gap = Math.min(60, Math.max(10, (room - GUTTER - RIGHT - taken) / Math.max(1, widths.length - 1)));
  const centres = new Map<number, number>();
  const columns: Column[] = [];
  let x = GUTTER;
  groups.forEach((tokens, at) => {
    const width = widths[at]!;
    columns.push({ tokens, x, width });
    for (const token of tokens) centres.set(token.position, x + width / 2);
    x += width + gap;
  });
  return { centres, right: x - gap, columns };
}

function placeOutputs(model: Model, centre: number, right: number, measure: Measure, placement: Placement): number {
  const widths = model.outputs.map(({ text }) => Math.min(132, Math.max(76, measure(text, SIZE.label, true) + 24)));
  const total = widths.reduce((sum, width) => sum + width, 0) + 14 * Math.max(0, widths.length - 1);
  let x = Math.max(GUTTER, Math.min(centre - total / 2, right - total));
  model.outputs.forEach(({ node, text }, at) => {
    const width = widths[at]!;
    const cut = shorten(text, width - 16, SIZE.label, measure, true);
    placement.ends.set(node, { x, y: MARGIN, width, height: SIZE.output, text: cut });
    x += width + 14;
  });
  return x;
}
