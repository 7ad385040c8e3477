"""The model card in words: the same figures as the JSON card, with what they mean and what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracescribe.tracer.embedded.training.card import Card, InterchangeFigures, ReconstructionFigures

_TASK_WORDS = {
    "states": "two-hop questions about US states (city -> state -> capital, bird, ...)",
    "countries": "two-hop questions about countries (city -> country -> currency, language, ...)",
    "antonyms": "antonyms and translation in English, French and Spanish",
    "addition": "sums of two numbers up to 15, as digits and as words",
    "indirect_objects": "who is given something (the name that is not repeated)",
    "people": "the sport of a known athlete, `unknown` for anybody else",
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _accuracy(card: Card) -> str:
    rows = [
        (
            _TASK_WORDS[task],
            _number(figures.train),
            _number(figures.held_out),
            "–" if figures.strict_cities is None else f"{_number(figures.strict_cities)} (of {figures.strict_samples})",
            str(figures.samples),
        )
        for task, figures in card.accuracy.items()
    ]
    return _table(("task", "train", "held-out", "cities never seen in a two-hop question", "prompts each"), rows)


def _reconstruction(figures: ReconstructionFigures) -> str:
    layers = [
        (f"layer {layer}", _number(figures.fvu[layer]), _number(figures.l0[layer], 2), _number(figures.dead[layer], 2))
        for layer in range(len(figures.fvu))
    ]
    modes = [
        (name, _number(r.kl, 4), _number(r.top1), _number(r.answer_kl, 4), _number(r.answer_top1, 4))
        for name, r in (("live", figures.live), ("frozen attention and norms", figures.frozen))
    ]
    return "\n\n".join(
        [
            _table(("", "variance unexplained", "active features a word", "dead share"), layers),
            _table(("replacement", "KL, all words", "top-1, all words", "KL at answers", "top-1 at answers"), modes),
        ]
    )


def _interchange(card: Card) -> str:
    def row(name: str, figures: InterchangeFigures) -> tuple[str, ...]:
        return (
            name,
            _number(figures.group_f1, 1),
            str(figures.pairs),
            f"{figures.cleared:.1f} / {figures.brought:.1f}",
            _number(figures.swap),
            _number(figures.control),
            f"{_number(figures.swap_lost)} / {_number(figures.control_lost)}",
        )

    head = ("variable", "F1 at least", "pairs", "features cleared / brought", "donor's answer", "matched random groups")
    rows = [row(name, figures) for name, tests in card.interchange.items() for figures in tests]
    return _table((*head, "old answer gone: swap / random"), rows)


def _features(card: Card) -> str:
    f = card.features
    return f"""{f.live} of {f.total} features are live. {f.tested} of them stand for a latent that occurs often enough in
held-out text to be tested there; of these, on held-out text:

- {f.held_out_auc95_and_f1_70:.1%} match one latent with AUC >= .95 and F1 >= .7 at once;
- {f.held_out_auc95:.1%} with AUC >= .95; {f.held_out_f1_60:.1%} with F1 >= .6.

On the text on which the match was chosen, over all live features: AUC >= .95 {f.choice_auc95:.1%}, F1 >= .6
{f.choice_f1_60:.1%}, F1 >= .8 {f.choice_f1_80:.1%}. The match uses the latents of the corpus; an agent has to find it
without them."""


def render_card(card: Card) -> str:
    """The card as Markdown."""
    missed = ", ".join(f"{name} {value:.3f}" for name, value in card.code_energy_missed.items())
    elsewhere = ", ".join(f"{value:.3f}" for value in card.output_energy_elsewhere)
    return f"""# Model card: the embedded model

{card.statement}

A Llama-configured transformer of {card.layers} layers and width {card.width}, {card.parameters / 1e6:.2f} million
parameters, {card.vocabulary} words; and a cross-layer transcoder of {"/".join(map(str, card.transcoder_sizes))}
features, trained without any knowledge of the latent variables. {(card.bytes_model + card.bytes_transcoder) / 1e6:.1f}
MB together. It exists to be interpreted: it knows nothing of the world beyond the tables that its corpus was generated
from, and is of no other use.

Every figure below is computed from the weights by `tracescribe models check`, on samples whose seeds neither training
nor the choice of labels used. The world is finite: single training sentences can coincide with tested ones, held-out
combinations never do. One thing to know about `held-out`: the interventions of the training draw values without regard
to the split, so the model has met the *codes* of a held-out operand pair together, though never its words. The
transcoder has met neither.

## Accuracy

{_accuracy(card)}

## How closely it implements the causal model

Share of a code's squared length that the MLP output misses at its home, on held-out prompts: {missed}.
Squared MLP output at all other words, in the same unit, layer by layer: {elsewhere}.

## The transcoder as a stand-in for the MLPs

Sentences of both splits ({card.reconstruction["any"].samples}):

{_reconstruction(card.reconstruction["any"])}

Held-out sentences only ({card.reconstruction["held_out"].samples}):

{_reconstruction(card.reconstruction["held_out"])}

## What features stand for

{_features(card)}

## Interchange: swapping only one latent's features

In a prompt, the features of one value are cleared and those of a donor prompt's value are set to the donor's
activations; everything stays live. `Donor's answer`: the answer that the causal model then asks for comes out. Control:
as many random features of the same layers, of similar size, at the same words.

{_interchange(card)}

## Hard cases, kept on purpose

- **Sum.** A feature has one linear encoder and a threshold, and the sum of two numbers is not a linear function of their
  codes: the MLP computes it with its gates, a feature looks it up by operand pairs. On training pairs that is exact.
  On held-out pairs it must fail where an operand has no other pair with that sum in training: a doubled number
  (2 + 2), or a pair held out in both orders. The replacement's held-out addition is therefore the weakest figure here.
- **Repeated name.** The name acts by telling a later attention head where *not* to look. Its feature can be swapped, but
  the edge into the answer runs through attention patterns, which a graph with frozen attention cannot show.
"""
