// Moments as every page tells them (`runs/web/moments.py`): day and minute in UTC, with the exact moment behind.

import { h } from "./dom";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * Such as `22 Nov 2026, 01:03 UTC`.
 *
 * @param at ISO 8601 with its zone, or seconds since 1970.
 * @param seconds told too, where moments lie close.
 */
export function moment(at: string | number, seconds = false): string {
  const date = dateOf(at);
  if (Number.isNaN(date.getTime())) return String(at);
  const clock = date.toISOString().slice(11, seconds ? 19 : 16);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]!} ${date.getUTCFullYear()}, ${clock} UTC`;
}

/** The same as an element of a page. */
export function timeElement(at: string | number, attributes: { class?: string } = {}): HTMLElement {
  const date = dateOf(at);
  const exact = Number.isNaN(date.getTime()) ? String(at) : date.toISOString();
  return h("time", { datetime: exact, title: exact, ...attributes }, moment(at));
}

function dateOf(at: string | number): Date {
  return new Date(typeof at === "number" ? 1000 * at : at);
}
