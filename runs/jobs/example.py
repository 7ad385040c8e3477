"""A job's file to begin with."""

from __future__ import annotations

from pathlib import Path

from tracescribe.runs.workspace import prepare_file
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_text_atomic

EXAMPLE = """\
# A batch of interpretations. Check it with 'tracescribe jobs validate', start it with 'tracescribe jobs run'.
# Everything but 'prompts' may be left out; docs/batch.md tells every field.

prompts:                  # exactly one source: inline, file, dataset, graphs or gold
  inline:
    - the capital of the state containing Dallas is
    - the capital of the state containing Seattle is
  # file: prompts.txt     # a prompt a line; or .jsonl, .csv, .parquet with a field 'prompt'
  # gold: oracle          # prompts whose circuit is known, so that reports are scored

weights:
  model: embedded         # or a folder, or the id of a model on the Hugging Face hub
  transcoders: embedded   # or a folder

agent:
  spec: offline           # or openai:MODEL, anthropic:MODEL, openai-compatible:URL#MODEL, local:FOLDER, exec:PROGRAM
  # style: pipeline       # of a language model: pipeline, one-shot or investigator

budget:
  case:
    experiments: 20       # most claims to test; also forward_passes, seconds, llm_calls, tokens, usd
    # usd: 0.05           # needed where the job has a limit
  # job:
  #   usd: 5.00           # hard: a case begins only if its own limit still fits

seeds: [0]                # every prompt is interpreted once with each

# scoring:
#   gold: oracle          # or a gold file or folder
# executor:
#   kind: local           # or ray
#   workers: 2            # without it: one a core
# output:
#   folder: results       # summary and table are written there when the job is done
#   export: true          # every report too
"""


def write_example(file: Path) -> Path:
    """Write the example to a new file.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    path = prepare_file(file)
    if path.exists():
        raise OutputError(f"{path} is there already; give another name")
    write_text_atomic(path, EXAMPLE)
    return path
