# SPDX-License-Identifier: Apache-2.0
"""Answers libzmq's question which clients of a secured server may come in, and logs the others."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

import zmq
from zmq.utils import z85

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.transport.base import Waker
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys

logger = logging.getLogger(__name__)

ZAP_URL = "inproc://zeromq.zap.01"  # where libzmq asks: RFC 27
ZAP_VERSION = b"1.0"
# Where libzmq does not tell the address; kinds apart, each of which begins to be logged anew.
SOMEBODY = "somebody"
# The values of EVENT_HANDSHAKE_FAILED_PROTOCOL in zmq.h; pyzmq has names for them since 23 only.
_CRYPTOGRAPHIC, _MECHANISM_MISMATCH = 0x11000001, 0x11000002
_WRONG = {
    _CRYPTOGRAPHIC: "with the key of another server",
    _MECHANISM_MISMATCH: "without encryption",
}

Refused = Callable[[str, Exception], None]


class Gate:
    """Admits the listed keys only; without it libzmq admits every key. Has a thread of its own.

    pyzmq's own authenticator knows not who asks, so that nobody could be told in the log.

    Args:
        context: Of the socket that is guarded; to be closed after this.
        keys: Of the server.
        refused: Told of the address of each client that is not let in, and why.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys, refused: Refused
    ) -> None:
        self._clients = keys.clients
        self._refused = refused
        self._asked = context.socket(zmq.REP)
        self._asked.setsockopt(zmq.LINGER, 0)
        self._asked.bind(ZAP_URL)
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="gr00t-gate", daemon=True)
        self._thread.start()

    def tell_failed(self, problem: int) -> None:
        """Log a handshake that failed before the gate was asked; in any thread.

        Args:
            problem: The value of libzmq's EVENT_HANDSHAKE_FAILED_PROTOCOL.
        """
        how = _WRONG.get(problem, f"with a malformed handshake (libzmq's code {problem:#x})")
        self._refused(f"{SOMEBODY} {how}", PolicyError("it is not let in"))

    def close(self) -> None:
        """End; to be called once, when the socket that was guarded is closed."""
        self._waker.wake()
        self._thread.join()
        self._waker.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        for waited_for in (self._asked, self._waker.out.fileno()):
            poller.register(waited_for, zmq.POLLIN)
        with contextlib.closing(self._asked):
            while True:
                ready = dict(poller.poll())
                if self._waker.out.fileno() in ready:
                    return
                if self._asked in ready:
                    self._answer(self._asked.recv_multipart())

    def _answer(self, frames: list[bytes]) -> None:
        """Whether a client may come in: a reply to ZAP's question."""
        question = frames[1] if len(frames) > 1 else b""
        verdict = [b"500", b"failed", b""]
        try:
            verdict = self._verdict(*frames[3:4], *frames[5:])
        except Exception:  # a fault of ours: everybody else is still to be let in
            logger.exception("a client is not let in")
        self._asked.send_multipart([ZAP_VERSION, question, *verdict, b""])

    def _verdict(self, address: bytes, mechanism: bytes, *credentials: bytes) -> list[bytes]:
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" else b""
        name = self._clients.get(key)
        if name is None:
            peer = address.decode("ascii", "replace") or SOMEBODY
            self._refused(peer, PolicyError(f"its key {key.decode()} is not listed"))
            return [b"400", b"not listed", b""]
        logger.debug("%s is let in", name)
        return [b"200", b"OK", name.encode()]
