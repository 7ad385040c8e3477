// The page's colours for a canvas, which cannot use custom properties itself. Read again when the theme changes.

const NAMES = {
  ground: "--card",
  ink: "--ink",
  quiet: "--quiet",
  rule: "--rule",
  soft: "--soft",
  accent: "--accent",
  helps: "--helps",
  hinders: "--hinders",
  other: "--other",
  input: "--input",
  intermediate: "--intermediate",
  relation: "--relation",
  output: "--output",
  suppressor: "--suppressor",
} as const;

export type Palette = { readonly [name in keyof typeof NAMES]: string };

/** The colours as they hold at an element. */
export function paletteAt(place: HTMLElement): Palette {
  const probe = document.createElement("span");
  probe.hidden = true;
  place.append(probe);
  const found = Object.entries(NAMES).map(([name, property]) => {
    probe.style.color = `var(${property})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(found) as Palette;
}

/** The page's typeface, for text on a canvas. */
export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
