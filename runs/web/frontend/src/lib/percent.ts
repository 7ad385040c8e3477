// A share of one, in the words that every part of the report uses.

/** A share as a percentage with one decimal; next to none and next to all are told as such, never as none and all. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "–";
  if (share === 0) return "0 %";
  if (share < 0.001) return "<0.1 %";
  if (share > 0.999) return share === 1 ? "100 %" : ">99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}
