// What `/api/reports/{id}/live` takes and gives (`runs/web/live_requests.py`, `runs/web/routes/live.py`).

export type ActKind = "ablate" | "scale" | "swap";
export type Mode = "open" | "constrained" | "direct";
export type Direction = "down" | "up";

export interface LiveRequest {
  nodes: string[];
  act: ActKind;
  multiplier?: number | null;
  donor_prompt?: string | null;
  swap?: "places" | "features";
  mode?: Mode;
  freeze_attention?: boolean;
  token?: string | null;
  direction?: Direction | null;
  controls?: number;
  doses?: number[];
  seed?: number;
}

export interface TokenRow {
  token: string;
  before: number;
  after: number;
  rank_before: number;
  rank_after: number;
  logit_before: number;
  logit_after: number;
}

export interface EditRow {
  feature: string;
  position: number;
  token: string;
  before: number;
  after: number;
}

export interface StripGeometry {
  dots: [number, number][];
  effect_x: number;
  zero_x: number;
  effect_label_x: number;
  effect_text: string;
  description: string;
}

export interface ControlRow {
  token: string;
  direction: Direction | "either";
  effect: number;
  effects: number[];
  rank: number;
  p_value: number;
  matched_on: string[];
  seed: number;
  note: string;
  plot: StripGeometry | null;
}

export interface DoseRow {
  multiplier: number;
  probability: number;
  log_probability: number;
}

export interface LiveResult {
  request: LiveRequest;
  prompt: string;
  answer_before: string;
  answer_after: string;
  target: TokenRow;
  tokens: TokenRow[];
  edits: EditRow[];
  controls: ControlRow | null;
  doses: DoseRow[];
  command: string;
  seconds: number;
  waited: number;
}

export interface TestedBefore {
  claim_id: string;
  supernode: string;
  act: ActKind;
  multiplier: number | null;
  donor_prompt: string | null;
  token: string;
}

export interface LiveState {
  available: boolean;
  why_not: string | null;
  phase: "not loaded" | "loading" | "ready" | "running" | "failed";
  loaded_in: number | null;
  waiting: number;
  prompt: string;
  tokens: string[];
  token: string | null;
  tested: TestedBefore[];
  limits: { per_minute: number; nodes: number; controls: number; doses: number; donor_characters: number; multiplier: number };
}
