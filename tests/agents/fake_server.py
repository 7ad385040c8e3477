"""A language-model server for tests: real HTTP on loopback, both wire formats, scripted to behave well or badly.

Only the model is fake. Requests come from the official SDKs, and replies have the shape that the real services send.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Wire = Literal["openai", "anthropic"]


@dataclass(frozen=True)
class Question:
    """One request as the server saw it.

    Attributes:
        system, user: the system message, and the *first* user message.
        turns: texts of all messages but the system message.
        schema_name: of the answer that is asked for; empty where the request names none.
    """

    wire: Wire
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    system: str
    turns: tuple[str, ...]
    schema_name: str

    @property
    def user(self) -> str:
        """The first user message."""
        return self.turns[0]


@dataclass(frozen=True)
class Reply:
    """What the server does: an answer's text, or an HTTP status, or worse.

    Attributes:
        text: the model's words.
        finish: how the answer ended.
        status: HTTP status; other than 200, `text` is the error message.
        headers: extra response headers.
        delay: seconds before anything is sent.
        drop: close the connection in the middle of the body.
        raw: send this body instead, with status 200.
    """

    text: str = ""
    finish: Literal["stop", "length", "refusal"] = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    raw: bytes | None = None


Script = Callable[[Question], Reply]
INPUT_TOKENS, OUTPUT_TOKENS = 120, 30


def good(answer: object) -> Reply:
    """A well-formed answer."""
    return Reply(text=json.dumps(answer))


def in_turn(replies: Iterable[Reply], then: Script | None = None) -> Script:
    """The replies one after another; afterwards `then`, or an error if there is none."""
    waiting = list(replies)
    lock = threading.Lock()

    def script(question: Question) -> Reply:
        with lock:
            if waiting:
                return waiting.pop(0)
        if then is None:
            return Reply(status=400, text="the script has ended")
        return then(question)

    return script


class FakeServer:
    """The server, its address and what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.questions: list[Question] = []
        self.faults: list[Exception] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def url(self, wire: Wire) -> str:
        """The base URL that an SDK of this wire format wants."""
        return f"{self.address}/v1" if wire == "openai" else self.address

    @property
    def calls(self) -> int:
        """Requests so far."""
        return len(self.questions)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)
        if self.faults:
            raise self.faults[0]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request by the script."""
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        headers = {name.lower(): value for name, value in request.headers.items()}
        question = _question(request.path, headers, body)
        with self._lock:
            self.questions.append(question)
        try:
            reply = self.script(question)
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            self.faults.append(error)
            reply = Reply(status=400, text="the script of this test failed")
        if reply.delay:
            time.sleep(reply.delay)
        content = reply.raw if reply.raw is not None else json.dumps(_wire_body(question, reply)).encode()
        try:
            request.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                request.send_header(name, value)
            request.send_header("content-length", str(len(content)))
            request.end_headers()
            if reply.drop:
                request.wfile.write(content[: len(content) // 2])
                request.wfile.flush()
                request.close_connection = True
                return
            request.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True  # The client gave up waiting, which is what a slow reply is for.


@contextmanager
def serving(script: Script) -> Iterator[FakeServer]:
    """A running server for the length of a `with` block."""
    server = FakeServer(script)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _question(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Question:
    messages = list(body["messages"])
    if path.endswith("/chat/completions"):
        system = messages.pop(0)["content"]
        shape = body.get("response_format", {})
        name = shape.get("json_schema", {}).get("name", "")
        return Question("openai", path, headers, body, system, _texts(messages), name)
    name = body["tools"][0]["name"] if "tools" in body else ""
    return Question("anthropic", path, headers, body, body["system"], _texts(messages), name)


def _texts(messages: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(message["content"]) for message in messages)


def _wire_body(question: Question, reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        error = {"type": "fake_error", "message": reply.text, "param": None, "code": None}
        return {"error": error} if question.wire == "openai" else {"type": "error", "error": error}
    return _openai_body(question, reply) if question.wire == "openai" else _anthropic_body(question, reply)


def _openai_body(question: Question, reply: Reply) -> dict[str, Any]:
    refused = reply.finish == "refusal"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": question.body["model"],
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if refused else reply.text,
                    "refusal": reply.text if refused else None,
                },
                "finish_reason": "length" if reply.finish == "length" else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    }


def _anthropic_body(question: Question, reply: Reply) -> dict[str, Any]:
    by_tool = "tools" in question.body and reply.finish == "stop" and reply.text
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    if by_tool:
        content = [{"type": "tool_use", "id": "toolu_1", "name": question.schema_name, "input": json.loads(reply.text)}]
    stop = {"stop": "tool_use" if by_tool else "end_turn", "length": "max_tokens", "refusal": "refusal"}[reply.finish]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": question.body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }
