/**
 * What is selected, kept in the address so that every node, supernode, edge, claim, sentence and feature has a link of
 * its own and the browser's back button walks back.
 *
 * Targets: `supernode:s1`, `node:2_55_8`, `feature:2/55`, `claim:c1`, `edge:s2>s1`, `sentence:3`.
 */

const TARGET =
  /^(supernode:[sn][0-9]{1,9}|node:[A-Za-z0-9_-]{1,120}|feature:[0-9]{1,6}\/[0-9]{1,9}|claim:c[0-9]{1,9}|edge:[A-Za-z0-9_-]{1,120}>[A-Za-z0-9_-]{1,120}|sentence:[0-9]{1,6})$/;

/** The target that a hash names; null where it names none. */
export function targetOfHash(hash: string): string | null {
  let text = hash.replace(/^#/, "");
  try {
    text = decodeURIComponent(text);
  } catch {
    return null; // a stray percent sign in an address that somebody typed
  }
  return TARGET.test(text) ? text : null;
}

/** The hash of a target. The signs that targets hold may stand in a hash as they are, but for `>`. */
export function hashOfTarget(target: string): string {
  return "#" + target.replaceAll(">", "%3E");
}

export type SelectionListener = (target: string | null, before: string | null) => void;

export class Selection {
  private current: string | null;
  private readonly listeners = new Set<SelectionListener>();

  constructor(private readonly place: Window = window) {
    this.current = targetOfHash(place.location.hash);
    place.addEventListener("hashchange", () => this.show(targetOfHash(this.place.location.hash)));
    place.addEventListener("popstate", () => this.show(targetOfHash(this.place.location.hash)));
  }

  get(): string | null {
    return this.current;
  }

  /** Select a target, or nothing. Something that is no target is ignored. */
  set(target: string | null): void {
    if (target === this.current || (target !== null && !TARGET.test(target))) return;
    const { pathname, search } = this.place.location;
    this.place.history.pushState(null, "", pathname + search + (target === null ? "" : hashOfTarget(target)));
    this.show(target);
  }

  /** Called after every change, not at once. Returns the end of the subscription. */
  subscribe(listener: SelectionListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** The full address of a target on this page. */
  link(target: string): string {
    const { origin, pathname, search } = this.place.location;
    return origin + pathname + search + hashOfTarget(target);
  }

  private show(target: string | null): void {
    if (target === this.current) return;
    const before = this.current;
    this.current = target;
    for (const listener of [...this.listeners]) listener(target, before);
  }
}
