# SPDX-License-Identifier: Apache-2.0
"""CURVE: encrypted connections, and only for clients whose public keys the server has.

A folder of keys, as `gr00t-policy keys` makes it::

    server.key              the server's public key, for its clients
    server.key_secret       stays on the server
    clients/NAME.key        the public key of each client that is admitted
    NAME.key_secret         goes to the client NAME, and can then be removed here

The files are those of pyzmq's `zmq.auth`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from gr00t_policy_core.errors import SpecError

SERVER = "server"
CLIENTS = "clients"
DOMAIN = "gr00t-policy"  # of ZAP: any text, but one that is asked about
KEY_CHARS = 40  # of a key of 32 bytes in Z85
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a server needs: its own pair, and the folder with the keys of its clients."""

    public: bytes
    secret: bytes
    clients: Path

    @classmethod
    def load(cls, folder: str | Path) -> ServerKeys:
        """Read a folder that `write_keys` made.

        Raises:
            SpecError: Something is missing there, or secret keys are open to other users.
        """
        folder = Path(folder)
        public, secret = _read_pair(folder / f"{SERVER}.key_secret")
        clients = folder / CLIENTS
        if not any(clients.glob("*.key")):
            raise SpecError("bad keys", [f"no client is listed in {clients}, so none could come"])
        return cls(public, secret, clients)

    def protect(self, listener: zmq.Socket[bytes]) -> None:
        """Make a socket a CURVE server; to be called before it is bound."""
        listener.setsockopt(zmq.CURVE_SERVER, 1)
        listener.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        listener.setsockopt(zmq.CURVE_SECRETKEY, self.secret)
        listener.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())


class Gate:
    """Answers libzmq's question who may come in, in a thread of its own (ZAP, RFC 27).

    Without it libzmq admits every key.

    Args:
        context: Of the socket that is guarded; to be closed after this.
        keys: Of the server.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys) -> None:
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain=DOMAIN, location=str(keys.clients))

    def close(self) -> None:
        self._authenticator.stop()


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client needs: the server's public key, and its own pair."""

    server: bytes
    public: bytes
    secret: bytes

    @classmethod
    def load(cls, server_key: str | Path, keys: str | Path) -> ClientKeys:
        """Read them.

        Args:
            server_key: The server's public key: its 40 characters, or the file `server.key`.
            keys: The client's own `NAME.key_secret`.

        Raises:
            SpecError: No such file, or no such key in it.
        """
        return cls(_server_key(server_key), *_read_pair(Path(keys).expanduser()))

    def protect(self, connecting: zmq.Socket[bytes]) -> None:
        """Make a socket a CURVE client; to be called before it connects."""
        connecting.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        connecting.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        connecting.setsockopt(zmq.CURVE_SECRETKEY, self.secret)


def write_keys(folder: str | Path, clients: Iterable[str]) -> list[Path]:
    """Make what is missing of a server's and its clients' keys; what is there stays.

    Args:
        folder: Made where it is not there, for its owner alone.
        clients: Names of clients to admit.

    Returns:
        The files that are new.

    Raises:
        SpecError: A name that is no name for a file, or a libzmq without CURVE.
    """
    _check_curve()
    names = list(clients)
    bad = [n for n in names if not _NAME.fullmatch(n) or n == SERVER]
    if bad:
        raise SpecError("bad keys", [f"{n!r} is no name for a client" for n in bad])
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
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise _bad_keys(f"{error}; `gr00t-policy keys` makes such files") from None
    if secret is None:
        raise _bad_keys(f"{path} holds no secret key; it is in the .key_secret file")
    if path.stat().st_mode & 0o077:
        raise _bad_keys(f"{path} is open to other users; chmod 600 it")
    return public, secret


def _bad_keys(problem: str) -> SpecError:
    return SpecError("bad keys", [f"keys: {problem}"])


def _server_key(key: str | Path) -> bytes:
    path = Path(key).expanduser()
    if isinstance(key, str) and len(key) == KEY_CHARS and not path.exists():
        return key.encode()
    try:
        return zmq.auth.load_certificate(path)[0]
    except (OSError, ValueError) as error:
        raise SpecError(
            "bad keys",
            [f"server_key is neither a key of {KEY_CHARS} characters nor its file: {error}"],
        ) from None


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise SpecError("bad keys", ["this libzmq was built without CURVE"])
