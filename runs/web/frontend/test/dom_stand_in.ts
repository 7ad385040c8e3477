// As much of a document as the modules of src/lib need, so that they can be tested without a browser.

/** An element that remembers its attributes, children and listeners. */
export class StandIn extends EventTarget {
  readonly attributes = new Map<string, string>();
  children: (StandIn | { text: string })[] = [];
  parent: StandIn | null = null;
  isContentEditable = false;
  type = "";

  constructor(readonly tag: string) {
    super();
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }

  appendChild(child: StandIn | { text: string }): void {
    this.children.push(child);
    if (child instanceof StandIn) child.parent = this;
  }

  replaceChildren(): void {
    this.children = [];
  }

  closest(selector: string): StandIn | null {
    const tags = selector.split(",").map((part) => part.trim().replace(/\[.*$/, ""));
    return tags.includes(this.tag) ? this : (this.parent?.closest(selector) ?? null);
  }
}

/** Put stand-ins in the place of the browser's globals. */
export function standInDocument(): EventTarget & { openDialog: boolean } {
  const document = Object.assign(new EventTarget(), {
    openDialog: false,
    createElement: (tag: string) => new StandIn(tag),
    createElementNS: (_: string, tag: string) => new StandIn(tag),
    createTextNode: (text: string) => ({ text }),
    querySelector(selector: string) {
      if (selector === "dialog[open]") return this.openDialog ? new StandIn("dialog") : null;
      return selector === 'meta[name="csrf"]' ? { content: "token-of-the-page" } : null;
    },
  });
  class Input extends StandIn {}
  Object.assign(globalThis, {
    document,
    Node: StandIn,
    Element: StandIn,
    HTMLElement: StandIn,
    HTMLInputElement: Input,
    HTMLTextAreaElement: class extends StandIn {},
    HTMLSelectElement: class extends StandIn {},
  });
  return document;
}
