// Numbers and interventions in words, the same in the panel, in comments and for screen readers.

import type { ControlRow, LiveRequest, LiveResult } from "./types";

/** A probability as people read it: `99.998 %`, `0.0034 %`, never a bare 0 or 100. */
export function percent(probability: number): string {
  const value = 100 * probability;
  if (value === 0) return "0 %";
  if (value >= 99.95 && value < 100) return value >= 99.9995 ? "> 99.999 %" : `${value.toFixed(3)} %`;
  if (value >= 10) return `${value.toFixed(1)} %`;
  if (value >= 0.001) return `${Number(value.toPrecision(2))} %`;
  return "< 0.001 %";
}

/** A number with three digits that count; a minus is a minus. */
export function short(value: number): string {
  const size = Math.abs(value);
  const text = size !== 0 && (size < 0.001 || size >= 1e6) ? size.toExponential(1) : String(Number(size.toPrecision(3)));
  return (value < 0 && text !== "0" ? "−" : "") + text;
}

export function pValue(p: number): string {
  return p < 0.001 ? "p\u00a0<\u00a0.001" : `p\u00a0=\u00a0${p.toFixed(3).replace(/^0/, "").replace(/0+$/, "").replace(/\.$/, "") || "1"}`;
}

/** `“Texas” switched off`, `“Texas” × 2`, `“Texas” swapped for that of “… Stowe is”`. */
export function actWords(asked: LiveRequest, what: string): string {
  return changeWords(asked, what) + modeWords(asked);
}

/** How the rest of the model reacted, where that is not simply as it does. */
function modeWords(asked: LiveRequest): string {
  if (asked.mode && asked.mode !== "open") return ` (${asked.mode})`;
  return asked.freeze_attention ? " (attention kept)" : "";
}

function changeWords(asked: LiveRequest, what: string): string {
  switch (asked.act) {
    case "ablate":
      return `${what} switched off`;
    case "scale":
      return `${what} × ${short(asked.multiplier ?? 1)}`;
    case "swap":
      return `${what} as in “${asked.donor_prompt ?? ""}”${asked.swap === "features" ? ", these features alone" : ""}`;
  }
}

/** A probability changes by less than a hundredth of itself. */
const SMALL_NATS = 0.01;

/** What the controls say, in a sentence: where it went by itself, then against what was expected, then against chance. */
export function controlWords(found: ControlRow): string {
  const of = found.effects.length;
  if (of === 0) return found.note || "No control could be drawn.";
  const reached = found.rank - 1;
  const rises = found.direction === "down" ? found.effect < 0 : found.effect > 0;
  const hoped = found.direction === "down" ? "fall" : "rise";
  const against = found.direction !== "either" && found.effect < 0;
  const small = Math.abs(found.effect) < SMALL_NATS ? " That is next to nothing, however rare." : "";
  const did = found.direction === "either" ? "moved it as much, up or down" : against ? `came nearer to a ${hoped}` : "did as much";
  const chance = `${reached || "none"} of ${of} matched random interventions ${did} (${pValue(found.p_value)}${against ? ` for a ${hoped}` : ""})`;
  return `The log-probability of “${found.token}” ${rises ? "rises" : "falls"} by ${short(Math.abs(found.effect))} nats${against ? `, where a ${hoped} was expected` : ""}; ${chance}.${small}${found.note ? ` Note: ${found.note}.` : ""}`;
}

/** A result in one paragraph: what a comment on a supernode says. */
export function resultWords(result: LiveResult, what: string): string {
  const { target } = result;
  const parts = [
    `Live: ${actWords(result.request, what)}: “${target.token}” ${percent(target.before)} → ${percent(target.after)} (rank ${target.rank_before} → ${target.rank_after}).`,
  ];
  if (result.answer_before !== result.answer_after) parts.push(`The answer becomes “${result.answer_after}”.`);
  if (result.controls) parts.push(controlWords(result.controls));
  return `${parts.join(" ")}\n${result.command}`;
}
