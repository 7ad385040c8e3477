// What stands in the inspector about one thing: head, the review's controls, body. It is brought up to date in its place,
// so that a field that is open in it stays open and keeps the focus.

import { h, replace } from "../lib/dom";
import type { FieldKind, ReviewControls } from "../review/controls";
import type { Shown } from "./inspector";

export class Framed {
  readonly judged: string | null;
  private readonly kind = h("p", { class: "kicker" });
  private readonly name = h("bdi");
  private readonly head = h("h2", { id: "inspector-name", tabindex: "-1" }, this.name);
  private readonly more = h("button", { type: "button", class: "button button-small button-quiet inspector-more", "aria-controls": "inspector-name", onclick: () => this.clamp(!this.clamped) });
  private readonly body = h("div", { class: "inspector-body" });
  private clamped = true;

  constructor(
    root: HTMLElement,
    private readonly target: string,
    shown: Shown,
    tools: readonly HTMLElement[],
    private readonly controls: ReviewControls | null,
  ) {
    this.judged = shown.judged;
    replace(
      root,
      h("header", { class: "inspector-head" }, this.kind, h("div", { class: "inspector-tools" }, tools), this.head, this.more),
      controls ? h("div", { class: "inspector-review" }, controls.element) : null,
      this.body,
    );
    this.clamp(true);
    this.fill(shown);
    new ResizeObserver(() => this.fit()).observe(this.head); // another width, other lines
  }

  /** Whether this stands there now, and is about a target. */
  isFor(target: string): boolean {
    return this.target === target && this.body.isConnected;
  }

  /** Tells what is known now in the same place; false where it is about something else, or is judged otherwise. */
  updated(target: string, shown: Shown): boolean {
    if (!this.isFor(target) || this.judged !== shown.judged) return false;
    this.fill(shown);
    return true;
  }

  set title(text: string) {
    if (this.name.textContent === text) return;
    this.name.textContent = text;
    this.fit();
  }

  /** Opens a field among the controls; false where there is none of the kind. */
  open(kind: FieldKind): boolean {
    return this.controls?.open(kind, this.wayBack()) ?? false;
  }

  /** To what has the focus now, or what has been drawn in its place; else to the name of what was written about. */
  private wayBack(): () => void {
    const before = document.activeElement as HTMLElement | SVGElement | null;
    const place = before?.closest("[id]")?.id;
    const target = before?.getAttribute("data-target");
    return () => {
      const again = place && target ? document.querySelector<HTMLElement | SVGElement>(`#${CSS.escape(place)} [data-target="${CSS.escape(target)}"]`) : null;
      const there = before?.isConnected && before !== document.body ? before : again;
      (there ?? this.head).focus({ preventScroll: true });
    };
  }

  private fill(shown: Shown): void {
    this.kind.textContent = shown.kind;
    this.title = shown.title;
    const active = document.activeElement;
    const link = active && this.body.contains(active) ? active.getAttribute("href") : null;
    replace(this.body, shown.parts.filter((part) => part !== null));
    if (link !== null) this.body.querySelector<HTMLElement>(`a[href="${CSS.escape(link)}"]`)?.focus({ preventScroll: true });
  }

  private clamp(clamped: boolean): void {
    this.clamped = clamped;
    this.head.classList.toggle("is-clamped", clamped);
    this.more.setAttribute("aria-expanded", String(!clamped));
    this.more.textContent = clamped ? "More" : "Less";
    this.fit();
  }

  /** There is more where not all of the name is seen. */
  private fit(): void {
    if (this.clamped) this.more.hidden = this.head.scrollHeight <= this.head.clientHeight + 1;
  }
}
