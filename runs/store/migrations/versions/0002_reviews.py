"""An index of reports, reviews of them, and log-ins where the product is served."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of reports, reviews and log-ins."""

    op.create_table(
        "web_sessions",
        sa.Column("session_sha256", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["token_id"], ["access_tokens.token_id"], name=op.f("fk_web_sessions_token_id")),
        sa.PrimaryKeyConstraint("session_sha256", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_token_id"), "web_sessions", ["token_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("case_id", sa.String(length=80), nullable=False),
        sa.Column("job_id", sa.String(length=80), nullable=False),
        sa.Column("report_id", sa.String(length=80), nullable=False),
        sa.Column("report_sha256", sa.String(length=64), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("prompt_sha256", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.String(length=400), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("tested", sa.Integer(), nullable=False),
        sa.Column("supported", sa.Integer(), nullable=False),
        sa.Column("refuted", sa.Integer(), nullable=False),
        sa.Column("inconclusive", sa.Integer(), nullable=False),
        sa.Column("untested", sa.Integer(), nullable=False),
        sa.Column("cut_short", sa.String(length=80), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("score_name", sa.String(length=80), nullable=True),
        sa.Column("review_status", sa.String(length=16), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_reports_case_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_reports_job_id")),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_agent"), "reports", ["agent"], unique=False)
    op.create_index(op.f("ix_reports_finished_at"), "reports", ["finished_at"], unique=False)
    op.create_index(op.f("ix_reports_job_id"), "reports", ["job_id"], unique=False)
    op.create_index(op.f("ix_reports_model"), "reports", ["model"], unique=False)
    op.create_index(op.f("ix_reports_prompt_sha256"), "reports", ["prompt_sha256"], unique=False)
    op.create_index(op.f("ix_reports_review_status"), "reports", ["review_status"], unique=False)
    op.create_index(op.f("ix_reports_score"), "reports", ["score"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("review_id", sa.String(length=80), nullable=False),
        sa.Column("case_id", sa.String(length=80), nullable=False),
        sa.Column("report_sha256", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_reviews_case_id")),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_changed_at"), "reviews", ["changed_at"], unique=False)
    op.create_index("uq_reviews_own", "reviews", ["case_id", "reviewer"], unique=True)
    op.create_table(
        "review_acts",
        sa.Column("review_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("act_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.review_id"], name=op.f("fk_review_acts_review_id")),
        sa.PrimaryKeyConstraint("review_id", "version", name=op.f("pk_review_acts")),
    )
    op.create_index("uq_review_acts_act_id", "review_acts", ["review_id", "act_id"], unique=True)
