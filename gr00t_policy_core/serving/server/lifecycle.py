# SPDX-License-Identifier: Apache-2.0
"""The state of a server: loading, ready, stopping or failed."""

from __future__ import annotations

import uuid

from gr00t_policy_core.serving.server.execution_backend import ExecutionBackend
from gr00t_policy_core.serving.server.served_policy import ServedPolicy
from gr00t_policy_core.serving.wire.envelope import STOPPING_ERROR

LOAD_FAILED = "the policy could not be loaded; the server's own log says why"


class Lifecycle:
    """Holds the state that all parts of a server read. Safe in any thread.

    A server goes from ``loading`` to ``ready`` to ``stopping``, or from ``loading`` to ``failed``.

    Args:
        backend: Where the policy runs. While it is not ready, the server counts as loading.

    Attributes:
        run: Identifies this run of the server, so that clients notice a restart and ask again.
    """

    def __init__(self, backend: ExecutionBackend) -> None:
        self.run = uuid.uuid4().hex
        self._backend = backend
        self._served: ServedPolicy | None = None
        self._load_error: BaseException | None = None
        self._is_stopping = False

    @property
    def state(self) -> str:
        """``loading``, ``ready``, ``stopping`` or ``failed``."""
        if self._load_error is not None:
            return "failed"
        if self._is_stopping:
            return "stopping"
        return "ready" if self._served is not None and self._backend.ready else "loading"

    @property
    def served(self) -> ServedPolicy | None:
        """The policy; None until it is loaded."""
        return self._served

    @property
    def load_error(self) -> BaseException | None:
        """The error that loading the policy raised; None if there was none."""
        return self._load_error

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no more requests."""
        return self._is_stopping

    @property
    def refusal(self) -> str | None:
        """Why the server refuses requests; None while it accepts them."""
        if self._load_error is not None:
            return LOAD_FAILED
        return STOPPING_ERROR if self._is_stopping else None

    def policy_loaded(self, served: ServedPolicy) -> None:
        """Note that the policy is loaded and requests can be answered."""
        self._served = served

    def loading_failed(self, error: BaseException) -> None:
        """Note that the policy cannot be loaded, which ends a server that is not stopping yet."""
        if not self._is_stopping:  # stopping interrupts the loading of replicas
            self._load_error = error
            self._is_stopping = True

    def stop(self) -> None:
        """Refuse requests from here on."""
        self._is_stopping = True
