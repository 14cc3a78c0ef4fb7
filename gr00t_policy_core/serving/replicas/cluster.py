# SPDX-License-Identifier: Apache-2.0
"""Ray itself: started for this process alone, or joined; and left again."""

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
from gr00t_policy_core.serving.replicas.orphan_reaper import Undertaker

logger = logging.getLogger(__name__)

AUTO = "auto"
ANSWER_S = 5.0  # Ray itself would wait for minutes
LEAVE_S = 20.0  # Ray needs about 5 s to begin, and 2 s to end
NO_SIGTERM_HANDLER = "SIGTERM handler is not set"
# Read by Ray as its processes start. What the user has set stays.
NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0"}  # and plain logs
# Only so does Ray listen on loopback alone; else all but its dashboard listen on every interface.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
AUTH_MODE, AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


class Cluster:
    """This process's connection to Ray.

    Args:
        address: Of a cluster that this machine is part of, ``HOST:PORT`` or ``auto``. None starts
            Ray for this process: on loopback, without a dashboard, and nobody else comes in. (Where
            Ray was imported before, it listens where its own settings say.) Ray that this process
            has started or joined already is used, and left as it is.

    Raises:
        SpecError: An address of a kind that is not supported.
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
        self._state = threading.Lock()
        self._connected = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._stay, name="gr00t-policy-ray", daemon=True)

    def join(self) -> Any:
        """Start or join Ray; returns the module.

        Raises:
            ImportError: Ray is not installed.
            AddressError: It cannot be started, or there is none at that address.
            ClosedError: After `leave`.
        """
        _import_ray(self._environment())
        with self._state:
            if self._leave.is_set():
                raise ClosedError("Ray was left before it was joined")
            self._thread.start()
        self._connected.wait()
        if self._error is not None:
            where = "on this machine" if self._address is None else f"at {self._address}"
            raise AddressError(
                f"cannot reach Ray {where}: {' '.join(str(self._error).split())[:300]}"
            ) from self._error
        return self._ray

    def leave(self) -> None:
        """End what was started here; a cluster that was joined goes on. May be called again."""
        with self._state:
            self._leave.set()
        if self._thread.is_alive():
            self._thread.join(LEAVE_S)

    def _stay(self) -> None:
        """Ray's processes end with the *thread* that started them (prctl), so one stays for them.

        It is not the main thread, where Ray would put a SIGTERM handler in place of ours.
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
        chatter = logging.getLogger("ray._private.worker")
        chatter.addFilter(_is_no_chatter)
        leaving.callback(chatter.removeFilter, _is_no_chatter)
        if self._address is None:
            undertaker = Undertaker()
            leaving.callback(undertaker.close)
            leaving.callback(self._ray.shutdown)
            with signals.kept():
                here = self._ray.init("local", include_dashboard=False, configure_logging=False)
            undertaker.watch(os.path.realpath(here.address_info["session_dir"]))
            return
        if self._address != AUTO:
            host, _, port = self._address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
        leaving.callback(self._ray.shutdown)
        with signals.kept():
            self._ray.init(self._address, configure_logging=False)

    def _environment(self) -> dict[str, str]:
        if self._address is not None:
            return NO_REPORTS
        settings = {**NO_REPORTS, **LOOPBACK_ONLY}
        if AUTH_MODE not in os.environ and AUTH_TOKEN not in os.environ:
            settings |= {AUTH_MODE: "token", AUTH_TOKEN: secrets.token_hex(32)}
        return settings


def _import_ray(environment: dict[str, str]) -> Any:
    if "ray" not in sys.modules:  # later they would be believed by its processes, not by this one
        for name, value in environment.items():
            os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(f"replicas need Ray: pip install '.[ray]' ({error})") from None


def _is_no_chatter(record: logging.LogRecord) -> bool:
    return NO_SIGTERM_HANDLER not in record.getMessage()
