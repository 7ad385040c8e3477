"""A tiny Hugging Face model behind OpenAI's wire format: real tokens from real (random) weights, over real HTTP.

It answers rubbish, greedily and always the same. So it shows that everything runs from end to end, whatever the quality.
"""

from __future__ import annotations

import json
import string
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

MODEL_NAME = "tiny-random"
_CONTEXT = 192
"""Tokens of a request that the server keeps, the last ones, as servers with a short context do."""
_LONGEST = 16
"""Tokens that the server writes at most, whatever is asked for."""
_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make_tiny_model(folder: Path, *, context: int = 8192, seed: int = 0, chat_template: bool = True) -> Path:
    """Write a causal language model with random weights and a byte-level tokenizer, in Hugging Face format.

    Args:
        folder: to be made; its name is the model's.
        context: `max_position_embeddings`.
        chat_template: whether the tokenizer has one.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([string.ascii_lowercase, "the answer is one JSON object"], trainer)
    fast = cast(Any, PreTrainedTokenizerFast)(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": _SPECIAL[2:]})
    if chat_template:
        fast.chat_template = _TEMPLATE
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    torch.random.set_rng_state(state)
    model.save_pretrained(folder, safe_serialization=True)
    fast.save_pretrained(folder)
    return folder


class HfServer:
    """The server, its address and how often it was asked."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model: Any = cast(Any, AutoModelForCausalLM).from_pretrained(folder, local_files_only=True).eval()
        self.tokenizer: Any = cast(Any, AutoTokenizer).from_pretrained(folder, local_files_only=True)
        self.calls = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.reply(self, {"object": "list", "data": [{"id": MODEL_NAME, "object": "model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.reply(self, server.completion(body))

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL, as `--agent openai-compatible:URL` takes it."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A chat completion: the model's likeliest tokens."""
        import torch

        text = self.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        tokens = self.tokenizer.encode(text, add_special_tokens=False)[-_CONTEXT:]
        limit = min(_LONGEST, body.get("max_tokens") or body.get("max_completion_tokens") or _LONGEST)
        with self._lock, torch.inference_mode():
            self.calls += 1
            out = self.model.generate(
                input_ids=torch.tensor([tokens]),
                attention_mask=torch.ones((1, len(tokens)), dtype=torch.long),
                max_new_tokens=limit,
                do_sample=False,
            )
        written = out[0, len(tokens) :].tolist()
        stopped = written[-1] == self.tokenizer.eos_token_id
        # The server's own limit is no truncation: a model that is done says so, and rubbish is never done.
        finish = "stop" if stopped or limit == _LONGEST else "length"
        message = {"role": "assistant", "content": self.tokenizer.decode(written, skip_special_tokens=True)}
        usage = {"prompt_tokens": len(tokens), "completion_tokens": len(written)}
        return {
            "id": f"chatcmpl-{self.calls}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {**usage, "total_tokens": sum(usage.values())},
        }

    def reply(self, request: BaseHTTPRequestHandler, body: Mapping[str, Any]) -> None:
        """Send one JSON body."""
        content = json.dumps(body).encode()
        request.send_response(200)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=300)


@contextmanager
def serving_hf(folder: Path) -> Iterator[HfServer]:
    """A running server of the model in `folder` (see `make_tiny_model`) for the length of a `with` block."""
    server = HfServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
