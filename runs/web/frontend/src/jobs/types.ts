// What `/api/jobs` gives (`runs/web/job_states.py`, `job_sums.py`, `routes/jobs.py`).

export interface FailureKind {
  kind: string;
  n_cases: number;
  advice: string;
  runbook: string | null;
}

export interface JobBrief {
  job_id: string;
  name: string;
  status: "waiting" | "running" | "stopped" | "done" | "cancelled";
  agent: string;
  model: string;
  n_cases: number;
  finished: number;
  cases: Partial<Record<CaseStatus, number>>;
  failures: FailureKind[];
  paid_usd: number;
  reserved_usd: number;
  usd_limit: number | null;
  created_at: number;
  created_by: string;
  started_at: number | null;
  finished_at: number | null;
  message: string | null;
}

export type CaseStatus = "waiting" | "running" | "done" | "failed" | "cancelled";

export interface JobState {
  job: JobBrief;
  workers: { host: string; pid: number; case_id: string | null; case_seconds: number; silent_seconds: number; is_silent: boolean }[];
  rate: number | null;
  seconds_left: number | null;
  over: boolean;
  abandoned: boolean;
  supervised: boolean;
}

export interface CaseState {
  case_id: string;
  position: number;
  title: string;
  status: CaseStatus;
  attempt: number;
  crashes: number;
  started_at: number | null;
  finished_at: number | null;
  seconds: number | null;
  paid_usd: number;
  failure_kind: string | null;
  failure_message: string | null;
  has_report: boolean;
}

export interface CasePage {
  cases: CaseState[];
  total: number;
  page: number;
  per_page: number;
}

export interface JobSums {
  job_id: string;
  final: boolean;
  scores: { name: string; title: string; meaning: string; higher_is_better: boolean; mean: number; low: number; high: number; n_prompts: number; n_cases: number }[];
  verdicts: Record<string, number>;
  facts: [string, string][];
  failures: { kind: string; message: string; n_cases: number; advice: string; examples: [string, string][] }[];
  lists: { title: string; cases: { case_id: string; title: string; value: string }[] }[];
}

export interface RateOverTime {
  first: number | null;
  last: number | null;
  span_seconds: number;
  finished: number[];
}
