// Text in the drawing: made visible, measured, broken into lines.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const JOINER = "\u200d";
export const ELLIPSIS = "…";

/** Text in which control, format and unassigned characters are shown as `⟨U+XXXX⟩`; line breaks and tabs are spaces. */
export function visible(text: string): string {
  return text.replace(/[\n\r\t]/g, " ").replace(HIDDEN, (char) => {
    if (char === JOINER) return char;
    return `⟨U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

export type Measure = (text: string, size: number, bold?: boolean) => number;

/** How wide text is where there is no screen to ask: a generous guess. */
export function estimated(text: string, size: number, bold = false): number {
  let em = 0;
  for (const char of text) em += /[ijl.,:;|'`!I[\]()/\\ ·frt]/.test(char) ? 0.36 : /[mwMW@%—…]/.test(char) ? 0.95 : char > "\u02ff" ? 1.05 : /[A-Z0-9]/.test(char) ? 0.68 : 0.57;
  return em * size * (bold ? 1.08 : 1);
}

/** Asks the browser, in the font of an element. */
export function measuredIn(element: Element): Measure {
  const context = document.createElement("canvas").getContext("2d");
  if (!context) return estimated;
  const family = getComputedStyle(element).fontFamily || "sans-serif";
  const known = new Map<string, number>();
  return (text, size, bold = false) => {
    const name = `${size}${bold ? "b" : ""} ${text}`;
    let width = known.get(name);
    if (width === undefined) {
      context.font = `${bold ? "650 " : ""}${size}px ${family}`;
      width = context.measureText(text).width;
      if (known.size > 5000) known.clear();
      known.set(name, width);
    }
    return width;
  };
}

/** A text cut so that it fits, with an ellipsis where it was cut. */
export function shorten(text: string, width: number, size: number, measure: Measure, bold = false): string {
  if (measure(text, size, bold) <= width) return text;
  const points = [...text];
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (measure(points.slice(0, middle).join("").trimEnd() + ELLIPSIS, size, bold) <= width) low = middle;
    else high = middle - 1;
  }
  return points.slice(0, low).join("").trimEnd() + ELLIPSIS;
}

/** A text broken at spaces into at most so many lines; words that are too long are cut. */
export function wrap(text: string, width: number, size: number, most: number, measure: Measure, bold = false): string[] {
  const words = text.split(" ").filter(Boolean);
  const lines: string[] = [];
  for (let at = 0; at < words.length; ) {
    if (lines.length === most - 1) {
      lines.push(shorten(words.slice(at).join(" "), width, size, measure, bold));
      break;
    }
    let line = words[at++]!;
    while (at < words.length && measure(`${line} ${words[at]!}`, size, bold) <= width) line += ` ${words[at++]!}`;
    lines.push(shorten(line, width, size, measure, bold));
  }
  return lines.length ? lines : [""];
}
