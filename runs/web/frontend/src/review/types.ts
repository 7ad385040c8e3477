// A review as the server tells it (`runs/review/states.py`) and what can be done in it (`runs/review/acts.py`).

import type { Drafts } from "./drafts";

export type Decision = "accepted" | "rejected" | "open";
export type ReviewStatus = "open" | "accepted" | "rejected";
export type Role = "input" | "intermediate" | "relation" | "output" | "suppressor" | "other";
export const ROLES: readonly Role[] = ["input", "intermediate", "relation", "output", "suppressor", "other"];
export type Sign = 1 | -1;

export const MAX_TEXT = 2000;
export const MAX_LABEL = 200;

export type Act =
  | { kind: "judge"; target: string; decision: Decision }
  | { kind: "comment"; target: string; text: string }
  | { kind: "relabel feature"; layer: number; feature: number; text: string }
  | { kind: "rename supernode"; supernode: string; text: string }
  | { kind: "set role"; supernode: string; role: Role }
  | { kind: "move nodes"; nodes: string[]; to: string | null }
  | { kind: "merge supernodes"; supernodes: string[]; into: string }
  | { kind: "split supernode"; supernode: string; nodes: string[]; label: string }
  | { kind: "add supernode"; nodes: string[]; label: string; role: Role }
  | { kind: "set edge"; source: string; destination: string; sign: Sign }
  | { kind: "mark undecided"; nodes: string[]; undecided: boolean }
  | { kind: "undo" }
  | { kind: "redo" }
  | { kind: "close"; status: "accepted" | "rejected" }
  | { kind: "reopen" };

export interface SupernodeState {
  supernode_id: string;
  label: string;
  label_before: string | null;
  role: Role;
  role_before: Role | null;
  members: string[];
  members_before: string[];
  decision: Decision;
  rejected_by_report: boolean;
  gone: boolean;
  /** Its members are not the report's; what the report measured was measured of `members_before`. */
  changed: boolean;
}

export interface EdgeState {
  source: string;
  destination: string;
  weight: number | null;
  /** The report's; null where the report does not have the link. */
  weight_before: number | null;
  sign: Sign;
  sign_before: Sign | null;
  decision: Decision;
  /** `graph`: computed for the members that its ends have now. */
  origin: "report" | "graph" | "reviewer";
  /** The report's, for members that an end has no longer; what holds now is not known. */
  stale: boolean;
}

export interface LabelState {
  layer: number;
  feature: number;
  text: string;
  text_before: string | null;
  decision: Decision;
}

export interface ClaimState {
  claim_id: string;
  decision: Decision;
}

export interface CommentState {
  version: number;
  at: string;
  actor: string;
  target: string;
  text: string;
}

export interface DoneAct {
  version: number;
  at: string;
  actor: string;
  act: Act;
  why: string;
  undone: boolean;
  /** Made by the page that did it; null for acts that gave none. */
  act_id: string | null;
}

export interface ReviewState {
  review_id: string | null;
  case_id: string;
  report_sha256: string;
  reviewer: string;
  version: number;
  status: ReviewStatus;
  report_decision: Decision;
  supernodes: SupernodeState[];
  edges: EdgeState[];
  labels: LabelState[];
  claims: ClaimState[];
  comments: CommentState[];
  undecided: string[];
  graph_kept: boolean;
  can_undo: boolean;
  can_redo: boolean;
  history: DoneAct[];
}

/** The body of a 409: somebody else's acts came first. */
export interface Conflict {
  error: "conflict";
  message: string;
  state: ReviewState;
  since: DoneAct[];
}

/** How the saving of acts stands; what the bar shows. */
export type Saving =
  | { kind: "saved" }
  | { kind: "saving"; waiting: number }
  | { kind: "offline"; waiting: number; why: string }
  | { kind: "conflict"; waiting: number }
  | { kind: "refused"; why: string };

/** What the parts of the page use of a review. `createReviewStore` in `store.ts` makes one. */
export interface Review {
  /** Text that is being typed, by name; it survives reloads. */
  readonly drafts: Drafts;
  state(): ReviewState;
  saving(): Saving;
  /** Runs after every change of the state or of the saving, not at once; the returned function ends it. */
  subscribe(run: () => void): () => void;
  /** Who looks, as the server names them. */
  readonly visitor: string;
  /**
   * Does an act. Resolves to true when it is saved, to false when it was refused or dropped; it never rejects.
   *
   * @param seen version of the state that it was made up on, where that took a while (a dialog); else the present one.
   */
  act(act: Act, why?: string, seen?: number): Promise<boolean>;
  /** Tries at once to save what waits. */
  hurry(): void;
}
