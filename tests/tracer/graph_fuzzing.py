"""Graph files, spoiled at random: each is refused with a typed error, or read as a graph that obeys every law.

PYTHONPATH=. python -m tests.tracer.graph_fuzzing 10000 0
"""

from __future__ import annotations

import copy
import gzip
import json
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from tests.tracer.graph_examples import published_graph, random_graph
from tracescribe.tracer import graph_native
from tracescribe.tracer.errors import GraphFormatError
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.graph_checks import graph_faults
from tracescribe.tracer.graph_files import read_graph_file, write_graph_file
from tracescribe.tracer.graph_json import to_json

SUFFIXES = (".json", ".json.gz", ".graphml", ".tsgraph")

NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 7, 2**31, 2**62, 2**63, 2**70, 10**400, -0.0, 0.5, 1e-320, 1e30, 1e39, 1e308, "", "0", "-1",
    "E", "1e999", "NaN", "../../etc/passwd", "0_0_0", "0_1_1", "1_-1_0", "E_7_0", "3_-1_9", "\ud800", "\x00", "x" * 200,
    "٣_1_0", [], {}, [[]], [None], {"a": 1}, [["label", "0_1_0"]], "float64", "mlp reconstruction error", "logit",
)  # fmt: skip
"""Values that readers trip over."""

_XML_NASTY = (
    "<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY b "c">]>', "&b;", "&#0;", "&#xD800;", "<![CDATA[x]]>", "<a>", "</graph>", "<!--",
    "<?x?>", "<graph/>", "nan", "inf", "1e999", "-1", "99999999999999999999", "feature", "0_0_0", '"', "<data key='node-layer'>0</data>",
)  # fmt: skip


def fuzz(
    n: int, seed: int, folder: Path, also: Callable[[bytes, AttributionGraph], None] | None = None
) -> Counter[str]:
    """Spoil and read `n` files.

    Args:
        n: how many.
        seed: of every draw.
        folder: for the files.
        also: called with the bytes and the graph of every JSON file that is accepted.

    Returns:
        Counts of `refused` and `accepted`, by format.

    Raises:
        AssertionError: a file was neither refused with one line nor read as a graph that obeys the laws.
    """
    rng = np.random.default_rng(seed)
    # small, so that every change hits something
    graphs = [
        random_graph(0, n_features=4, n_pos=2, n_layers=2),
        random_graph(1, n_features=4, n_pos=2, n_layers=2, dtype="float64"),
        published_graph(2, n_features=4, n_pos=2, n_layers=2),
    ]
    originals: dict[str, list[bytes]] = {}
    for suffix in SUFFIXES:
        for i, graph in enumerate(graphs):
            path = folder / f"original-{i}{suffix}"
            write_graph_file(path, graph)
            originals.setdefault(suffix, []).append(path.read_bytes())
    counts: Counter[str] = Counter()
    for case in range(n):
        suffix = SUFFIXES[case % len(SUFFIXES)]
        content = originals[suffix][int(rng.integers(len(graphs)))]
        for _ in range(int(rng.integers(1, 4))):
            content = _spoil(content, suffix, rng)
        path = folder / f"case{suffix}"
        path.write_bytes(content)
        try:
            graph = read_graph_file(path)
        except GraphFormatError as error:
            message = str(error)
            assert "\n" not in message and len(message) < 3000, (seed, case, message[:200])
            counts[f"refused {suffix}"] += 1
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {case}, {suffix}: {type(error).__name__}: {error}") from error
        counts[f"accepted {suffix}"] += 1
        _assert_lawful(graph, folder, f"seed {seed}, case {case}, {suffix}")
        if also is not None and suffix == ".json":
            also(content, graph)
    return counts


def _assert_lawful(graph: AttributionGraph, folder: Path, case: str) -> None:
    """What was accepted is a graph, and can be written in every format without loss."""
    assert graph_faults(graph) == [], case
    document = to_json(graph)
    for suffix in (".json", ".graphml", ".tsgraph"):
        path = folder / f"again{suffix}"
        write_graph_file(path, graph)
        assert to_json(read_graph_file(path)) == document, (case, suffix)


def _spoil(content: bytes, suffix: str, rng: np.random.Generator) -> bytes:
    structured = {".json": _spoil_json, ".json.gz": _spoil_gzip, ".graphml": _spoil_xml, ".tsgraph": _spoil_native}
    if rng.random() < 0.4:
        return _spoil_bytes(content, rng)
    try:
        return structured[suffix](content, rng)
    except Exception:  # noqa: BLE001  spoiled before, so that its structure is gone
        return _spoil_bytes(content, rng)


