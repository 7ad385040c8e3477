// What can be selected, linked to and judged on a page, as a short string: `supernode:s1`, `edge:s2>s1`, `feature:2/55`.

export type Target =
  | { kind: "report" }
  | { kind: "supernode"; id: string }
  | { kind: "node"; id: string }
  | { kind: "claim"; id: string }
  | { kind: "feature" | "label"; layer: number; feature: number }
  | { kind: "edge"; source: string; destination: string }
  | { kind: "sentence"; number: number };

const ID = "[A-Za-z0-9_-]{1,120}";
const NAMED = new RegExp(`^(supernode|node|claim):(${ID})$`);
const FEATURE = /^(feature|label):([0-9]{1,6})\/([0-9]{1,9})$/;
const EDGE = new RegExp(`^edge:(${ID})>(${ID})$`);
const SENTENCE = /^sentence:([0-9]{1,6})$/;

/** The target that a string names; null for one that names none. */
export function parseTarget(text: string): Target | null {
  if (text === "report") return { kind: "report" };
  let found = NAMED.exec(text);
  if (found) return { kind: found[1] as "supernode" | "node" | "claim", id: found[2]! };
  found = FEATURE.exec(text);
  if (found) return { kind: found[1] as "feature" | "label", layer: Number(found[2]), feature: Number(found[3]) };
  found = EDGE.exec(text);
  if (found) return { kind: "edge", source: found[1]!, destination: found[2]! };
  found = SENTENCE.exec(text);
  if (found) return { kind: "sentence", number: Number(found[1]) };
  return null;
}

/** The string that names a target. */
export function formatTarget(target: Target): string {
  switch (target.kind) {
    case "report":
      return "report";
    case "feature":
    case "label":
      return `${target.kind}:${target.layer}/${target.feature}`;
    case "edge":
      return `edge:${target.source}>${target.destination}`;
    case "sentence":
      return `sentence:${target.number}`;
    default:
      return `${target.kind}:${target.id}`;
  }
}
