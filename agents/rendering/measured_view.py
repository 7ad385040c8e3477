"""What an experiment measured besides its effect: tokens before and after, doses, and other wordings of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracescribe.agents.findings import (
    BEYOND_CONTROLS,
    DecisionRule,
    ExperimentPlan,
    Interval,
    Measurement,
    TokenChange,
)
from tracescribe.agents.rendering import numbers
from tracescribe.agents.rendering.claim_words import metric_words
from tracescribe.agents.rendering.rows import Row
from tracescribe.agents.rendering.visible_text import visible_text, visible_token

MODES: Mapping[str, str] = {
    "open": "open: everything downstream reacts",
    "constrained": "constrained: chosen layers are held as they were",
    "direct": "direct: everything else is held as it was",
    "none": "none: features are only observed",
}


def plan_rows(plan: ExperimentPlan, entries: Mapping[str, tuple[int, str]]) -> tuple[Row, ...]:
    """An experiment as it was fixed before it ran, and where the log holds it.

    Args:
        plan: of the experiment.
        entries: place and content hash of the claim's entries in the log, by event.
    """
    mode = MODES[plan.mode]
    if plan.mode != "none":
        mode += "; attention held" if plan.freeze_attention else "; attention recomputed"
    controls = numbers.counted(plan.controls.n, "random set")
    if plan.controls.matched_on:
        controls += ", matched on " + ", ".join(visible_text(item) for item in plan.controls.matched_on)
    rows = [Row("hypothesis", visible_text(plan.hypothesis))] if plan.hypothesis else []
    rows += [Row("measured", metric_words(visible_text(plan.metric))), Row("mode", mode), Row("controls", controls)]
    rows += _rule_rows(plan.rule, plan.alpha)
    riders = plan.intervention.get("riders")
    if isinstance(riders, (list, tuple)) and riders:
        rows.append(Row("removed and not replaced", f"{numbers.counted(len(riders), 'member')}: may ride along"))
    if plan.doses:
        rows.append(Row("doses besides", ", ".join(f"×{numbers.number(dose)}" for dose in plan.doses)))
    if plan.paraphrases:
        rows.append(Row("other wordings", numbers.count(len(plan.paraphrases))))
    rows += [
        Row("seed", str(plan.seed)),
        Row("seed of the controls", str(plan.controls.seed)),
        Row("hash of the controls", numbers.short_hash(plan.controls.sha256)),
        Row("hash of the claim", numbers.short_hash(plan.claim_sha256)),
    ]
    rows += [
        Row(f"{event} in the log", f"entry {place}, hash {numbers.short_hash(sha256)}")
        for event, (place, sha256) in entries.items()
    ]
    return tuple(rows)


def _rule_rows(rule: DecisionRule | None, alpha: float) -> list[Row]:
    level = Row("level", f"q at most {numbers.p_value(alpha)}")
    if rule is None:
        return [level]
    text = (
        f"{visible_text(rule.name)}: supported from {numbers.number(rule.threshold)} on, with {rule.min_controls} controls "
        f"or more; refuted below {numbers.number(rule.refuted_below)}"
    )
    if rule.min_dose_trend is not None:
        text += f"; dose and effect must rise together (rank correlation {numbers.number(rule.min_dose_trend)} or more)"
    if rule.interval_above is not None:
        text += f"; its whole interval must lie above {numbers.number(rule.interval_above)}"
    return [Row("decision rule", text), level]


def change_words(change: TokenChange) -> Row:
    """A token's probability, logit and rank, before and after."""
    arrow = " → "
    return Row(
        f"“{visible_token(change.token)}”",
        "; ".join(
            (
                numbers.percent(change.probability_before) + arrow + numbers.percent(change.probability_after),
                "logit " + numbers.number(change.logit_before) + arrow + numbers.number(change.logit_after),
                f"rank {numbers.count(change.rank_before)}{arrow}{numbers.count(change.rank_after)}",
            )
        ),
    )


def interval_name(interval: Interval | None) -> str:
    """What a claim's interval is of: the effect less what controls do, or the effect itself."""
    return "beyond controls" if interval is not None and interval.method == BEYOND_CONTROLS else "interval"


def detail_rows(measurement: Measurement | None, interval: Interval | None) -> tuple[Row, ...]:
    """Further measured numbers, how the interval was made, and why there is no measurement."""
    if measurement is None:
        return ()
    rows = [
        Row(
            visible_text(name).replace("_", " "),
            visible_text(value) if isinstance(value, str) else numbers.number(value),
        )
        for name, value in measurement.details.items()
    ]
    if interval is not None:
        rows.append(Row(interval_name(interval), f"{interval.level:.0%}, {visible_text(interval.method)}"))
    if measurement.failure:
        rows.append(Row("failed", visible_text(measurement.failure)))
    return tuple(rows)


def wordings_words(measurement: Measurement | None, amount: Callable[[float], str]) -> str:
    """The effect over other wordings in one line; empty where none was tried."""
    if measurement is None or not measurement.paraphrases:
        return ""
    applied = [item.effect for item in measurement.paraphrases if item.effect is not None]
    told = f"{len(applied)} of {len(measurement.paraphrases)} apply"
    if measurement.paraphrase_interval is not None:
        low, high = measurement.paraphrase_interval.low, measurement.paraphrase_interval.high
        return (
            f"mean {numbers.between(amount(low), amount(high))} ({measurement.paraphrase_interval.level:.0%}); {told}"
        )
    return told


def wording_rows(measurement: Measurement | None, measure: Callable[[float], str]) -> tuple[Row, ...]:
    """The effect in every other wording, or why there is none."""
    if measurement is None:
        return ()
    return tuple(
        Row(
            visible_text(item.prompt),
            measure(item.effect) if item.effect is not None else f"does not apply: {visible_text(item.why)}",
        )
        for item in measurement.paraphrases
    )
