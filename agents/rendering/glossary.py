"""The words of the field, each in a sentence or two, for readers who never met them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word with its meaning; `anchor` is its place on the page."""

    anchor: str
    word: str
    meaning: str


GLOSSARY: tuple[Term, ...] = (
    Term(
        "term-token",
        "Token",
        "A piece of text that the model reads or writes at once: here mostly a word.",
    ),
    Term(
        "term-layer",
        "Layer",
        "One of the stages through which a model passes every token, from its input up to its output.",
    ),
    Term(
        "term-feature",
        "Feature",
        "A pattern that the transcoder finds in the model's inner state, meant to stand for one thing. Where the pattern "
        "is present the feature fires, with a strength called its activation.",
    ),
    Term(
        "term-transcoder",
        "Transcoder",
        "A second, readable network that imitates a part of the model (its MLP layers) by features of which few fire at "
        "a time. What it fails to imitate is kept as an error.",
    ),
    Term(
        "term-graph",
        "Attribution graph",
        "For one prompt: which tokens and features feed which others, and how strongly, up to the answer.",
    ),
    Term(
        "term-supernode",
        "Step (supernode)",
        "Features that play one role in this prompt, drawn as one box. Its label is a hypothesis until it is tested.",
    ),
    Term(
        "term-influence",
        "Influence",
        "The share of everything that flows into the answer along the graph that passes through a step.",
    ),
    Term("term-claim", "Claim", "A statement that says, before any test, what must be observed for it to be true."),
    Term("term-ablation", "Ablation", "Setting features to zero, to see what no longer works without them."),
    Term(
        "term-swap",
        "Swap",
        "Clearing a step and putting in its place the matching features of another prompt, to see whether the answer "
        "follows.",
    ),
    Term(
        "term-control",
        "Control",
        "The same experiment on random features of the same layers, at the same positions and of the same strength. An "
        "effect counts only if such random features rarely reach it.",
    ),
    Term(
        "term-p-value",
        "p value",
        "How often chance alone does as much: the place of the tested effect among its controls, as a share. With 199 "
        "controls the smallest possible value is .005.",
    ),
    Term(
        "term-q-value",
        "q value",
        "The p value corrected for the number of claims in the report (Benjamini–Hochberg), because among many tests "
        "some succeed by luck.",
    ),
    Term(
        "term-interval",
        "Interval",
        "The range in which a value lies with the stated confidence, were the experiment repeated with other random "
        "draws. “Beyond controls” is the interval of the effect less what controls do on average: the effect itself is "
        "measured once and has no error, so it lies above that range where controls do something too.",
    ),
    Term(
        "term-completeness",
        "Completeness and replacement",
        "How much of the graph is told by features rather than errors: completeness asks it of every node, replacement "
        "of whole paths from the prompt to the answer. Both run from 0 to 1.",
    ),
)