def _spoil_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    spoiled = bytearray(content)
    size = max(len(spoiled), 1)
    start, length = int(rng.integers(size)), int(rng.integers(1, 20))
    match int(rng.integers(6)):
        case 0:
            spoiled[start : start + 1] = bytes([int(rng.integers(256))])
        case 1:
            del spoiled[start : start + length]
        case 2:
            spoiled[start:start] = rng.bytes(length)
        case 3:
            spoiled[start:start] = spoiled[start // 2 : start // 2 + length]
        case 4:
            del spoiled[start:]
        case _ if start < len(spoiled):
            spoiled[start] ^= 1 << int(rng.integers(8))
        case _:
            spoiled += b"\0"
    return bytes(spoiled)


def _spoil_json(content: bytes, rng: np.random.Generator) -> bytes:
    return json.dumps(_spoil_value(json.loads(content), rng)).encode()


def _spoil_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    return gzip.compress(_spoil_json(gzip.decompress(content), rng), mtime=0)


def _spoil_value(document: Any, rng: np.random.Generator) -> Any:
    """Change one place, drawn by walking down at random."""
    value, steps = document, int(rng.integers(1, 7))
    for _ in range(steps):
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            break
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(value[key], dict | list) and value[key]:
            parent, value = value, value[key]
            if rng.random() < 0.05:
                parent[key] = _nasty(rng)
                return document
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return document
    key, other = (keys[int(i)] for i in rng.integers(len(keys), size=2))
    match int(rng.integers(6)):
        case 0 | 1:
            value[key] = _nasty(rng)
        case 2:
            del value[key]
        case 3:
            value[key], value[other] = value[other], value[key]
        case 4 if isinstance(value, list):
            value.insert(key, copy.deepcopy(value[other]))
        case 4:
            value["new"] = _nasty(rng)
        case _:
            if isinstance(value[key], str):
                value[key] = value[key][:1] + str(_nasty(rng))[:50]
            elif isinstance(value[key], int | float):
                value[key] = value[key] + int(rng.integers(-2, 3))
    return document


def _nasty(rng: np.random.Generator) -> Any:
    if rng.random() < 0.02:
        return json.loads("[" * 60 + "]" * 60)
    return copy.deepcopy(NASTY[int(rng.integers(len(NASTY)))])


def _spoil_xml(content: bytes, rng: np.random.Generator) -> bytes:
    text = content.decode()
    if rng.random() < 0.25:  # the block that holds what GraphML has no place for
        start = text.index(">", text.index('<data key="graph-')) + 1
        end = text.index("<", start)
        from xml.sax.saxutils import escape, unescape

        changed = json.dumps(_spoil_value(json.loads(unescape(text[start:end])), rng))
        return (text[:start] + escape(changed) + text[end:]).encode()
    parts = text.split("<")
    i, j = (int(k) for k in rng.integers(1, len(parts), size=2))
    nasty = _XML_NASTY[int(rng.integers(len(_XML_NASTY)))]
    match int(rng.integers(5)):
        case 0:
            del parts[i]
        case 1:
            parts.insert(i, parts[j])
        case 2:
            parts[i], parts[j] = parts[j], parts[i]
        case 3:
            parts[i] += nasty
        case _:
            head, _, tail = parts[i].partition(">")
            parts[i] = f"{head}>{nasty}" if tail.strip() else head.replace('="', f'="{nasty[:3]}', 1) + ">" + tail
    return "<".join(parts).encode()


def _spoil_native(content: bytes, rng: np.random.Generator) -> bytes:
    """A native file with other content, signed again, so that the checks behind the signature are reached."""
    arrays: dict[str, Any] = {key: value.copy() for key, value in load(content).items()}
    names = sorted(arrays)
    name = names[int(rng.integers(len(names)))]
    array = arrays[name]
    choice = int(rng.integers(7))
    if name == "text" or choice == 0:
        text = json.loads(zlib.decompress(arrays["text"].tobytes()))
        changed = json.dumps(_spoil_value(text, rng)).encode()
        arrays["text"] = np.frombuffer(zlib.compress(changed), dtype=np.uint8)
    elif choice in (1, 2, 3) and len(array):
        info = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        values = [0, 1, 2, 5, float(info.max), float(info.min), -1, np.nan, np.inf, int(rng.integers(1, 30))]
        with np.errstate(all="ignore"):
            value = np.array(values[int(rng.integers(len(values)))])
            array[int(rng.integers(len(array)))] = np.nan_to_num(value, posinf=3).astype(array.dtype)
            if array.dtype.kind == "f":
                array[int(rng.integers(len(array)))] = value
    elif choice == 4:
        arrays[name] = array[: int(rng.integers(len(array) + 1))]
    elif choice == 5:
        with np.errstate(all="ignore"):
            arrays[name] = array.astype([np.float16, np.int8, np.int64, np.float64, np.uint8][int(rng.integers(5))])
    elif rng.random() < 0.5:
        del arrays[name]
    else:
        arrays[f"{name}x"] = array.reshape(1, -1)
    header = {
        "format": graph_native.FORMAT,
        "version": int(rng.random() < 0.98),
        "sha256": graph_native._sha256(arrays),
    }
    return save(arrays, metadata={"tracescribe": json.dumps(header)})


def main() -> None:
    """Spoil as many files as the command line says, and print what became of them."""
    import resource

    n, seed = int(sys.argv[1]), int(sys.argv[2])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = fuzz(n, seed, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{dict(sorted(counts.items()))} in {time.perf_counter() - started:.0f} s, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
