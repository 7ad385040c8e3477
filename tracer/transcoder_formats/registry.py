"""Which reader opens a folder: decided by what lies in it, never by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tracescribe.tracer.errors import TranscoderFormatError
from tracescribe.tracer.transcoder_formats import circuit_tracer, gemma_scope, sae_lens, sparsify
from tracescribe.tracer.transcoder_formats.layers import StoredTranscoders

_MAX_FOLDERS = 10_000
_SCOPE_1_BELOW = f"width_*/average_l0_*/{gemma_scope.ARCHIVE}"

Reader = Callable[[], StoredTranscoders]


def open_set(path: Path, faults: list[str]) -> StoredTranscoders:
    """Open a set with the reader that knows its layout; faults are collected.

    Args:
        path: a folder; or, where it holds several transcoders of each layer, a pattern with `*` that names one folder
            per layer, such as `FOLDER/layer_*/width_16k/average_l0_60`.
        faults: what is wrong is added here.

    Raises:
        TranscoderFormatError: no such folder, no reader or several know the layout, or a configuration cannot be read.
    """
    root, folders = _below(path)
    readers = _readers(root, folders, faults)
    if len(readers) > 1:
        raise TranscoderFormatError(f"transcoder folder {path} holds several layouts: {', '.join(readers)}; part them")
    if readers:
        return next(iter(readers.values()))()
    inner = sorted(folder.name for folder in folders if (folder / circuit_tracer.CONFIG).is_file())
    if len(inner) == 1:
        return circuit_tracer.read_circuit_tracer(root / inner[0], faults)
    if inner:
        raise TranscoderFormatError(f"transcoder folder {path} holds several sets: {', '.join(inner):.300}; name one")
    raise TranscoderFormatError(
        f"transcoder folder {path} has no config.yaml (circuit-tracer), and no layers of Gemma Scope "
        "(params.npz, params.safetensors), sparsify (sae.safetensors) or SAELens (sae_weights.safetensors)"
    )


def exists(path: Path) -> bool:
    """Whether there is a folder, or a pattern that finds one."""
    return path.is_dir() or bool(_below(path)[1])


def _below(path: Path) -> tuple[Path, list[Path]]:
    """The folder that is meant, and the folders in it that may each hold a layer."""
    parts = path.parts
    starred = next((n for n, part in enumerate(parts) if "*" in part), None)
    if starred is None:
        has_weights = any((path / name).is_file() for name in (sparsify.WEIGHTS, sae_lens.WEIGHTS, gemma_scope.WEIGHTS))
        return path, [path] if has_weights else _folders(path, "*")
    root = Path(*parts[:starred])
    return root, _folders(root, "/".join(parts[starred:]))


def _folders(root: Path, pattern: str) -> list[Path]:
    if not root.is_dir():
        return []
    found = [folder for folder, _ in zip(root.glob(pattern), range(_MAX_FOLDERS), strict=False) if folder.is_dir()]
    return sorted(found)


def _readers(root: Path, folders: Sequence[Path], faults: list[str]) -> dict[str, Reader]:
    """Readers by the name of the layout that each recognises."""
    if (root / circuit_tracer.CONFIG).is_file():
        return {"circuit-tracer": lambda: circuit_tracer.read_circuit_tracer(root, faults)}
    if (root / gemma_scope.CROSS_LAYER_WEIGHTS.format(0)).is_file():
        return {"Gemma Scope 2, cross-layer": lambda: gemma_scope.read_scope_2_cross_layer(root, faults)}

    def holding(*names: str) -> list[Path]:
        return [folder for folder in folders if all((folder / name).is_file() for name in names)]

    readers: dict[str, Reader] = {}
    if by_sparsify := holding(sparsify.CONFIG, sparsify.WEIGHTS):
        readers["sparsify"] = lambda: sparsify.read_sparsify(by_sparsify, faults)
    if by_sae_lens := holding(sae_lens.CONFIG, sae_lens.WEIGHTS):
        readers["SAELens"] = lambda: sae_lens.read_sae_lens(by_sae_lens, faults)
    if by_scope_2 := holding(gemma_scope.CONFIG, gemma_scope.WEIGHTS):
        readers["Gemma Scope 2"] = lambda: gemma_scope.read_scope_2(root, by_scope_2, faults)
    archives = [folder / gemma_scope.ARCHIVE for folder in holding(gemma_scope.ARCHIVE)]
    if archives := archives or [path for folder in folders for path in sorted(folder.glob(_SCOPE_1_BELOW))]:
        readers["Gemma Scope 1"] = lambda: gemma_scope.read_scope_1(root, archives, faults)
    return readers
