# SPDX-License-Identifier: Apache-2.0
"""CURVE keys: of a server, and of the clients that it admits.

A folder of keys, as `gr00t-policy keys` creates it::

    server.key              the server's public key, for its clients
    server.key_secret       stays on the server
    clients/NAME.key        the public key of each client that is admitted
    NAME.key_secret         for the client NAME; can be removed here once it is there

The files are those of pyzmq's `zmq.auth`.
"""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from gr00t_policy_core.errors import SpecError

SERVER = "server"
CLIENTS = "clients"
DOMAIN = "gr00t-policy"  # of ZAP; without one, libzmq does not ask the authenticator
KEY_CHARS = 40  # of a key of 32 bytes in Z85
KEY_BYTES = 32
_HINT = "`gr00t-policy keys` creates such files"

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """A server's key pair, and the names of its clients by their public keys."""

    public: bytes
    secret: bytes
    clients: Mapping[bytes, str]

    @classmethod
    def load(cls, folder: str | Path) -> ServerKeys:
        """Read a folder that `write_keys` created.

        Raises:
            SpecError: A file is missing or holds no key, or other users can read the secret key.
        """
        folder = Path(folder)
        public, secret = _read_pair(folder / f"{SERVER}.key_secret")
        listed = sorted((folder / CLIENTS).glob("*.key"))
        if not listed:
            raise SpecError(
                "bad keys", [f"no client is listed in {folder / CLIENTS}, so none can connect"]
            )
        return cls(public, secret, {_read(path)[0]: path.stem for path in listed})

    def protect(self, listener: zmq.Socket[bytes]) -> None:
        """Make a socket a CURVE server; to be called before it is bound."""
        listener.setsockopt(zmq.CURVE_SERVER, 1)
        listener.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        listener.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        listener.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """A client's key pair, and the public key of its server."""

    server: bytes
    public: bytes
    secret: bytes

    @classmethod
    def load(cls, server_key: str | Path, keys: str | Path) -> ClientKeys:
        """Read the keys.

        Args:
            server_key: The server's public key: its 40 characters, or the file `server.key`.
            keys: The file `NAME.key_secret` with the client's own key pair.

        Raises:
            SpecError: A file is missing or holds no key, or other users can read the secret key.
        """
        return cls(_server_key(server_key), *_read_pair(Path(keys).expanduser()))

    def protect(self, connecting: zmq.Socket[bytes]) -> None:
        """Make a socket a CURVE client; to be called before it connects."""
        connecting.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        connecting.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        connecting.setsockopt(zmq.CURVE_SECRETKEY, self.secret)


def write_keys(folder: str | Path, clients: Iterable[str]) -> list[Path]:
    """Create the keys of a server and its clients that do not exist yet.

    Args:
        folder: Created where it does not exist, readable by its owner only.
        clients: Names of clients to admit.

    Returns:
        The new files.

    Raises:
        SpecError: A name cannot be a file name, or libzmq was built without CURVE.
    """
    _check_curve()
    names = list(clients)
    bad = [n for n in names if not _NAME.fullmatch(n) or n == SERVER]
    if bad:
        raise SpecError("bad keys", [f"{n!r} cannot be the name of a client" for n in bad])
    folder = Path(folder)
    admitted = folder / CLIENTS
    admitted.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name, public_in in [(SERVER, folder), *((name, admitted) for name in names)]:
        if not (public_in / f"{name}.key").exists():
            made += _write_pair(name, folder, public_in)
    return made


def _write_pair(name: str, folder: Path, public_in: Path) -> list[Path]:
    previous = os.umask(0o077)  # never readable by others, not even for a moment
    try:
        public, secret = map(Path, zmq.auth.create_certificates(folder, name))
    finally:
        os.umask(previous)
    for path in (public, secret):
        path.chmod(0o600)
    return [public.rename(public_in / public.name), secret]


def _read_pair(path: Path) -> tuple[bytes, bytes]:
    _check_curve()
    public, secret = _read(path)
    if secret is None:
        raise _bad_keys(f"{path} holds no secret key; it is in the .key_secret file")
    if path.stat().st_mode & 0o077:
        raise _bad_keys(f"{path} is open to other users; chmod 600 it")
    return public, secret


def _read(path: Path) -> tuple[bytes, bytes | None]:
    """The public key in a file, and the secret key; None where the file has none."""
    try:
        keys = zmq.auth.load_certificate(path)
    except OSError as error:
        raise _bad_keys(f"{path} cannot be read ({error.strerror or error}); {_HINT}") from None
    except ValueError:
        raise _bad_keys(f"{path} holds no key; {_HINT}") from None
    for key in filter(None, keys):
        _check_key(key, str(path))
    return keys


def _check_key(key: bytes, where: str) -> None:
    try:
        if len(z85.decode(key)) == KEY_BYTES:
            return
    except (KeyError, ValueError, struct.error) as error:
        logger.debug("%s is not Z85: %s", where, error)
    raise _bad_keys(f"{where} holds no key of {KEY_CHARS} characters in Z85; {_HINT}")


def _bad_keys(problem: str) -> SpecError:
    return SpecError("bad keys", [f"keys: {problem}"])


def _server_key(key: str | Path) -> bytes:
    path = Path(key).expanduser()
    if isinstance(key, str) and len(key) == KEY_CHARS and not path.exists():
        _check_key(key.encode("utf-8", "replace"), "server_key")
        return key.encode()
    try:
        return _read(path)[0]
    except SpecError as error:
        raise SpecError(
            "bad keys",
            [
                f"server_key is neither a key of {KEY_CHARS} characters nor its file: {problem}"
                for problem in error.problems
            ],
        ) from None


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise SpecError("bad keys", ["this libzmq was built without CURVE"])
