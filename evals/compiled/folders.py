"""Files of a compiled program: model, tokenizer, transcoders, corpus."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from tracescribe.evals.compiled.programs.common import Program
from tracescribe.evals.compiled.weights import Compiled
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_bytes_atomic, write_text_atomic

MODEL, TRANSCODERS, EVIDENCE, CORPUS, GOLD = "model", "transcoders", "evidence", "corpus.txt", "gold.json"
_HOOKS = "feature_input_hook: mlp.hook_in\nfeature_output_hook: mlp.hook_out\nactivation: relu\n"
_SHUFFLED = 0.2
"""Share of corpus sentences whose words stand in any order: words are then seen outside the places that a template gives them."""


def write_weights(folder: Path, program: Program, compiled: Compiled) -> None:
    """Write the model as `transformers` saves it, and the transcoders in circuit-tracer's format.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from safetensors.numpy import save

    model, transcoders = folder / MODEL, folder / TRANSCODERS
    write_text_atomic(model / "config.json", json.dumps(compiled.config, indent=1, sort_keys=True) + "\n")
    write_bytes_atomic(model / "model.safetensors", save(compiled.model, metadata={"format": "pt"}))
    _write_tokenizer(model, compiled.words)
    kind = "cross_layer_transcoder" if program.cross_layer else "transcoder_set"
    write_text_atomic(transcoders / "config.yaml", f"model_name: {MODEL}\nmodel_kind: {kind}\n{_HOOKS}")
    rows = zip(compiled.encoders, compiled.encoder_biases, compiled.decoders, strict=True)
    for layer, (encoder, bias, decoder) in enumerate(rows):
        nothing = np.zeros(encoder.shape[1], dtype=np.float32)
        if program.cross_layer:
            arrays = {f"W_enc_{layer}": encoder, f"b_enc_{layer}": bias, f"b_dec_{layer}": nothing}
            write_bytes_atomic(transcoders / f"W_enc_{layer}.safetensors", save(arrays))
            write_bytes_atomic(transcoders / f"W_dec_{layer}.safetensors", save({f"W_dec_{layer}": decoder}))
        else:
            own = np.ascontiguousarray(decoder[:, 0])
            arrays = {"W_enc": encoder, "b_enc": bias, "W_dec": own, "b_dec": nothing}
            write_bytes_atomic(transcoders / f"layer_{layer}.safetensors", save(arrays))


def _write_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """A word-level tokenizer that splits at white space and puts `<bos>` in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", ids["<bos>"])]
    )
    fast: Any = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>", unk_token="<unk>", eos_token="."
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tokenizer.") as temporary:
            fast.save_pretrained(temporary)
            for path in sorted(Path(temporary).iterdir()):
                write_bytes_atomic(folder / path.name, path.read_bytes())
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error}; choose a folder that you can write to") from error


def corpus_sentences(program: Program, rng: random.Random, count: int) -> tuple[str, ...]:
    """Sentences of a program with their answers, for the evidence: distinct, and some with their words shuffled."""
    found: dict[str, None] = {}
    for _ in range(20 * count):
        if len(found) >= count:
            break
        slots = program.draw(rng)
        words = [*program.sentence(slots), program.answer(slots)]
        if rng.random() < _SHUFFLED:
            rng.shuffle(words)
        found[" ".join(words)] = None
    return tuple(found)


def write_corpus(folder: Path, sentences: Sequence[str]) -> None:
    """One sentence a line.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_text_atomic(folder / CORPUS, "\n".join(sentences) + "\n")
