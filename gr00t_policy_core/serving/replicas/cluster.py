# SPDX-License-Identifier: Apache-2.0
"""The connection to Ray, which is started for this process alone or joined as a cluster."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import secrets
import socket
import sys
import threading
from typing import Any

from gr00t_policy_core.errors import AddressError, ClosedError, SpecError
from gr00t_policy_core.serving.replicas import signals
from gr00t_policy_core.serving.replicas.orphan_reaper import OrphanReaper
from gr00t_policy_core.serving.replicas.ray_servers import ended_server

logger = logging.getLogger(__name__)

AUTO = "auto"
CONNECT_S = 5.0  # to find out whether a cluster is there; Ray itself waits for minutes
LOOK_S = 1.0  # between two looks at whether Ray's processes still live while they start
LEAVE_S = 20.0  # Ray takes about 5 s to start, and 2 s to end
NO_SIGTERM_HANDLER = "SIGTERM handler is not set"
# Ray reads these variables when its processes start. What the user has set stays.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0"}  # no reports, no colours
# Without it all of Ray but its dashboard listens on every interface, not on loopback alone.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Ray gives its processes 30 s to start, which they may not manage on a busy or slow machine. Here
# they are waited for as long as they live: `join` notices when one ends.
PATIENT = {
    "RAY_gcs_server_port_wait_time_s": "600",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
}
AUTH_MODE, AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


class Cluster:
    """This process's connection to Ray.

    Args:
        address: The address of a cluster that this machine is part of, ``HOST:PORT`` or ``auto``.
            None starts Ray for this process alone: on loopback, without a dashboard, with a token
            that only its own processes know. (If Ray was imported before, it listens where its own
            settings say.) If this process has started or joined Ray already, that is used, and
            left as it is.

    Raises:
        SpecError: The address is of a kind that is not supported.
    """

    def __init__(self, address: str | None) -> None:
        if address not in (None, AUTO) and not re.fullmatch(r"[^/]+:\d{1,5}", address):
            raise SpecError(
                "bad Ray address",
                [f"{address}: give HOST:PORT, and run the server on a machine of the cluster"],
            )
        self._address = address
        self._ray: Any = None
        self._error: BaseException | None = None
        self._has_failed = False  # a process of Ray has ended; Ray itself still waits for it
        self._state = threading.Lock()
        self._connected = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="gr00t-policy-ray", daemon=True)

    def join(self) -> Any:
        """Start or join Ray; returns the module ``ray``.

        Raises:
            ImportError: Ray is not installed.
            AddressError: Ray cannot be started, or none answers at the address.
            ClosedError: `leave` was called before.
        """
        _import_ray(self._environment())
        with self._state:
            if self._leave.is_set():
                raise ClosedError("Ray was left before it was joined")
            self._thread.start()
        while not self._connected.wait(LOOK_S):
            if self._address is None and (name := ended_server()):
                self._has_failed = True
                raise AddressError(
                    f"cannot start Ray on this machine: its process {name} has ended; see its log "
                    "in /tmp/ray/session_latest/logs"
                )
        if self._error is not None:
            where = "on this machine" if self._address is None else f"at {self._address}"
            raise AddressError(
                f"cannot reach Ray {where}: {' '.join(str(self._error).split())[:300]}"
            ) from self._error
        return self._ray

    def leave(self) -> None:
        """End Ray if it was started here; a joined cluster goes on. May be called again."""
        with self._state:
            self._leave.set()
        if self._thread.is_alive() and not self._has_failed:
            self._thread.join(LEAVE_S)

    def _stay(self) -> None:
        """Connect to Ray, and stay until `leave`, in a thread of its own.

        Ray's processes end with the *thread* that started them (prctl), so that thread has to stay.
        It is not the main thread, in which Ray would replace our SIGTERM handler.
        """
        with contextlib.ExitStack() as leaving:
            try:
                self._ray = _import_ray({})
                if not self._ray.is_initialized():
                    self._connect(leaving)
            except BaseException as error:
                self._error = error
                return
            finally:
                self._connected.set()
            self._leave.wait()

    def _connect(self, leaving: contextlib.ExitStack) -> None:
        ray_logger = logging.getLogger("ray._private.worker")
        ray_logger.addFilter(_is_worth_logging)
        leaving.callback(ray_logger.removeFilter, _is_worth_logging)
        if self._address is None:
            reaper = OrphanReaper()
            leaving.callback(reaper.close)
            leaving.callback(self._ray.shutdown)
            with signals.handlers_kept():
                self._ray.init("local", include_dashboard=False, configure_logging=False)
            return
        if self._address != AUTO:
            host, _, port = self._address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        leaving.callback(self._ray.shutdown)
        with signals.handlers_kept():
            self._ray.init(self._address, configure_logging=False)

    def _environment(self) -> dict[str, str]:
        if self._address is not None:
            return QUIET
        settings = {**QUIET, **LOOPBACK_ONLY, **PATIENT}
        if AUTH_MODE not in os.environ and AUTH_TOKEN not in os.environ:
            settings |= {AUTH_MODE: "token", AUTH_TOKEN: secrets.token_hex(32)}
        return settings


def _import_ray(environment: dict[str, str]) -> Any:
    if "ray" not in sys.modules:  # afterwards only its processes, not this one, would read them
        for name, value in environment.items():
            os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(f"replicas need Ray: pip install '.[ray]' ({error})") from None


def _is_worth_logging(record: logging.LogRecord) -> bool:
    return NO_SIGTERM_HANDLER not in record.getMessage()
