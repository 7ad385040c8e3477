"""Damaged and hostile weight files: a typed error or a set that works, never a crash, a foreign error or code that runs.

More by hand: `TRANSCODER_FUZZ=20000 pytest tests/tracer/test_transcoder_fuzz.py`, or `fuzz(n, seed, folder)`.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.tracer import transcoder_writers as writers
from tests.tracer.transcoder_writers import draw
from tracescribe.tracer.errors import TracescribeError
from tracescribe.tracer.transcoder_formats.zip_member import ZIP_ERRORS
from tracescribe.tracer.transcoders import load_transcoders

N_FILES = int(os.environ.get("TRANSCODER_FUZZ", "1000"))
HANG_SECONDS = 600  # only to turn a hang into a failure
MEMORY_BYTES = 256 << 20

SHAPE = (4, 5)
FORMATS: dict[str, Callable[[Path], None]] = {
    "circuit-tracer": lambda f: writers.circuit_tracer(f, draw(SHAPE, 3, jump=True, skip=True)),
    "cross-layer": lambda f: writers.cross_layer(f, draw(SHAPE, 3, cross_layer=True, jump=True)),
    "npz": lambda f: writers.scope_1(f, draw(SHAPE, 3, jump=True)),
    "npz, compressed": lambda f: writers.scope_1_compressed(f, draw(SHAPE, 3, jump=True)),
    "Gemma Scope 2": lambda f: writers.scope_2(f, draw(SHAPE, 3, jump=True, skip=True)),
    "Gemma Scope 2, cross-layer": lambda f: writers.scope_2_cross_layer(f, draw(SHAPE, 3, cross_layer=True, jump=True)),
    "sparsify": lambda f: writers.sparsify(f, draw(SHAPE, 3, skip=True), k=2),
    "SAELens": lambda f: writers.sae_lens(f, draw(SHAPE, 3, jump=True)),
    "pt": lambda f: writers.state_dicts(f, draw(SHAPE, 3)),
}


def fuzz(n: int, seed: int, folder: Path) -> Counter[str]:
    """Damage one file of a set, open the set and use it; `n` times.

    Returns:
        How many were refused, and how many gave a set that works.
    """
    rng = random.Random(seed)
    marker = folder / "marker"
    roots = {name: folder / str(number) for number, name in enumerate(FORMATS)}
    for name, write in FORMATS.items():
        roots[name].mkdir()
        write(roots[name])
    outcomes: Counter[str] = Counter()
    for _ in range(n):
        root = roots[rng.choice(list(FORMATS))]
        path = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
        before = path.read_bytes()
        path.write_bytes(damage(before, rng, marker))
        try:
            outcomes[use(root)] += 1
        finally:
            path.write_bytes(before)
    assert not marker.exists(), "a file's code ran"
    return outcomes


def use(root: Path) -> str:
    """Open a set and compute with every layer."""
    try:
        found = load_transcoders(root, resident_bytes=0)
        for layer in range(found.n_layers):
            n_features = found.n_features[layer]
            acts = found.encode(layer, torch.ones(2, found.d_model))
            rows = found.decoder_rows(layer, torch.arange(n_features))
            assert acts.shape == (2, n_features)
            assert rows.shape == (n_features, found.n_written(layer), found.d_model) and rows.isfinite().all()
            assert found.encoder_rows(layer, torch.arange(n_features)).isfinite().all()
        assert len(found.sha256) == 64
    except TracescribeError as error:
        assert "\n" not in str(error) and len(str(error)) < 8000
        return "refused"
    return "works"


def damage(content: bytes, rng: random.Random, marker: Path) -> bytes:
    """One file, changed in one of many ways."""
    ways: list[Callable[[bytes, random.Random], bytes]] = [_flip_bits, _flip_in_front, _cut, _grow, _swap, _number]
    if content[:2] == b"PK":
        ways += [_hostile_array, _hostile_array, lambda c, r: _hostile_pickle(c, r, marker), _member]
    elif content[8:9] == b"{":
        ways += [_header, _header, _header, _header]
    elif content.isascii():
        ways += [_setting, _setting, _setting, _setting, _setting]
    for _ in range(rng.choice((1, 1, 1, 2))):
        content = rng.choice(ways)(content, rng)
    return content


def _flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_in_front(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    changed[rng.randrange(min(len(changed), 200))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _grow(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice((1, 8, 1000)))


def _swap(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[b:] + content[a:b] + content[:a]


def _number(content: bytes, rng: random.Random) -> bytes:
    """Four or eight bytes become a number that means trouble."""
    changed = bytearray(content)
    value = rng.choice((float("nan"), float("inf"), -1e38))
    raw = rng.choice(
        (struct.pack("<f", value), struct.pack("<Q", rng.choice((0, 1 << 62, (1 << 64) - 1))), b"\xff" * 4)
    )
    at = rng.randrange(len(changed) + 1)
    changed[at : at + len(raw)] = raw
    return bytes(changed)


def _setting(content: bytes, rng: random.Random) -> bytes:
    """A configuration that says something else; in YAML also what only YAML can say."""
    bomb = "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20))
    hostile = [
        "!!timestamp x",
        "!!int ''",
        "!!bool x",
        "!!python/object/apply:os.getcwd []",
        "&a [*a]",
        "{[]: 1}",
        "? x",
    ]
    value: Any = rng.choice(
        (None, True, -1, 0, 10**40, 1e308, float("nan"), "", "x" * 5000, "a\nb", [], {}, [[]], {"a": {}}, ["../../x"])
    )
    text = content.decode(errors="replace")
    is_json = text.lstrip().startswith("{")
    lines = text.splitlines()
    if not is_json and rng.random() < 0.5:
        key = rng.choice(lines or ["x: 1"]).split(":")[0]
        made = rng.choice((*(f"{key}: {one}" for one in hostile), f"a: &a x\n{bomb}\n{key}: *u", "a: " + "[" * 3000))
        return "\n".join([line for line in lines if not line.startswith(key + ":")] + [made]).encode()
    try:
        settings = json.loads(text) if is_json else yaml.safe_load(text)
        settings[rng.choice(sorted(settings))] = value
        return (json.dumps(settings) if is_json else yaml.safe_dump(settings)).encode()
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError, yaml.YAMLError):
        return content


def _header(content: bytes, rng: random.Random) -> bytes:
    """A safetensors header that says something else."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        name = rng.choice(sorted(header))
        entry = header[name]
        huge: Any = rng.choice((1 << 31, 1 << 40, 1 << 63, 10**30, -1, 0, 1.5, "4", None, True, [], 3))
        way = rng.randrange(7)
        if way == 0:
            entry["shape"][rng.randrange(len(entry["shape"]))] = huge
        elif way == 1:
            entry["data_offsets"][rng.randrange(2)] = huge
        elif way == 2:
            entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "X", 3, None))
        elif way == 3:
            entry["shape"] = rng.choice((entry["shape"][::-1], [1] * 70, [], [0], "x", [[1]]))
        elif way == 4:
            header[rng.choice(("", "k", "W_skip", "\u2028\n", "__metadata__", "a" * 10000))] = header.pop(name)
        elif way == 5:
            header = rng.choice(([], {}, 3, {name: 4}, {name: {}}, {"__metadata__": header}))
        else:
            entry["shape"] = [huge, huge]
            entry["data_offsets"] = [0, huge]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return content
    text = json.dumps(header).encode() if rng.random() < 0.95 else b"[" * 100_000
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _rewrite(content: bytes, edit: Callable[[str, bytes], bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", compression) as target:
            for member in source.infolist():
                target.writestr(member.filename, edit(member.filename, source.read(member)))
    except (*ZIP_ERRORS, ValueError, OSError):
        return content
    return buffer.getvalue()


def _compression(rng: random.Random) -> int:
    return rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))


