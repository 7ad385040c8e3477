// One text that is being typed: it is kept until it is sent or thrown away, with the version that its author began on.

import type { Review } from "./types";

export class Typing {
  /** Version of the review that was on the screen when the text was begun. */
  readonly seen: number;

  constructor(
    private readonly review: Pick<Review, "drafts" | "state">,
    readonly name: string,
  ) {
    const kept = this.text ? Number(review.drafts.get(this.seenName)) : 0;
    this.seen = Number.isSafeInteger(kept) && kept > 0 ? kept - 1 : review.state().version;
  }

  get text(): string {
    return this.review.drafts.get(this.name);
  }

  keep(text: string): void {
    this.review.drafts.set(this.name, text);
    this.review.drafts.set(this.seenName, text ? String(this.seen + 1) : ""); // 0 would be nothing
  }

  private get seenName(): string {
    return `seen ${this.name}`;
  }
}
