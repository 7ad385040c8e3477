/** What every part of the report page shares: which report, what the visitor may do, what is selected, the review. */

import type { Review } from "../review/types";
import { Selection } from "./selection";

export interface Permissions {
  review: boolean;
  export: boolean;
  /** Interventions may be run here (the server has weights; whether they fit this report `/live` tells). */
  live: boolean;
}

export interface ReportContext {
  readonly caseId: string;
  /** The review that the address asks for (`?review=ID`); null for the visitor's own. */
  readonly reviewId: string | null;
  readonly may: Permissions;
  readonly selection: Selection;
  readonly review: Review;
}

/** A part of the page, mounted into its place. */
export type Mount = (root: HTMLElement, context: ReportContext) => void | Promise<void>;

export { Selection };
