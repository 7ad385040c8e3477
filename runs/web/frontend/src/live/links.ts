// An intervention as a link: `?live=act%3Dscale%26x%3D2%26nodes%3D0_86_7`. A link fills the form; it never runs anything.

import type { ActKind, Direction, LiveRequest, Mode } from "./types";

const NODE = /^[0-9]{1,6}_[0-9]{1,9}_[0-9]{1,6}$/;

/** The intervention as the value of the parameter `live`. */
export function formatLink(asked: LiveRequest): string {
  const query = new URLSearchParams({ act: asked.act, nodes: asked.nodes.join(",") });
  const put = (name: string, value: string | number | null | undefined, usual?: string | number): void => {
    if (value !== null && value !== undefined && value !== usual) query.set(name, String(value));
  };
  put("x", asked.multiplier);
  put("donor", asked.donor_prompt);
  put("swap", asked.swap, "places");
  put("mode", asked.mode, "open");
  put("freeze", asked.freeze_attention ? 1 : null);
  put("token", asked.token);
  put("expect", asked.direction);
  put("controls", asked.controls, 0);
  put("seed", asked.seed, 0);
  if (asked.doses?.length) query.set("doses", "1");
  return query.toString();
}

function oneOf<T extends string>(value: string | null, allowed: readonly T[]): T | null {
  return allowed.find((one) => one === value) ?? null;
}

function wholeNumber(value: string | null, most: number): number {
  const found = Number(value ?? 0);
  return Number.isInteger(found) && found >= 0 && found <= most ? found : 0;
}

/** The intervention of a link; null where it is none. Whatever does not belong in one is left out. */
export function parseLink(text: string): LiveRequest | null {
  const query = new URLSearchParams(text);
  const act = oneOf<ActKind>(query.get("act"), ["ablate", "scale", "swap"]);
  const nodes = (query.get("nodes") ?? "").split(",").filter((node) => NODE.test(node));
  if (act === null || nodes.length === 0) return null;
  const x = Number(query.get("x") ?? 2);
  return {
    act,
    nodes: nodes.slice(0, 500),
    multiplier: act === "scale" ? (Number.isFinite(x) ? Math.max(-20, Math.min(20, x)) : 2) : null,
    donor_prompt: act === "swap" ? (query.get("donor") ?? "").slice(0, 4000) : null,
    swap: oneOf<"places" | "features">(query.get("swap"), ["places", "features"]) ?? "places",
    mode: oneOf<Mode>(query.get("mode"), ["open", "constrained", "direct"]) ?? "open",
    freeze_attention: query.get("freeze") === "1",
    token: query.get("token")?.slice(0, 200) || null,
    direction: oneOf<Direction>(query.get("expect"), ["down", "up"]),
    controls: wholeNumber(query.get("controls"), 200),
    seed: wholeNumber(query.get("seed"), 2 ** 31 - 1),
    doses: query.get("doses") === "1" && act !== "swap" ? [...DOSES] : [],
  };
}

/** Multipliers of a dose curve: from inverted to four times as strong, no change among them. */
export const DOSES: readonly number[] = [-4, -3, -2, -1, -0.5, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4];
