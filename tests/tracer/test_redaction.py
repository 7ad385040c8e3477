"""What is redacted is gone, in whatever way it is written; what is left is as it was; and nothing takes long."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import string
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.pattern_rules import own_pattern
from tracescribe.tracer.personal_patterns import PERSONAL
from tracescribe.tracer.redaction import (
    PLACEHOLDER,
    Redactor,
    current_redactor,
    redacting,
    redactor_of,
    secrets_redactor,
)

KEY = 'sk-Ünit/7Qm2+x="V\\t9LkR4w'
ENVIRONMENT = {"OPENAI_API_KEY": KEY, "PGPASSWORD": "hunter2-hunter2", "HOME": "/somewhere/else-1", "HF_TOKEN": "short"}
EVERYTHING = redactor_of(tuple(PERSONAL), {"ticket": r"TCK-\d{4,8}"}, ENVIRONMENT)
MAIL_ONLY = redactor_of(("email",), None, {})

SECRET_TEXTS = {
    "openai": "sk-proj-Ab12Cd34Ef56Gh78Ij90",
    "anthropic": "sk-ant-api03-Ab12Cd34-Ef56_Gh78",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github fine": "github_pat_11ABCDEFG0aBcDeFgHiJkL_mnopqrstuv",
    "hugging face": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "slack": "xoxb-123456789012-abcdefghijkl",
    "google": "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nn0TA\n-----END RSA PRIVATE KEY-----",
    "pem in json": "-----BEGIN PRIVATE KEY-----\\nMIIEpAIBAAKC\\n-----END PRIVATE KEY-----",
}
PERSONAL_TEXTS = {
    "email": ["eve@example.org", "müller.jörg+x@exämple.co.uk", "a.b-c_d@sub.example.museum", "eve%40example.org"]
    + ['"eve of mail"@example.org', "eve\uff20example.org", r"eve\uff20example.org"],
    "phone": ["+49 30 901820", "+1 (415) 555-2671", "(415) 555-2671", "0049 30 901820", "030 / 9018 2000"]
    + ["1-800-356-9377", "1 (415) 736-2000", "+1.4805058800", "+49.30.901820", "+49.30 901820"],
    "ipv4": ["192.168.1.254", "8.8.8.8"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "fr1420041010050500013m02606"],
    "credit_card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"],
    "us_ssn": ["078-05-1120"],
}
HARMLESS = [
    "the capital of the state containing Dallas is Austin",
    "task-oriented, risk-averse, key-value; disk-based",
    "bob (at) example, @mention, a @ b, git@host",
    "The bearer of bad news; a token of thanks; secret: none",
    "2024-01-15 12:30:45, 3.14159265358979, 1/2/2024, 1 2 3 4 5 6 7 8 9",
    "256.1.1.1 and 1.2.3 and 4111 1111 1111 1112 and DE89 3704 0044 0532 0130 01 and 000-12-3456",
    "https://example.org/path?page=2#top and https://example.org:8080/",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "layer 3, feature 4096 fires on ' token' (p=0.123)",
    "logit +12.3456789, +0.5312345, \u0394 = +0.0123456 (p = 0.001); p=0.05 +0.12345678",
    "from +1.2345678 (0.12) to +12.3456789 13.4567812, +1.234567890123456",
    '{"label": "@example.org", "words ": ["@b.co", "", "@b.co"], "n" : 1, "more": [1, "@x.org"]}',
    "counts_of_9f86d081884c and parts_of_the_whole_circuit_as_it_was",
]


@pytest.mark.parametrize("name", SECRET_TEXTS)
def test_well_known_keys_are_cut_wherever_they_stand(name: str) -> None:
    secret = SECRET_TEXTS[name]
    for text in (secret, f"x {secret} y", f'{{"a":"{secret}"}}', f"key={secret}&b=1", f"({secret})", f"\n{secret}\n"):
        cleaned = secrets_redactor({}).text(text)
        assert not any(part in cleaned for part in re.split(r"\n|\\n", secret) if len(part) > 3), cleaned
        assert PLACEHOLDER.search(cleaned)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in PERSONAL_TEXTS.items() for text in texts])
def test_personal_data_is_cut_where_it_is_asked_for(name: str, text: str) -> None:
    whole = f"Ask: {text}, or not."
    assert redactor_of((name,), None, {}).text(whole) == f"Ask: [redacted {name}], or not."
    assert secrets_redactor({}).text(whole) == whole
    assert redactor_of((name,), None, {}).found(whole) == {name: 1}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert EVERYTHING.text(text) == text


@pytest.mark.parametrize("secret", [KEY, "hunter2-hunter2"])
def test_a_known_secret_is_found_in_every_spelling(secret: str) -> None:
    whole, cut = secret.encode(), len(secret) // 2
    spellings = [
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        re.sub("%..", lambda escape: escape.group().lower(), quote(secret, safe="")),
        html.escape(secret),
        whole.hex(),
        whole.hex().upper(),
        f"{secret[:cut]}\n  {secret[cut:]}",
        f"{secret[:cut]}\\n{secret[cut:]}",
        f"{secret[:cut]}\r\n\t{secret[cut:]}",
    ]
    for spelling in spellings:
        cleaned = EVERYTHING.text(f"before {spelling} after")
        assert cleaned == "before [redacted secret] after", spelling
    for shift in range(4):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"x" * shift + whole + b"tail").decode()
            assert PLACEHOLDER.search(EVERYTHING.text(text)), text
    assert secret not in base64.b64decode(EVERYTHING.text(base64.b64encode(whole).decode()) + "==").decode("latin-1")


def test_which_variables_hold_secrets() -> None:
    environment = {
        "MY_API_KEY": "abcdefghijkl-1",
        "DB_PASSWORD": "pass-word-1",
        "GITHUB_TOKEN": "tokentokentoken",
        "TOKENIZERS_PARALLELISM": "certainly-not-9",
        "SSH_KEY_PATH": "relative/path-1/id",
        "API_KEY_FILE": "/run/secrets/key-1",
        "KEYBOARD_LAYOUT": "de-nodeadkeys-1",
        "SOME_TOKEN": "false",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=collector%2Dsecret-1,authorization=Bearer collector-two-2",
    }
    redactor = secrets_redactor(environment)
    cut = ["abcdefghijkl-1", "pass-word-1", "tokentokentoken", "collector-secret-1", "collector-two-2"]
    assert all(redactor.text(f"a {value} b") == "a [redacted secret] b" for value in cut)
    kept = ["certainly-not-9", "relative/path-1/id", "/run/secrets/key-1", "de-nodeadkeys-1", "false"]
    assert all(redactor.text(f"a {value} b") == f"a {value} b" for value in kept)
    assert Redactor().with_secrets("EMPTY", "no-key-needed").text("EMPTY no-key-needed") == "EMPTY no-key-needed"


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """A text with a secret or personal data in it, and what must not be left."""
    pools = [*SECRET_TEXTS.values(), *(text for texts in PERSONAL_TEXTS.values() for text in texts), KEY]
    inside = draw(st.sampled_from([text for text in pools if "\n" not in text]))
    around = st.text(st.sampled_from(string.whitespace + "\"'()[]{}<>,;!?\\äß"), max_size=12)
    words = st.text(max_size=30)
    return draw(words) + draw(around) + " " + inside + " " + draw(around) + draw(words), inside


@given(planted())
@settings(max_examples=100, deadline=None)
def test_what_is_planted_is_gone(case: tuple[str, str]) -> None:
    text, inside = case
    assert inside not in EVERYTHING.text(text)


@given(st.one_of(st.text(max_size=200), planted().map(lambda pair: pair[0])))
@settings(max_examples=100, deadline=None)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = EVERYTHING.text(text)
    assert EVERYTHING.text(once) == once
    assert not EVERYTHING.found(once)


_alphabet = st.text(st.sampled_from("ab1 @.-+:/=\\\"'[]redacted emailsk-eyJ%40{}\n"), max_size=80)


@given(_alphabet)
@settings(max_examples=150, deadline=None)
def test_hostile_neighbours_change_nothing(text: str) -> None:
    once = EVERYTHING.text(text)
    assert EVERYTHING.text(once) == once


_json = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=20),
        planted().map(lambda p: p[0]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=12,
)


@given(_json)
@settings(max_examples=60, deadline=None)
def test_json_stays_json(value: object) -> None:
    cleaned = EVERYTHING.value(value)
    assert EVERYTHING.value(cleaned) == cleaned
    for escaped in (True, False):
        text = json.dumps(value, ensure_ascii=escaped)
        assert json.loads(MAIL_ONLY.text(text)) is not None or value is None
        json.loads(MAIL_ONLY.json_text(text))


def test_keys_and_named_fields_of_objects() -> None:
    value = {"eve@example.org": 1, "bob@example.org": {"api_key": "abc", "token": " Paris"}, "n": [1.5, None, True]}
    assert MAIL_ONLY.value(value) == {
        "[redacted email]": 1,
        "[redacted email] 2": {"api_key": "[redacted secret]", "token": " Paris"},
        "n": [1.5, None, True],
    }
    assert value["n"] == [1.5, None, True]


def test_escapes_in_json_hide_nothing_from_the_reader_of_json() -> None:
    text = json.dumps({"label": "mail eve@example.org"}).replace("e", "\\u0065").replace('"lab\\u0065l"', '"label"')
    assert "eve" not in json.loads(MAIL_ONLY.json_text(text))["label"]
    plain = '{"a": 1.0, "b":"c"}'
    assert MAIL_ONLY.json_text(plain) == plain


@given(st.integers(0, 2**32), st.sampled_from(["eve@example.org", SECRET_TEXTS["openai"], KEY]))
@settings(max_examples=60, deadline=None)
def test_tokens_that_share_a_match_are_all_cut(seed: int, inside: str) -> None:
    rng = random.Random(seed)
    text = f"ask {inside} today"
    cuts = sorted({0, len(text), *(rng.randrange(len(text)) for _ in range(rng.randrange(12)))})
    tokens = [text[a:b] for a, b in pairwise(cuts)]
    cleaned = EVERYTHING.tokens(tokens)
    assert len(cleaned) == len(tokens)
    start, end = text.index(inside), text.index(inside) + len(inside)
    for (a, b), token, new in zip(pairwise(cuts), tokens, cleaned, strict=True):
        overlaps = a < end and start < b
        assert PLACEHOLDER.search(new) if overlaps else new == token
    assert EVERYTHING.tokens(cleaned) == cleaned


def test_tokens_of_a_text_with_spaces_between_them() -> None:
    tokens = ("<bos>", "mail", "eve", "@", "example.org", "now")
    assert MAIL_ONLY.tokens(tokens, "mail eve@example.org now") == (
        *("<bos>", "mail"),
        *(["[redacted email]"] * 3),
        "now",
    )


HOSTILE = [
    *(
        "a",
        "a@",
        "@",
        "a.",
        "1",
        "1 ",
        "+1",
        "sk-",
        "eyJ",
        "eyJa.",
        "\\",
        "\\u00e9",
        "\\n",
        "://a:",
        "a@b.co ",
        '"',
        "%4",
    ),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "[redacted email]",
        "[redacted ",
        "password=",
        "Bearer ",
        "DE89 ",
        "4111 ",
        KEY[:-1],
    ),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_work_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    # linear: a few hundredths of a second; with the square of the length: hours, and the suite hangs
    text = (unit * (30_000 // len(unit) + 1))[:30_000]
    assert EVERYTHING.text(text) is not None


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("(a+)+b", "upper bound"),
        (r"\w*@x", "upper bound"),
        (r"(a{1,99}){1,99}b", "ways to fit"),
        (r"a{0,99}a{0,99}a{0,99}b", "ways to fit"),
        (r"(a|aa){1,60}b", "ways to fit"),
        (r"(x)\1", "reference"),
        ("a?", "empty"),
        ("", "empty"),
        ("(", "not a regular expression"),
        ("[[a]", "not a regular expression"),
    ],
)
def test_expressions_that_could_take_for_ever_are_refused(expression: str, fault: str) -> None:
    with pytest.raises(SettingError, match=fault):
        own_pattern("mine", expression)


def test_patterns_are_named_and_known() -> None:
    with pytest.raises(SettingError, match="'emial' is none of email"):
        redactor_of(("emial",))
    with pytest.raises(SettingError, match="rename it"):
        own_pattern("My Pattern]", "x")
    mine = redactor_of((), {"ticket": r"\bTCK-\d{4,8}\b"}, {})
    assert mine.text("see TCK-12345.") == "see [redacted ticket]."


def test_the_redactor_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "the-first-key-1")
    assert current_redactor().text("the-first-key-1 eve@example.org") == "[redacted secret] eve@example.org"
    monkeypatch.setenv("SOME_API_KEY", "another-key-22")
    assert current_redactor().text("the-first-key-1 another-key-22") == "the-first-key-1 [redacted secret]"
    with redacting(MAIL_ONLY):
        assert current_redactor() is MAIL_ONLY
        with redacting(EVERYTHING):
            assert current_redactor() is EVERYTHING
        assert current_redactor() is MAIL_ONLY
    assert current_redactor() is not MAIL_ONLY
