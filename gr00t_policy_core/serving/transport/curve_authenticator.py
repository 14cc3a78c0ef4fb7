# SPDX-License-Identifier: Apache-2.0
"""The ZAP authenticator (RFC 27) of a secured server: admits clients whose key is listed."""

from __future__ import annotations

import contextlib
import logging
import threading

import zmq
from zmq.utils import z85

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.serving.transport.base import OnReject, Waker
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys

logger = logging.getLogger(__name__)

ZAP_URL = "inproc://zeromq.zap.01"  # where libzmq sends its questions
ZAP_VERSION = b"1.0"
UNKNOWN_ADDRESS = "unknown address"  # libzmq does not tell the address of a failed handshake
# Values of EVENT_HANDSHAKE_FAILED_PROTOCOL in zmq.h; pyzmq has names for them only since 23.
_CRYPTOGRAPHIC, _MECHANISM_MISMATCH = 0x11000001, 0x11000002
_CAUSES = {
    _CRYPTOGRAPHIC: "with the key of another server",
    _MECHANISM_MISMATCH: "without encryption",
}


class CurveAuthenticator:
    """Admits clients whose public key is listed; without it libzmq admits every key.

    Runs in a thread of its own. The authenticator of pyzmq does not tell which address a rejected
    client has, so it could not be logged.

    Args:
        context: The context of the socket to protect; close it after this object.
        keys: The key pair of the server, and the public keys of its clients.
        on_reject: Called with the address of each rejected client, and why.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys, on_reject: OnReject
    ) -> None:
        self._clients = keys.clients
        self._on_reject = on_reject
        self._requests = context.socket(zmq.REP)
        self._requests.setsockopt(zmq.LINGER, 0)
        self._requests.bind(ZAP_URL)
        self._waker = Waker()
        self._thread = threading.Thread(target=self._run, name="gr00t-authenticator", daemon=True)
        self._thread.start()

    def report_failed_handshake(self, cause: int) -> None:
        """Report a handshake that failed before libzmq asked here; in any thread.

        Args:
            cause: The value of libzmq's EVENT_HANDSHAKE_FAILED_PROTOCOL.
        """
        how = _CAUSES.get(cause, f"with a malformed handshake (libzmq's code {cause:#x})")
        # The cause is part of the address: the log limits how often it reports each address.
        self._on_reject(f"{UNKNOWN_ADDRESS} {how}", PolicyError("the client was rejected"))

    def close(self) -> None:
        """End the thread; call it once, after the protected socket is closed."""
        self._waker.wake()
        self._thread.join()
        self._waker.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        for source in (self._requests, self._waker.readable.fileno()):
            poller.register(source, zmq.POLLIN)
        with contextlib.closing(self._requests):
            while True:
                ready = dict(poller.poll())
                if self._waker.readable.fileno() in ready:
                    return
                if self._requests in ready:
                    self._reply_to(self._requests.recv_multipart())

    def _reply_to(self, frames: list[bytes]) -> None:
        request_id = frames[1] if len(frames) > 1 else b""
        status = [b"500", b"failed", b""]
        try:
            status = self._authenticate(*frames[3:4], *frames[5:])
        except Exception:  # a fault of ours, which must not stop the authenticator
            logger.exception("a client could not be authenticated and is rejected")
        self._requests.send_multipart([ZAP_VERSION, request_id, *status, b""])

    def _authenticate(self, address: bytes, mechanism: bytes, *credentials: bytes) -> list[bytes]:
        """The status code, status text and user id of a ZAP reply."""
        key = z85.encode(credentials[0]) if mechanism == b"CURVE" else b""
        name = self._clients.get(key)
        if name is None:
            peer = address.decode("ascii", "replace") or UNKNOWN_ADDRESS
            self._on_reject(peer, PolicyError(f"its key {key.decode()} is not listed"))
            return [b"400", b"not listed", b""]
        logger.debug("client %s is admitted", name)
        return [b"200", b"OK", name.encode()]
