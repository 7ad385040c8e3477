// Building elements without markup strings: text is always text, and nothing a report says becomes HTML.

export type Child = Node | string | number | null | undefined | false;
export type Children = Child | readonly Child[];

/** Values of attributes: a function is a listener (`onclick`), true an empty attribute, false, null or undefined none. */
export interface Attributes {
  readonly [name: string]: string | number | boolean | null | undefined | ((event: never) => void);
}

const SVG = "http://www.w3.org/2000/svg";
/** What would run text as code; the policy of the page refuses these too. */
const REFUSED = /^(style|srcdoc)$/i;

function fill(element: Element, attributes: Attributes | null, children: readonly Children[]): void {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (REFUSED.test(name)) throw new Error(`attribute ${name}: set classes, or element.style from script`);
    if (typeof value === "function") {
      element.addEventListener(name.replace(/^on/, ""), value as EventListener);
    } else if (/^on/i.test(name)) {
      throw new Error(`attribute ${name}: a listener is a function`);
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, ...children);
}

/** Append children; null, undefined and false are left out. */
export function append(parent: Node, ...children: readonly Children[]): void {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Take away an element's children and put others in. */
export function replace(parent: Element, ...children: readonly Children[]): void {
  parent.replaceChildren();
  append(parent, ...children);
}

/** An HTML element: `h("button", {type: "button", onclick: run}, "Accept")`. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes | null = null,
  ...children: readonly Children[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/** An SVG element. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes | null = null,
  ...children: readonly Children[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  fill(element, attributes, children);
  return element;
}

/** The element with an id; a page without it is built wrongly, so that is an error. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`this page has no #${id}`);
  return found as T;
}

/** Call after a pause in calls, with the last arguments. */
export function debounced<A extends unknown[]>(run: (...args: A) => void, milliseconds: number): (...args: A) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (...args: A) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...args), milliseconds);
  };
}
