// The drawing as a file of its own: styles become attributes, so that any viewer shows it as the page does.

const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-size", "font-weight", "text-anchor"] as const;
/** What a viewer takes where nothing is said. */
const PLAIN: Partial<Record<(typeof STYLED)[number], string>> = { "fill-opacity": "1", stroke: "none", "stroke-width": "1px", "stroke-dasharray": "none", "stroke-linecap": "butt", "stroke-linejoin": "miter", opacity: "1", "font-weight": "400", "text-anchor": "start" };
const TEXT_ONLY = new Set<string>(["font-size", "font-weight", "text-anchor"]);
const GONE = ".hit, .toggles, .lasso";
const KEPT = new Set(["d", "x", "y", "width", "height", "rx", "cx", "cy", "r", "transform", "points", "viewBox", ...STYLED]);
const MARGIN = 12;

/** What somebody looks at, at the moment: a figure is free of it. */
const LOOKED_AT = ["has-near", "is-near", "is-chosen", "is-picked"] as const;

/** SVG text without scripts, links, classes or outside references, as the drawing is with nothing selected. */
export function pictureOf(drawing: SVGSVGElement): string {
  const marked = LOOKED_AT.map((name) => [name, [drawing, ...drawing.querySelectorAll(`.${name}`)].filter((element) => element.classList.contains(name))] as const);
  for (const [name, elements] of marked) for (const element of elements) element.classList.remove(name);
  try {
    return asFile(drawing);
  } finally {
    for (const [name, elements] of marked) for (const element of elements) element.classList.add(name);
  }
}

function asFile(drawing: SVGSVGElement): string {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const originals = [drawing, ...drawing.querySelectorAll<SVGElement>("*")];
  const copies = [copy, ...copy.querySelectorAll<SVGElement>("*")];
  originals.forEach((original, at) => {
    const element = copies[at]!;
    const computed = getComputedStyle(original);
    for (const { name } of [...element.attributes]) if (!KEPT.has(name)) element.removeAttribute(name);
    if (element.tagName === "title" || element.tagName === "g" || element.tagName === "svg") {
      const opacity = computed.opacity;
      if (element.tagName === "g" && opacity !== "1") element.setAttribute("opacity", opacity);
      return;
    }
    for (const name of STYLED) {
      if (TEXT_ONLY.has(name) && element.tagName !== "text") continue;
      const value = computed.getPropertyValue(name);
      if (value && value !== PLAIN[name]) element.setAttribute(name, value);
      else element.removeAttribute(name);
    }
  });
  for (const element of originals.flatMap((original, at) => (original.matches(GONE) || getComputedStyle(original).display === "none" ? [copies[at]!] : []))) element.remove();
  const { width, height } = drawing.viewBox.baseVal;
  const ground = getComputedStyle(drawing).getPropertyValue("--card").trim() ? groundOf(drawing) : "#ffffff";
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`);
  copy.setAttribute("width", String(width + 2 * MARGIN));
  copy.setAttribute("height", String(height + 2 * MARGIN));
  copy.setAttribute("font-family", getComputedStyle(drawing).fontFamily);
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x: -MARGIN, y: -MARGIN, width: width + 2 * MARGIN, height: height + 2 * MARGIN, fill: ground })) rect.setAttribute(name, String(value));
  copy.prepend(rect);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(copy)}\n`;
}

function groundOf(drawing: SVGSVGElement): string {
  for (let element: Element | null = drawing; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour && !/^(transparent|rgba\(0, 0, 0, 0\))$/.test(colour)) return colour;
  }
  return "#ffffff";
}

/** The drawing as PNG, twice as fine as on the screen. */
export async function pngOf(drawing: SVGSVGElement): Promise<Blob> {
  const text = pictureOf(drawing);
  const image = new Image();
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new Error("the drawing cannot be turned into a picture; save it as SVG"));
      image.src = address;
    });
    const canvas = document.createElement("canvas");
    canvas.width = 2 * image.naturalWidth;
    canvas.height = 2 * image.naturalHeight;
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser draws no pictures; save the drawing as SVG");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Error("the drawing is too large for a PNG; save it as SVG");
    return blob;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Hands a file to the visitor. */
export function download(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
