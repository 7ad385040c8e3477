"""A language-model server for tests: real HTTP on loopback, three wire formats, scripted to behave well or badly.

Only the model is fake. Requests come from the official SDKs, and replies have the shape that the real services send,
whole or as a stream of server-sent events.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests.agents.fake_bodies import PIECES, events, wire_body

Wire = Literal["openai", "openai-responses", "anthropic"]


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
        delay: seconds before anything is sent, or until the server stops.
        drop: close the connection in the middle of the body, or of the stream.
        raw: send this body instead.
        fault: of a stream: after the first piece, an event that tells of a fault of this kind.
        usage: tokens read and written that the server bills; None leaves them out.
        trickle: seconds between two pieces of the body.
        trickle_head: headers sent one by one before the body, with `trickle` seconds between them.
    """

    text: str = ""
    finish: Literal["stop", "length", "refusal"] = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    raw: bytes | None = None
    fault: str = ""
    usage: tuple[Any, Any] | None = (120, 30)
    trickle: float = 0.0
    trickle_head: int = 0


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
    """The server, its address and what it was asked.

    Attributes:
        script: what it answers.
        models: names that `GET /v1/models` lists.
        models_raw: sent in place of the list.
        questions: every request so far.
        sent: requests by idempotency key.
    """

    def __init__(self, script: Script, models: tuple[str, ...] = ("fake-1",)) -> None:
        self.script = script
        self.models = models
        self.models_raw: bytes | None = None
        self.questions: list[Question] = []
        self.sent: Counter[str] = Counter()
        self.faults: list[Exception] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.handle(self)

            def do_GET(self) -> None:
                server.list_models(self)

            def handle(self) -> None:
                with contextlib.suppress(ConnectionResetError):  # a client that gave up before it read all
                    super().handle()

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
        return self.address if wire == "anthropic" else f"{self.address}/v1"

    @property
    def calls(self) -> int:
        """Requests for an answer so far."""
        return len(self.questions)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._ending.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=300)
        if self.faults:
            raise self.faults[0]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request by the script."""
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        headers = {name.lower(): value for name, value in request.headers.items()}
        question = _question(request.path, headers, body)
        with self._lock:
            self.questions.append(question)
            self.sent[headers.get("idempotency-key", "")] += 1
        try:
            reply = self.script(question)
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            self.faults.append(error)
            reply = Reply(status=400, text="the script of this test failed")
        if reply.delay:
            self._ending.wait(reply.delay)
        if reply.raw is not None:
            _send(request, reply, reply.raw, "text/html" if reply.raw.startswith(b"<") else "application/json")
        elif reply.status == 200 and body.get("stream"):
            _send(request, reply, b"".join(events(question, reply)), "text/event-stream")
        else:
            _send(request, reply, json.dumps(wire_body(question, reply)).encode(), "application/json")

    def list_models(self, request: BaseHTTPRequestHandler) -> None:
        """Answer `GET /v1/models`."""
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        listed = json.dumps({"object": "list", "data": data}).encode()
        _send(request, Reply(), listed if self.models_raw is None else self.models_raw, "application/json")


def _send(request: BaseHTTPRequestHandler, reply: Reply, content: bytes, kind: str) -> None:
    try:
        request.send_response(reply.status)
        for name, value in {"content-type": kind, **reply.headers}.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(content)))
        for number in range(reply.trickle_head):
            request.send_header(f"x-slow-{number}", "1")
            request.flush_headers()
            time.sleep(reply.trickle)
        request.end_headers()
        if reply.drop:
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            request.close_connection = True
            return
        size = max(1, -(-len(content) // PIECES)) if reply.trickle else max(1, len(content))
        for start in range(0, len(content), size):
            request.wfile.write(content[start : start + size])
            request.wfile.flush()
            time.sleep(reply.trickle)
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
    if path.endswith("/responses"):
        name = body.get("text", {}).get("format", {}).get("name", "")
        return Question("openai-responses", path, headers, body, body["instructions"], _texts(body["input"]), name)
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
