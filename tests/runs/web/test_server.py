"""Connections on which nothing whole comes are closed; answers may take as long as they take. TLS is real."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import threading
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from tests.runs.web.visitors import new_store
from tracescribe.runs.web import server
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.settings import WebSettings
from tracescribe.tracer.errors import InputError

T = TypeVar("T")


def _exchange(app: Any, *sent: bytes) -> list[bytes]:
    """What a server answers to each of some beginnings of a request, until it closes the connection."""

    async def visit(open_: Any) -> list[bytes]:
        answers = []
        for content in sent:
            reader, writer = await open_()
            writer.write(content)
            answers.append(await asyncio.wait_for(reader.read(), 300))
        return answers

    return _with_server(app, visit)


def _with_server(app: Any, visit: Callable[[Any], Awaitable[T]]) -> T:
    """What a visit at a server comes to; it is given what opens a connection."""

    async def run() -> T:
        config = uvicorn.Config(app, http=server.PunctualProtocol, lifespan="off", log_config=None, ws="none")
        config.load()
        state = ServerState()
        listening = await asyncio.get_running_loop().create_server(
            lambda: server.PunctualProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with listening:
            address = listening.sockets[0].getsockname()
            opened: list[asyncio.StreamWriter] = []

            async def open_() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                reader, writer = await asyncio.open_connection(*address)
                opened.append(writer)
                return reader, writer

            try:
                return await visit(open_)
            finally:
                for writer in opened:
                    writer.close()
                for writer in opened:
                    with suppress(ConnectionError):
                        await writer.wait_closed()

    return asyncio.run(run())


async def _slow(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.4)
    await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b""})


def test_heads_that_do_not_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.1)
    nothing, half, whole = _exchange(_slow, b"", b"GET / HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert nothing == b"" and half == b""
    assert whole.startswith(b"HTTP/1.1 204"), "an answer that takes longer is waited for"


def test_whoever_says_nothing_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones, and one that sends its body byte by byte."""
    monkeypatch.setattr(server, "CROWDED", 3)

    async def visit(open_: Any) -> tuple[list[bytes], bytes]:
        begun = [b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", b"GET / HT"]
        silent = [await open_() for _ in begun]
        for (_, writer), part in zip(silent, begun, strict=True):
            writer.write(part)
        await asyncio.sleep(0.05)
        answers = []
        for _ in begun:
            reader, writer = await open_()
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answers.append(await asyncio.wait_for(reader.readuntil(b"\r\n"), 300))
        with suppress(ConnectionError):
            return answers, await asyncio.wait_for(silent[0][0].read(), 300)
        return answers, b""

    answers, told = _with_server(_slow, visit)
    assert answers == [b"HTTP/1.1 204 No Content\r\n"] * 3 and told == b""


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_SECONDS", 0.1)
    ended = asyncio.Event()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(64 << 10), "more_body": True})
        ended.set()

    async def visit(open_: Any) -> bool:
        _, writer = await open_()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 300)
        return True

    assert _with_server(large, visit)


def test_what_is_no_http_is_told_as_every_error_is() -> None:
    (answer,) = _exchange(_slow, b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert json.loads(body)["error"] == "bad request" and b"nosniff" in head and b"default-src 'none'" in head


def test_it_serves_over_tls_with_the_certificate_that_it_was_given(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(certificate))
    listening = server.listen("127.0.0.1", 0)
    ready = threading.Event()
    running: list[uvicorn.Server] = []
    with new_store(tmp_path) as store:
        app = create_app(store, WebSettings(secure_cookies=True))
        seen = _remember_server(running)
        files = {"certificate": certificate, "key": key}
        thread = threading.Thread(target=server.run_server, args=(app, listening, ready.set), kwargs=files)
        thread.start()
        try:
            assert ready.wait(300)
            address = f"https://localhost:{listening.getsockname()[1]}/api/session"
            with urllib.request.urlopen(address, context=trusted, timeout=300) as answer:
                assert answer.status == 200 and "max-age" in answer.headers["Strict-Transport-Security"]
        finally:
            seen.undo()
            running[0].should_exit = True
            thread.join(300)


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    listening = server.listen("127.0.0.1", 0)
    with listening, pytest.raises(InputError, match="--ssl-certfile"):
        server.run_server(FastAPI(), listening, lambda: None, certificate=bad, key=bad)


def _remember_server(running: list[uvicorn.Server]) -> pytest.MonkeyPatch:
    patch = pytest.MonkeyPatch()
    begin = server._TellingServer.__init__

    def remembering(self: Any, *arguments: Any) -> None:
        running.append(self)
        begin(self, *arguments)

    patch.setattr(server._TellingServer, "__init__", remembering)
    return patch


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