def _hostile_array(content: bytes, rng: random.Random) -> bytes:
    """An array of NumPy whose header lies, asks for objects, or unpacks to far more than it holds."""
    shape = rng.choice(
        ("(1000000000, 1000000000)", "(3, 4)", "()", "(-1, 4)", "(1e9,)", "(" + "9" * 5000 + ",)", "((3,),)")
    )
    descr = rng.choice(("'<f4'", "'|O'", "'>f4'", "'<f8'", "[('a', '<f4')]", "'<U9'", "__import__('os')", "'<f2'"))
    order = rng.choice(("True", "False", "None"))
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    body = rng.choice((b"", bytes(48), bytes(4 << 20), b"cposix\nsystem\n"))
    made = (
        b"\x93NUMPY"
        + rng.choice((b"\x01\x00", b"\x02\x00", b"\x09\x09"))
        + struct.pack("<H", len(header))
        + header
        + body
    )
    chosen = rng.randrange(6)
    count = iter(range(1000))
    return _rewrite(content, lambda _, old: made if next(count) == chosen else old, _compression(rng))


def _hostile_pickle(content: bytes, rng: random.Random, marker: Path) -> bytes:
    """A pickle that would make a file, eat memory or never end, in place of the one that describes tensors."""
    name = str(marker).encode()
    call = b"cbuiltins\nopen\n(X" + struct.pack("<I", len(name)) + name + b"X\x01\x00\x00\x00wtR."
    pickles = [
        b"\x80\x02" + call,
        b"\x80\x04\x8c\x08builtins\x8c\x04open\x93\x8c" + bytes([len(name) % 256]) + name + b"\x8c\x01w\x86R.",
        b"cos\nsystem\n(S'touch " + name + b"'\ntR.",
        b"(S'touch " + name + b"'\nios\nsystem\n.",
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo of two thousand million places
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b".",
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02]" + b"q\x00" + b"h\x00h\x00\x86" * 20_000 + b".",
        b"\x80\x02"
        + b"".join(b"]q" + bytes([n]) + b"(" + b"h%c" % max(n - 1, 0) * 9 + b"e" for n in range(200))
        + b".",
        rng.randbytes(200),
    ]
    chosen = rng.choice(pickles)
    if rng.random() < 0.5:
        return _rewrite(content, lambda member, old: chosen if member.endswith("data.pkl") else old, zipfile.ZIP_STORED)
    return _rewrite(
        content,
        lambda member, old: _flip_bits(old, rng) if member.endswith("data.pkl") else old,
        rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
    )


def _member(content: bytes, rng: random.Random) -> bytes:
    """Members that are cut, emptied or packed in another way."""
    way = rng.choice((lambda old: old[: len(old) // 2], lambda old: b"", lambda old: old, lambda old: old * 2))
    chosen = rng.randrange(8)
    count = iter(range(1000))
    return _rewrite(content, lambda _, old: way(old) if next(count) == chosen else old, _compression(rng))


def _too_long(number: int, frame: object) -> None:
    raise AssertionError(f"no end after {HANG_SECONDS} s")


@pytest.fixture
def alarm() -> object:
    """Turns a hang into a failure."""
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(HANG_SECONDS)
    yield None
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.usefixtures("alarm")
def test_damaged_weight_files_are_refused_or_work(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    outcomes = fuzz(N_FILES, seed=2, folder=tmp_path)
    assert outcomes.total() == N_FILES
    assert outcomes["refused"] > N_FILES / 4 and outcomes["works"] > N_FILES / 50, outcomes
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < MEMORY_BYTES


@pytest.mark.parametrize("name", list(FORMATS))
def test_undamaged_sets_work(tmp_path: Path, name: str) -> None:
    FORMATS[name](tmp_path)
    assert use(tmp_path) == "works"
