// Where nodes stand: tokens along x, layers up y, embeddings at the bottom, outputs on top. No force, so the same graph
// always looks the same, and a place on the page means a layer and a token.

import { LOGIT } from "./wire";
import type { GraphData } from "./wire";

/** Distance of two nodes in one cell; all lengths here are in world units. */
export const STEP = 10;
const COLUMN_GAP = 16;
const ROW_GAP = 16;
const MIN_COLUMN = 44;
const MIN_ROW = 30;
/** Height of an output's box, with its gap; outputs stand in a list, the most probable on top. */
export const OUTPUT_STEP = 18;
const WIDEST_LINE = 14;
const MOST_STRETCH = 3;

export interface Column {
  readonly position: number;
  readonly x: number;
  readonly width: number;
}

export interface Row {
  readonly layer: number;
  /** Middle of the row. */
  readonly y: number;
  readonly height: number;
}

export interface Layout {
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
  readonly width: number;
  readonly height: number;
}

interface Sizes {
  columns: Float64Array;
  rows: Float64Array;
}

/**
 * Lay a graph out.
 *
 * @param aspect width by height of the place that it is drawn in; cells are folded so that the whole fits it best.
 */
export function layOut(data: GraphData, aspect = 1.8): Layout {
  const nTokens = Math.max(1, data.tokens.length);
  const nRows = data.nLayers + 2;
  const cells = new Map<number, number>();
  for (let i = 0; i < data.nNodes; i++) {
    const cell = cellOf(data, i, nTokens);
    cells.set(cell, (cells.get(cell) ?? 0) + 1);
  }
  let fold = 1;
  let sizes = sizesOf(cells, nTokens, nRows, 1);
  let best = Infinity;
  for (let candidate = 1; candidate <= WIDEST_LINE; candidate++) {
    const found = sizesOf(cells, nTokens, nRows, candidate);
    const miss = Math.abs(Math.log(total(found.columns) / total(found.rows) / aspect));
    if (miss < best) [best, fold, sizes] = [miss, candidate, found];
  }
  stretch(sizes, aspect);
  const columns: Column[] = [];
  let x = 0;
  for (let position = 0; position < nTokens; position++) {
    const width = sizes.columns[position]!;
    columns.push({ position, x: x + width / 2, width });
    x += width;
  }
  const height = total(sizes.rows);
  const rows: Row[] = [];
  let y = height;
  for (let row = 0; row < nRows; row++) {
    const rowHeight = sizes.rows[row]!;
    rows.push({ layer: row - 1, y: y - rowHeight / 2, height: rowHeight });
    y -= rowHeight;
  }
  const places = placesOf(data, cells, columns, rows, fold, nTokens);
  return { ...places, columns, rows, width: x, height };
}

function cellOf(data: GraphData, node: number, nTokens: number): number {
  return (data.layer[node]! + 1) * nTokens + data.position[node]!;
}

function sizesOf(cells: Map<number, number>, nTokens: number, nRows: number, fold: number): Sizes {
  const columns = new Float64Array(nTokens).fill(MIN_COLUMN);
  const rows = new Float64Array(nRows).fill(MIN_ROW);
  for (const [cell, count] of cells) {
    const row = Math.floor(cell / nTokens);
    const position = cell % nTokens;
    if (row === nRows - 1) {
      rows[row] = Math.max(rows[row]!, count * OUTPUT_STEP + ROW_GAP);
      continue;
    }
    columns[position] = Math.max(columns[position]!, Math.min(count, fold) * STEP + COLUMN_GAP);
    rows[row] = Math.max(rows[row]!, Math.ceil(count / fold) * STEP + ROW_GAP);
  }
  return { columns, rows };
}

function stretch(sizes: Sizes, aspect: number): void {
  const found = total(sizes.columns) / total(sizes.rows);
  const thin = found < aspect ? sizes.columns : sizes.rows;
  const factor = Math.min(MOST_STRETCH, found < aspect ? aspect / found : found / aspect);
  for (let i = 0; i < thin.length; i++) thin[i] = thin[i]! * factor;
}

function placesOf(data: GraphData, cells: Map<number, number>, columns: Column[], rows: Row[], fold: number, nTokens: number): { x: Float32Array; y: Float32Array } {
  const x = new Float32Array(data.nNodes);
  const y = new Float32Array(data.nNodes);
  for (let i = 0; i < data.nNodes; i++) {
    const count = cells.get(cellOf(data, i, nTokens))!;
    const column = columns[data.position[i]!]!;
    const row = rows[data.layer[i]! + 1]!;
    const slot = data.slot[i]!;
    if (data.kind[i] === LOGIT) {
      x[i] = column.x;
      y[i] = row.y + (slot - (count - 1) / 2) * OUTPUT_STEP;
      continue;
    }
    const line = Math.floor(slot / fold);
    const lines = Math.ceil(count / fold);
    const here = Math.min(fold, count - line * fold);
    x[i] = column.x + ((slot % fold) - (here - 1) / 2) * STEP;
    y[i] = row.y - (line - (lines - 1) / 2) * STEP;
  }
  return { x, y };
}

function total(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
