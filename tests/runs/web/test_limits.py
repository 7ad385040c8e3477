"""How often, how slowly and how much: buckets that fill again, openings that are logged once, settings that hold together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.runs.store.rows import add_case, add_worker, finish
from tests.runs.web.visitors import new_store
from tracescribe.runs.access.errors import AccessDeniedError
from tracescribe.runs.access.roles import Principal
from tracescribe.runs.audit.looking import Wanted, find_entries
from tracescribe.runs.serving import ServeOptions, is_loopback, told_host, web_settings
from tracescribe.runs.store.artefacts import Artefact
from tracescribe.runs.store.errors import ArtefactDamagedError
from tracescribe.runs.web.body_limit import MAX_HEAD_BYTES, SizesLimited
from tracescribe.runs.web.context import WebContext
from tracescribe.runs.web.errors import Refusal
from tracescribe.runs.web.opened import LASTS, MAX_OPENED, OpenedMemory
from tracescribe.runs.web.rate import MAX_BUCKETS, RateLimits, RequestsLimited
from tracescribe.runs.web.settings import LOOPBACK_HOSTS, WebSettings
from tracescribe.tracer.errors import SettingError

REVIEWER = Principal("token:rosa", "reviewer", "t")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    limits = RateLimits(WebSettings(live_per_minute=6), clock)
    for _ in range(6):
        limits.take("live", "a")
    with pytest.raises(Refusal) as refused:
        limits.take("live", "a")
    assert refused.value.status == 429 and refused.value.headers["Retry-After"] == "10"
    limits.take("live", "b")  # others have their own
    clock.now += 9.9
    with pytest.raises(Refusal):
        limits.take("live", "a")
    clock.now += 0.2
    limits.take("live", "a")
    with pytest.raises(Refusal):
        limits.ask("live", "a")


def test_a_flood_of_strangers_takes_no_memory() -> None:
    limits = RateLimits(WebSettings())
    for number in range(MAX_BUCKETS + 50):
        limits.take("log-in", f"address:{number}")
    assert len(limits._buckets["log-in"]) == MAX_BUCKETS


@pytest.mark.parametrize("log_in", [True, False])
def test_one_visitor_of_a_team_cannot_take_the_whole_server(log_in: bool) -> None:
    """Alone at a machine nobody is held up."""
    served = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["client"][0])

    settings = WebSettings(log_in=log_in)
    limited: Any = RequestsLimited(app, RateLimits(settings, Clock()), settings)

    def ask(address: str) -> None:
        asyncio.run(limited({"type": "http", "client": (address, 1), "headers": [], "state": {}}, None, None))

    for _ in range(600):
        ask("192.0.2.1")
    if log_in:
        with pytest.raises(Refusal):
            ask("192.0.2.1")
    else:
        ask("192.0.2.1")
    ask("192.0.2.2")
    assert served[-1] == "192.0.2.2" and len(served) == (601 if log_in else 602)


def test_an_opening_is_logged_once_and_checked_each_time(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        add_worker(store, "w1")
        add_case(store, "c1", worker_id="w1")
        finish(store, "c1", Artefact("report.json", "report", b'{"report": 1}'))
        context = WebContext.of(store, WebSettings())
        clock = Clock()
        context = WebContext(store, context.settings, context.limits, OpenedMemory(clock))

        def logged() -> int:
            return len(find_entries(store, Wanted(acts=("report opened",))))

        assert {context.open(REVIEWER, "c1") for _ in range(5)} == {b'{"report": 1}'}
        assert logged() == 1
        context.open(Principal("token:rolf", "reviewer", "u"), "c1")
        assert logged() == 2, "each visitor has an entry"
        clock.now += LASTS + 1
        context.open(REVIEWER, "c1")
        assert logged() == 3
        with pytest.raises(AccessDeniedError):  # who lost the role is refused, whatever they opened before
            context.open(Principal("token:rosa", "viewer", "t"), "c1")
        file = next(path for path in (tmp_path / "store" / "artefacts").rglob("*") if path.is_file())
        file.chmod(0o644)
        file.write_bytes(b'{"report": 2}')
        with pytest.raises(ArtefactDamagedError):
            context.open(REVIEWER, "c1")


def test_the_memory_of_openings_is_bounded() -> None:
    memory = OpenedMemory()
    for number in range(MAX_OPENED + 10):
        memory.add("a", str(number), "report.json")
    assert not memory.has("a", "0", "report.json") and memory.has("a", str(MAX_OPENED + 9), "report.json")


def test_a_body_that_does_not_come_is_given_up() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        raise AssertionError(f"answered {message}")

    scope = {"type": "http", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [], "method": "POST"}
    with pytest.raises(Refusal) as refused:
        asyncio.run(SizesLimited(app, 1000, part_seconds=0.05)(scope, receive, send))
    assert refused.value.status == 408


@pytest.mark.parametrize("headers", [[(b"cookie", b"x" * MAX_HEAD_BYTES)], [(b"x-a", b"")] * (MAX_HEAD_BYTES // 7 + 1)])
def test_a_head_that_comes_at_once_is_limited_too(headers: list[tuple[bytes, bytes]]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("handed on")

    scope = {"type": "http", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers, "method": "GET"}
    limited: Any = SizesLimited(app, 1000)
    with pytest.raises(Refusal) as refused:
        asyncio.run(limited(scope, None, None))
    assert refused.value.status == 431


def test_a_body_with_two_lengths_is_refused() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("handed on")

    headers = [(b"content-length", b"4"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers, "method": "POST"}
    limited: Any = SizesLimited(app, 1000)
    with pytest.raises(Refusal) as refused:
        asyncio.run(limited(scope, None, None))
    assert refused.value.status == 400 and refused.value.headers == {"Connection": "close"}


@pytest.mark.parametrize(
    ("options", "log_in"),
    [
        (ServeOptions(), False),
        (ServeOptions(host="localhost"), False),
        (ServeOptions(host="::1"), False),
        (ServeOptions(log_in=True), True),
        (ServeOptions(host="0.0.0.0"), True),
        (ServeOptions(host="::"), True),
        (ServeOptions(host="192.0.2.7"), True),
        (ServeOptions(host="reviews.example"), True),
        (ServeOptions(behind_proxy=True), True),
        (ServeOptions(allowed_hosts=("reviews.example",)), True),
        (ServeOptions(allowed_hosts=("localhost",)), False),
    ],
)
def test_whoever_can_be_reached_from_elsewhere_asks_for_a_token(options: ServeOptions, log_in: bool) -> None:
    settings = web_settings(options)
    assert settings.log_in is log_in
    assert set(LOOPBACK_HOSTS) <= set(settings.allowed_hosts)
    assert "*" not in settings.allowed_hosts


@pytest.mark.parametrize(
    "options",
    [
        ServeOptions(certificate=Path("a.pem")),
        ServeOptions(key=Path("a.pem")),
        ServeOptions(behind_proxy=True, certificate=Path("a"), key=Path("b")),
        ServeOptions(behind_proxy=True, host="0.0.0.0"),
        ServeOptions(allowed_hosts=("*",)),
        ServeOptions(allowed_hosts=("https://reviews.example",)),
        ServeOptions(allowed_hosts=("reviews.example:443",)),
        ServeOptions(allowed_hosts=("",)),
    ],
)
def test_options_that_contradict_each_other_are_told(options: ServeOptions) -> None:
    with pytest.raises(SettingError, match="; "):
        web_settings(options)


def test_addresses_of_this_machine() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("127.8.8.8") and is_loopback("LOCALHOST") and is_loopback("[::1]")
    assert not is_loopback("localhost.example") and not is_loopback("10.0.0.1") and not is_loopback("")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::0", "0"])
@pytest.mark.parametrize("machine", ["my box", "", "rechner-ü"])
def test_a_machine_may_have_a_name_that_no_browser_can_ask_for(
    monkeypatch: pytest.MonkeyPatch, host: str, machine: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: machine)
    monkeypatch.setattr("socket.getfqdn", lambda: machine)
    options = ServeOptions(host=host)
    assert web_settings(options).allowed_hosts == LOOPBACK_HOSTS
    assert told_host(options) == "localhost"
    monkeypatch.setattr("socket.getfqdn", lambda: "Box.example")
    assert told_host(options) == "box.example"
