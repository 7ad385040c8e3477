"""Tables of the store, the same on SQLite and PostgreSQL. A change here needs a migration in `runs/store/migrations`.

    jobs 1─* cases *─1 workers        a running case belongs to a worker; the worker's heartbeat is its lease
    cases 1─* artefact_uses *─1 artefacts     finished results by content
    staged_artefacts                  files that may be on disk without being anybody's result yet
    calls 1─* call_events             requests to language models: how they stand, and the ledger of all that happened
    audit_entries 1─* audit_heads     the hash chain, and signatures of its end
    cases 1─1 reports                 what lists of reports are searched and sorted by
    cases 1─* reviews 1─* review_acts     what people said of a report, act by act
    access_tokens 1─* web_sessions    who is logged in where the product is served

Moments (`*_at`) are seconds since 1970 in UTC, for people and for retention alone: nothing that must be right is decided
by comparing the clocks of two machines. Values of JSON columns are text in `canonical_json` form, so that both databases
hold the same bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)
_Id = String(80)
_Sha256 = String(64)
# SQLite gives only a plain INTEGER PRIMARY KEY numbers of its own
_Counter = BigInteger().with_variant(Integer, "sqlite")

settings = Table(
    "settings",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("value", Text, nullable=False),  # JSON
)
"""Of the store: `store_id`, `artefacts` (where they lie), `created_at`, `retention`."""

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", _Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),  # runs.jobs.records.JobStatus
    Column("specification", Text, nullable=False),  # JSON of JobSpecification, as submitted, redacted
    Column("specification_sha256", _Sha256, nullable=False),
    Column("agent", String(200), nullable=False),  # as its spec names it
    Column("model", String(400), nullable=False),
    Column("model_sha256", String(64)),  # of the weights that the first worker loaded; all others must have the same
    Column("transcoders_sha256", String(64)),
    Column("n_cases", Integer, nullable=False),
    Column("usd_limit", Double),  # of the whole job; null for none
    Column("created_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("message", Text),  # why it stopped, for people
    Index(None, "status"),
    Index(None, "created_at"),
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", _Id, primary_key=True),
    Column("job_id", _Id, ForeignKey("jobs.job_id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("case_key", String(64), nullable=False),  # hash of prompt or graph, and seed: the same case in another job
    Column("title", String(200), nullable=False),
    Column("specification", Text, nullable=False),  # JSON of CaseSpecification
    Column("status", String(16), nullable=False),  # runs.jobs.records.CaseStatus
    Column(
        "attempt", Integer, nullable=False, default=0, server_default="0"
    ),  # leases given so far: fences off late workers
    Column(
        "crashes", Integer, nullable=False, default=0, server_default="0"
    ),  # leases whose worker died under a live supervisor
    Column("worker_id", _Id),  # who holds the lease, or held the last one
    Column(
        "reserved_usd", Double, nullable=False, default=0.0, server_default="0"
    ),  # most that the running lease may yet spend
    Column("started_at", Double),  # of the last lease
    Column("finished_at", Double),
    Column("seconds", Double),  # of the finishing attempt, on a steady clock
    Column(
        "paid_usd", Double, nullable=False, default=0.0, server_default="0"
    ),  # answers paid for by this case, in all attempts
    Column("paid_tokens", BigInteger, nullable=False, default=0, server_default="0"),
    Column("paid_calls", Integer, nullable=False, default=0, server_default="0"),
    Column("figures", Text),  # JSON of CaseFigures, once finished
    Column("failure_kind", String(40)),
    Column("failure_message", Text),
    CheckConstraint("status IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name="status"),
    Index("ix_cases_queue", "job_id", "status", "crashes", "position"),
    Index("ix_cases_worker", "worker_id", "status"),
    Index("ix_cases_key", "case_key"),
    Index("ix_cases_place", "job_id", "position", unique=True),
    # what `jobs list` and `show` count, and what a job's budget is held against, without a look at the rows themselves
    Index("ix_cases_figures", "job_id", "status", "failure_kind", "paid_usd", "reserved_usd"),
    Index("ix_cases_finished", "job_id", "finished_at"),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", _Id, primary_key=True),
    Column("kind", String(16), nullable=False),  # `worker` or `supervisor`
    Column("executor", String(16), nullable=False),  # `local` or `ray`
    Column("job_id", _Id),
    Column("supervisor_id", _Id),  # who started it; null for a supervisor
    Column("host", String(255), nullable=False),
    Column(
        "boot_id", String(64), nullable=False
    ),  # of the host since it started: with pid and start it names a process
    Column("pid", Integer, nullable=False),
    Column("pid_started", BigInteger, nullable=False),  # clock ticks after boot
    Column("beat", BigInteger, nullable=False, default=0, server_default="0"),  # counted up by the heartbeat
    Column("status", String(16), nullable=False),  # `alive`, `left` or `dead`
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),  # for people
    Index("ix_workers_status", "status", "job_id"),
)

artefacts = Table(
    "artefacts",
    metadata,
    Column("sha256", _Sha256, primary_key=True),
    Column("kind", String(24), nullable=False),  # graph, report, page, markdown, drawing, evidence, summary
    Column("size", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)

artefact_uses = Table(
    "artefact_uses",
    metadata,
    Column("case_id", _Id, ForeignKey("cases.case_id"), nullable=False),
    Column("name", String(80), nullable=False),  # report.json, graph.json, ...
    Column("sha256", _Sha256, ForeignKey("artefacts.sha256"), nullable=False),
    PrimaryKeyConstraint("case_id", "name"),
    Index(None, "sha256"),
)

staged_artefacts = Table(
    "staged_artefacts",
    metadata,
    Column("sha256", _Sha256, ForeignKey("artefacts.sha256"), nullable=False),
    Column("worker_id", _Id, nullable=False),
    Column("case_id", _Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    PrimaryKeyConstraint("sha256", "case_id", "attempt"),
    Index(None, "worker_id"),
)

derivations = Table(
    "derivations",
    metadata,
    Column(
        "key", _Sha256, primary_key=True
    ),  # of everything that decides the artefact, such as weights and prompt of a graph
    Column("sha256", _Sha256, ForeignKey("artefacts.sha256"), nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "sha256"),
)
"""What need not be computed twice."""

calls = Table(
    "calls",
    metadata,
    Column("request_sha256", _Sha256, primary_key=True),
    Column("provider", String(80), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("model", String(400), nullable=False),
    Column("template", String(120), nullable=False),
    Column("status", String(16), nullable=False),  # `in_flight`, `answered` or `failed`
    Column("worker_id", _Id),  # who sent it last
    Column("job_id", _Id),
    Column("case_id", _Id),
    Column("sendings", Integer, nullable=False, default=0, server_default="0"),
    Column(
        "resent", Integer, nullable=False, default=0, server_default="0"
    ),  # sendings after a death with no answer on record
    Column("completion", Text),  # JSON of Completion, redacted
    Column("usd", Double),
    Column("changed_at", Double, nullable=False),
    Index("ix_calls_case", "case_id"),
    Index("ix_calls_job", "job_id", "status"),
)

call_events = Table(
    "call_events",
    metadata,
    Column("event_id", _Counter, primary_key=True, autoincrement=True),
    Column("request_sha256", _Sha256, nullable=False),
    Column("event", String(16), nullable=False),  # `intent`, `answer`, `failure` or `reuse`
    Column("job_id", _Id),
    Column("case_id", _Id),
    Column("worker_id", _Id),
    Column("content", Text, nullable=False),  # JSON of the CallEvent, an answer's text left to `calls`
    Column("at", Double, nullable=False),
    Index("ix_call_events_request", "request_sha256"),
    Index("ix_call_events_case", "case_id"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # from 0, without gaps
    Column("at", String(32), nullable=False),  # ISO 8601, UTC
    Column("actor", String(200), nullable=False),
    Column("act", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Column("previous", _Sha256, nullable=False),
    Column("chain", _Sha256, nullable=False),
    Index("ix_audit_entries_subject", "subject"),
    Index("ix_audit_entries_act", "act"),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", _Sha256, nullable=False),
    Column("at", String(32), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("signature", String(200), nullable=False),
)

audit_keys = Table(
    "audit_keys",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("public_key", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("token_id", _Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),  # viewer, reviewer or admin
    Column("token_sha256", _Sha256, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("used_at", Double),
)

reports = Table(
    "reports",
    metadata,
    Column("case_id", _Id, ForeignKey("cases.case_id"), primary_key=True),
    Column("job_id", _Id, ForeignKey("jobs.job_id"), nullable=False),
    Column("report_id", String(80), nullable=False),
    Column("report_sha256", _Sha256, nullable=False),  # of the artefact report.json
    Column("prompt", Text, nullable=False),
    Column("prompt_sha256", _Sha256, nullable=False),  # reports on one prompt can be compared
    Column("answer", String(400)),
    Column("probability", Double),  # of the answer
    Column("model", String(400), nullable=False),
    Column("agent", String(200), nullable=False),
    Column("tested", Integer, nullable=False),  # 1 or 0
    Column("supported", Integer, nullable=False),
    Column("refuted", Integer, nullable=False),
    Column("inconclusive", Integer, nullable=False),
    Column("untested", Integer, nullable=False),
    Column("cut_short", String(80)),
    Column("score", Double),  # the headline score, where there is gold
    Column("score_name", String(80)),
    Column(
        "review_status", String(16), nullable=False
    ),  # unreviewed, open, accepted or rejected: of the last review act
    Column("finished_at", Double, nullable=False),
    Column("search", Text, nullable=False),  # prompt, answer and labels, in lower case
    Index(None, "job_id"),
    Index(None, "prompt_sha256"),
    Index(None, "finished_at"),
    Index(None, "score"),
    Index(None, "model"),
    Index(None, "agent"),
    Index(None, "review_status"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("review_id", _Id, primary_key=True),
    Column("case_id", _Id, ForeignKey("cases.case_id"), nullable=False),
    Column("report_sha256", _Sha256, nullable=False),  # of the report that is reviewed
    Column("reviewer", String(200), nullable=False),  # who began it, as the audit log names them
    Column("version", Integer, nullable=False),  # number of its acts
    Column("status", String(16), nullable=False),  # runs.review.acts.ReviewStatus
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Index("uq_reviews_own", "case_id", "reviewer", unique=True),
    Index(None, "changed_at"),
)

review_acts = Table(
    "review_acts",
    metadata,
    Column("review_id", _Id, ForeignKey("reviews.review_id"), nullable=False),
    Column("version", Integer, nullable=False),  # from 1; two acts can never have one version
    Column("at", String(32), nullable=False),  # ISO 8601, UTC
    Column("actor", String(200), nullable=False),
    Column("act", Text, nullable=False),  # JSON of runs.review.acts.Act
    Column("why", Text, nullable=False),
    Column("act_id", String(64)),  # by which whoever sends it knows it, so that sending it twice makes one act
    PrimaryKeyConstraint("review_id", "version"),
    Index("uq_review_acts_act_id", "review_id", "act_id", unique=True),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("session_sha256", _Sha256, primary_key=True),  # of the cookie's value, which is nowhere stored
    Column("token_id", _Id, ForeignKey("access_tokens.token_id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Index(None, "token_id"),
)
