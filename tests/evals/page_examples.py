"""Leaderboards for tests of the page: one like those that people see, and one whose every text is an attack."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracescribe.evals.benchmark.results import CaseCost, CaseFailure, CaseResult
from tracescribe.evals.scores import Scores, ScoreValue

AGENTS = ("offline", "influence", "position", "random", "one-shot@anthropic:claude-sonnet-with-a-long-name")
FAMILIES = ("states", "countries", "indirect_objects", "addition")
METRICS = {
    "overall": ("overall", "everything that gold can score is right", True),
    "selection.auc": ("selection AUC", "every feature that matters outranks every other", True),
    "grouping.placed_b3_f1": ("placed B3 F1", "groups are gold's", True),
    "labels.exact": ("label exact", "every concept has an accepted name", True),
    "causal.false_discoveries": ("false discoveries", "no supported claim is false", False),
}
HOSTILE = "</script><img src=x onerror=\"document.title='HIT'\"><svg onload=\"document.title='HIT'\">{{7*7}}\u202e"


def value(mean: float, width: float = 0.05, n: int = 24) -> dict[str, float | int]:
    """An average as the leaderboard tells it."""
    return {"value": mean, "low": mean - width, "high": mean + width, "n_cases": n}


def example_board(
    agents: tuple[str, ...] = AGENTS, families: tuple[str, ...] = FAMILIES, suite: str = "oracle", said: str = ""
) -> dict[str, object]:
    """A leaderboard's JSON with every part filled; `said` is put behind every text that an agent or gold may write."""
    rng = np.random.default_rng(5)
    means = {agent: 0.95 - 0.17 * place for place, agent in enumerate(agents)}
    scores = {
        agent: {name: value(float(np.clip(mean + rng.normal(0, 0.03), 0, 1))) for name in METRICS}
        for agent, mean in means.items()
    }
    rows = [
        {
            "agent": agent,
            "cases_scored": 24 - place,
            "cases_failed": place,
            "cases_missing": 0,
            "failures": {"crash": place} if place else {},
            "scores": scores[agent]
            | {"labels.exact": None if place == 3 else scores[agent]["labels.exact"]}
            | {"stability.jaccard": value(0.9 - 0.1 * place), "stability.flips": None},
            "control": {
                name: value(0.5 if name == "selection.auc" else 0.12) | {"chance": 0.1, "at_chance": place != 2}
                for name in METRICS
            },
            "cost": {
                "seconds": 0.1 * 4**place,
                "seconds_total": 40.0,
                "llm_calls": 0,
                "tokens": 120000 if place == 4 else 0,
                "usd": 1.25 if place == 4 else None,
            },
            "verdicts": {"supported": 40, "refuted": 9},
            "confusion": {"supported": {"true": 40 - place, "false": place, "unknown": 2}, "refuted": {"false": 9}},
        }
        for place, agent in enumerate(agents)
    ]
    comparisons = [
        {
            "first": agents[0],
            "second": other,
            "differences": {
                name: value(means[agents[0]] - means[other] - (0.15 if name == "labels.exact" else 0), 0.08)
                | {"p_value": 0.0004 * 10**place, "p_holm": min(1.0, 0.002 * 10**place), "detectable": 0.06}
                for name in METRICS
            },
        }
        for place, other in enumerate(agents[1:])
    ]
    tasks = {
        family: {
            agent: {name: value(float(np.clip(means[agent] + rng.normal(0, 0.08), 0, 1)), 0.1, 6) for name in METRICS}
            for agent in agents
        }
        for family in families
    }
    return {
        "schema_id": "tracescribe-leaderboard/2",
        "product": "tracescribe 0.0.0" + said,
        "seeds": [0, 1],
        "settings": {"budget": {"seconds": 600, "llm_calls": None}, "control shufflings": 5, "note": "x" + said},
        "metrics": [
            {"name": name, "title": title + said, "meaning": meaning + said, "higher_is_better": up}
            for name, (title, meaning, up) in METRICS.items()
        ],
        "suites": [
            {
                "suite": suite,
                "circuits": 24,
                "main": list(METRICS),
                "agents": rows,
                "comparisons": comparisons,
                "tasks": tasks,
                "without_sensitive": {agent: {name: value(0.4) for name in METRICS} for agent in agents},
            }
        ],
    }


def example_results(
    folder: Path,
    agents: tuple[str, ...] = AGENTS,
    families: tuple[str, ...] = FAMILIES,
    suite: str = "oracle",
    said: str = "",
) -> list[CaseResult]:
    """Case results to go with it; the first case of each agent has a report and a page in the folder."""
    found: list[CaseResult] = []
    for place, agent in enumerate(agents):
        for number in range(12):
            name = f"agent-{place}/case-{number:02}.report.json"
            if number == 0:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("{}", encoding="utf-8")
                (folder / name).with_suffix(".html").write_text("<p>report", encoding="utf-8")
            failed = number == 11 and place > 0
            score = ScoreValue(value=0.05 * number + 0.1, numerator=0.05 * number + 0.1, denominator=1)
            family = families[number % len(families)]
            found.append(
                CaseResult(
                    agent=agent,
                    suite=suite,
                    gold_id=f"case-{number:02}{said}",
                    family=family,
                    specification=f"{place:02}{number:02}" * 16,
                    status="failed" if failed else "scored",
                    failure=CaseFailure(kind="crash", message="ended with status 1: boom" + said) if failed else None,
                    scores=None if failed else Scores(gold_id="x", family=family, values={"overall": score}),
                    cost=CaseCost(seconds=1.0),
                    cut_short="300 forward passes" + said if number == 1 else None,
                    report=name,
                )
            )
    return found
