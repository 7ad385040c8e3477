"""A Hugging Face causal language model in this process: no server, no key, no price.

Weights are read from safetensors alone and no code from a folder is run. Answers are greedy, so the same request gives
the same answer on the same machine. There is no schema mode: the schema stands in the system message, and an answer
that does not fit goes the way of every other.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracescribe.agents.providers.completion import Completion, CompletionRequest, Endpoint, Usage
from tracescribe.agents.providers.errors import ProviderRequestError, ProviderSetupError, ProviderTimeoutError
from tracescribe.agents.providers.sdk_client import roles_and_texts, with_schema
from tracescribe.agents.providers.transport import attempt_timeout
from tracescribe.tracer.errors import InputError

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt")
_MIN_ROOM = 1
_loading = threading.Lock()
_kept: dict[object, tuple[Any, Any, Endpoint, threading.Lock]] = {}
"""The model that was loaded last, by folder and the state of its files: an agent is opened anew for every case."""


@dataclass(eq=False)
class LocalModelClient:
    """One answer per call, one call at a time.

    Attributes:
        endpoint: the model's name, and the hash of its files in place of an address.
        timeout_seconds: for one answer.
    """

    endpoint: Endpoint
    timeout_seconds: float
    _model: Any = field(repr=False)
    _tokenizer: Any = field(repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._who = f"local model {self.endpoint.model}"

    @classmethod
    def load(cls, model: str, timeout_seconds: float) -> LocalModelClient:
        """Load a model.

        Args:
            model: a folder, or a hub id (taken from the local cache where it lies there).
            timeout_seconds: for one answer.

        Raises:
            ProviderSetupError: no such model, pickled or damaged weights, or a model that needs code of its own.
        """
        from tracescribe.tracer.fingerprints import sha256_folder
        from tracescribe.tracer.model_files import load_tokenizer, load_weights, locate, quiet_transformers

        try:
            import torch

            name, path = locate(model)
            with _loading:
                key = (name, str(path), _state_of(path))
                if key not in _kept:
                    _kept.clear()  # first, so that never two models are in memory
                    family = _family(path)
                    with quiet_transformers():
                        weights = load_weights(path, family, torch.float32, "sdpa")
                        tokenizer = load_tokenizer(path)
                    address = f"sha256:{sha256_folder(path, _FILES)}"
                    endpoint = Endpoint(provider="local", base_url=address, model=name[:200])
                    _kept[key] = weights, tokenizer, endpoint, threading.Lock()
                weights, tokenizer, endpoint, lock = _kept[key]
        except InputError as error:
            raise ProviderSetupError(f"local model: {error}") from None
        made = cls(endpoint, timeout_seconds, weights, tokenizer)
        made._lock = lock  # one answer at a time, whichever client asks
        return made

    def complete(self, request: CompletionRequest, *, seconds_left: float | None = None) -> Completion:
        """Generate one answer.

        Args:
            seconds_left: the attempt ends after so many seconds; None leaves it to the settings.

        Raises:
            ProviderRequestError: the request does not fit the model's context.
            ProviderTimeoutError: the answer took too long.
        """
        import torch

        limit = attempt_timeout(self.timeout_seconds, seconds_left)
        with self._lock:
            started = time.monotonic()
            tokens = self._encoded(request)
            room = self._context() - len(tokens)
            if room < _MIN_ROOM:
                raise ProviderRequestError(
                    f"{self._who}: a request of {len(tokens)} tokens does not fit its context of {self._context()}; "
                    "show less evidence, or take a model with a longer context"
                )
            allowed = min(request.max_tokens, room)
            with torch.inference_mode():
                out = self._model.generate(
                    input_ids=torch.tensor([tokens]),
                    attention_mask=torch.ones((1, len(tokens)), dtype=torch.long),
                    max_new_tokens=allowed,
                    max_time=limit,
                    do_sample=False,
                    num_beams=1,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    pad_token_id=self._stop_ids()[0] if self._stop_ids() else 0,
                    eos_token_id=self._stop_ids() or None,
                )
            written = out[0, len(tokens) :].tolist()
            seconds = time.monotonic() - started
        stopped = bool(written) and written[-1] in self._stop_ids()
        if not stopped and len(written) < allowed:
            raise ProviderTimeoutError(f"{self._who}: no answer within {limit:g} s")
        return Completion(
            text=self._tokenizer.decode(written, skip_special_tokens=True),
            finish="stop" if stopped else "length",
            usage=Usage(input_tokens=len(tokens), output_tokens=len(written)),
            model=self.endpoint.model,
            seconds=seconds,
        )

    def close(self) -> None:
        """Nothing to give back."""

    def _encoded(self, request: CompletionRequest) -> list[int]:
        """The conversation as tokens, by the chat template where the model has one."""
        system = with_schema(request.system, json.dumps(request.answer_schema, ensure_ascii=False))
        turns = [{"role": "system", "content": system}, *roles_and_texts(request)]
        turns = [{**turn, "content": self._without_special_tokens(turn["content"])} for turn in turns]
        if getattr(self._tokenizer, "chat_template", None):
            text = self._rendered(turns)
            return list(self._tokenizer.encode(text, add_special_tokens=False))
        text = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns) + "\n\nassistant:"
        return list(self._tokenizer.encode(text))

    def _rendered(self, turns: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except TemplateError:
            # Some templates refuse a system message; its words then open the first user message.
            first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            merged = [first, *turns[2:]]
        try:
            return str(self._tokenizer.apply_chat_template(merged, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise ProviderRequestError(f"{self._who}: its chat template refuses the conversation: {error}") from None

    def _without_special_tokens(self, text: str) -> str:
        """The text with every special token of the tokenizer broken up: quoted text must not end a turn."""
        for token in self._tokenizer.all_special_tokens:
            if len(token) > 1:
                text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def _stop_ids(self) -> list[int]:
        stops = getattr(self._model.generation_config, "eos_token_id", None)
        ids = stops if isinstance(stops, list) else [stops]
        return sorted({int(stop) for stop in (*ids, self._tokenizer.eos_token_id) if stop is not None})

    def _context(self) -> int:
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else 1 << 20


def _family(path: Path) -> str:
    """`model_type` of a folder, known to `transformers` without code from the folder.

    Raises:
        ProviderSetupError: no readable configuration, or a model that brings its own code.
    """
    from transformers import CONFIG_MAPPING

    file = path / "config.json"
    try:
        family = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise ProviderSetupError(
            f"local model: {path.name} has no readable config.json with a model_type; give a folder in Hugging Face format"
        ) from None
    if family not in CONFIG_MAPPING:
        raise ProviderSetupError(
            f"local model: architecture {str(family)[:80]!r} is not part of transformers, and code from a folder is "
            "never run; take another model"
        )
    return str(family)


def _state_of(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files: while they stay the same, so does the model."""
    found = sorted({file for pattern in _FILES for file in path.glob(pattern)})
    return tuple((file.name, (told := file.stat()).st_size, told.st_mtime_ns) for file in found)
