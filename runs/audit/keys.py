"""Keys that sign the audit log: files outside the store, readable by their owner alone.

FOLDER/key.pem            private key (PKCS 8, Ed25519), mode 0600
FOLDER/key.trusted/*.pem  public halves of other keys that are trusted here: earlier ones, and those of other machines

FOLDER is `~/.config/tracescribe/audit/<store id>` (or under `XDG_CONFIG_HOME`); `TRACESCRIBE_AUDIT_KEY` names another
key file.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tracescribe.runs.audit.errors import AuditError, AuditInputError
from tracescribe.runs.audit.locked_folder import held_folder_of
from tracescribe.tracer.errors import OutputError
from tracescribe.tracer.provenance import write_bytes_atomic

KEY_VARIABLE = "TRACESCRIBE_AUDIT_KEY"
MAX_KEY_BYTES = 10_000
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class PublicKey:
    """The half of a key that checks signatures.

    Attributes:
        raw: its 32 bytes.
    """

    raw: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw bytes: the key's fingerprint."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def text(self) -> str:
        """The raw bytes in hexadecimal digits, as the store and anchors have them."""
        return self.raw.hex()

    def vouches(self, message: bytes, signature: str) -> bool:
        """Whether this key signed the message, and the signature stands as it was written."""
        try:
            raw = bytes.fromhex(signature)
            if raw.hex() != signature:
                return False
            Ed25519PublicKey.from_public_bytes(self.raw).verify(raw, message)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def pem(self) -> bytes:
        """The key as a file holds it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class SigningKey:
    """A private key and the file it lies in."""

    path: Path
    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> str:
        """The signature of a message, in hexadecimal digits."""
        return self.private.sign(message).hex()


def key_path(store_id: str) -> Path:
    """Where the key for a store lies on this machine, whether it is there or not."""
    named = os.environ.get(KEY_VARIABLE)
    if named:
        return Path(named).expanduser()
    return _config_folder() / "tracescribe" / "audit" / plain_id(store_id) / "key.pem"


def plain_id(store_id: str) -> str:
    """A store's id as the name of a file or folder: what comes from a database is no path."""
    return store_id if _PLAIN_ID.fullmatch(store_id) else hashlib.sha256(store_id.encode()).hexdigest()


def public_from_text(text: str) -> PublicKey:
    """A public key from hexadecimal digits.

    Raises:
        AuditInputError: they are none.
    """
    try:
        raw = bytes.fromhex(text)
        Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, TypeError) as error:
        raise AuditInputError(f"{str(text)[:80]!r} is no public key; expected 64 hexadecimal digits") from error
    return PublicKey(raw)


def read_public(path: Path) -> PublicKey:
    """A public key from a PEM file, as `audit keys --export` writes it.

    Raises:
        AuditInputError: the file cannot be read, or holds none.
    """
    content = _read(path)
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuditInputError(
            f"{path} holds no public key; 'tracescribe audit keys --export FILE' writes one"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditInputError(f"{path} holds a key of another kind; the audit log is signed with Ed25519")
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def read_key(path: Path) -> SigningKey | None:
    """The private key in a file; None where there is no file.

    Raises:
        AuditInputError: others can read it, or it holds no such key.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AuditInputError(f"cannot read the audit key {path}: {error.strerror}") from error
    if mode & 0o077:
        raise AuditInputError(
            f"the audit key {path} can be used by others (mode {mode & 0o777:03o}); make it yours alone with "
            f"'chmod 600', and if somebody may have read it, replace it with 'tracescribe audit keys --rotate'"
        )
    content = _read(path)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuditInputError(f"{path} holds no private key; restore it, or move it away to have a new one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditInputError(f"{path} holds a key of another kind; the audit log is signed with Ed25519")
    return SigningKey(path, key)


def need_key(path: Path) -> SigningKey:
    """The private key in a file, which is made where there is none.

    Raises:
        AuditInputError: what is there cannot be used.
        AuditError: it cannot be made.
    """
    found = read_key(path)
    if found is not None:
        return found
    try:
        with held_folder_of(path):
            if not path.exists():  # else another process made it just now
                _write_private(path, _private_pem(Ed25519PrivateKey.generate()))
    except OSError as error:
        raise AuditError(
            f"cannot make the audit key {path}: {error.strerror}; name a file that can be written in {KEY_VARIABLE}"
        ) from error
    made = read_key(path)
    if made is None:
        raise AuditError(f"the audit key {path} was removed while it was made; try again")
    return made


def replace_key(old: SigningKey, new: Ed25519PrivateKey) -> SigningKey:
    """Put a new private key in the place of an old one, whose public half stays trusted here.

    Raises:
        AuditError: the files cannot be written.
    """
    trust(old.path, old.public)
    try:
        with held_folder_of(old.path):
            _write_private(old.path, _private_pem(new))
    except OSError as error:
        raise AuditError(f"cannot replace the audit key {old.path}: {error.strerror}") from error
    return SigningKey(old.path, new)


def trust(path: Path, public: PublicKey) -> Path:
    """Trust a public key on this machine, for the store whose own key lies at `path`.

    Raises:
        AuditError: it cannot be written.
    """
    target = _trusted_folder(path) / f"{public.key_id}.pem"
    try:
        write_bytes_atomic(target, public.pem())
    except OutputError as error:
        raise AuditError(str(error)) from error
    return target


def trusted_keys(path: Path) -> list[PublicKey]:
    """Public keys that are trusted on this machine: the one at `path`, and those in the folder beside it.

    Raises:
        AuditInputError: one of them cannot be used.
    """
    own = read_key(path)
    folder = _trusted_folder(path)
    others = sorted(folder.glob("*.pem")) if folder.is_dir() else []
    return ([own.public] if own is not None else []) + [read_public(other) for other in others]


def _trusted_folder(path: Path) -> Path:
    return path.with_name(f"{path.stem}.trusted")


def _config_folder() -> Path:
    named = os.environ.get("XDG_CONFIG_HOME")
    return Path(named) if named and Path(named).is_absolute() else Path.home() / ".config"


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    """Write a key so that it is there whole or not at all, and never for others to read."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(MAX_KEY_BYTES)
    except OSError as error:
        raise AuditInputError(f"cannot read the key {path}: {error.strerror}") from error
