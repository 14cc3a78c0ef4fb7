# SPDX-License-Identifier: Apache-2.0
"""One replica, as it is in its own process: a policy that is told by name what to do."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.errors import PolicyError, RemoteError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy, BatchRule, ClientScope, ModalityPolicy
from gr00t_policy_core.serving.wire.error_text import error_text

logger = logging.getLogger(__name__)

# Calls run in one thread of the actor; this one has a thread of its own and ends with the process.
LIFE = "life"
THREADS_VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes of a policy, told once.

    Args:
        configs: By modality.
        dimensions: As `BasePolicy.get_dimensions`.
        capabilities: As `BasePolicy.get_capabilities`.
        max_batch_size: Rows that may be joined.
        rule: How; None: never.
        by_modality: Observations are laid out as `configs` say.
        pid: Of the replica's process.
    """

    configs: dict[str, ModalityConfig]
    dimensions: dict[str, dict[str, int]]
    capabilities: tuple[str, ...]
    max_batch_size: int
    rule: BatchRule | None
    by_modality: bool
    pid: int


class Replica:
    """What Ray makes an actor of. Only the methods are called, and only by a pool."""

    def __init__(self) -> None:
        self._policy: BasePolicy | None = None

    def load(
        self, load: Callable[[], BasePolicy], log_level: int, threads: int | None
    ) -> tuple[Facts | None, PolicyError | None]:
        """Make the policy; returns what it is like, or why it cannot be made.

        Args:
            load: Makes it; what Ray pickles of it must not be much.
            log_level: What is logged here comes to the server's stderr.
            threads: For OpenMP; Ray's own default is one. None leaves that.
        """
        logging.basicConfig(level=log_level, format="%(levelname)s %(name)s: %(message)s")
        if threads is not None:
            os.environ[THREADS_VARIABLE] = str(threads)
        try:
            self._policy = policy = load()
            return _facts(policy), None
        except BaseException as error:
            return None, _sendable("loading", error)

    def call(self, client: str, method: str, *args: Any) -> tuple[Any, PolicyError | None]:
        """What a method of the policy returns for a client, or the error that it raised."""
        try:
            with ClientScope(client):
                return getattr(self._policy, method)(*args), None
        except BaseException as error:
            return None, _sendable(method, error)

    def live(self) -> None:
        """Never returns: whoever waits for it learns of this process's end."""
        threading.Event().wait()


def _facts(policy: BasePolicy) -> Facts:
    rule = policy.get_batch_rule()
    return Facts(
        configs=policy.get_modality_config(),
        dimensions=policy.get_dimensions(),
        capabilities=policy.get_capabilities(),
        max_batch_size=policy.max_batch_size if rule is not None else 1,
        rule=rule,
        by_modality=isinstance(policy, ModalityPolicy),
        pid=os.getpid(),
    )


def _sendable(what: str, error: BaseException) -> PolicyError:
    """An error that every process can read, with the text that a client would get of it."""
    logger.debug("%s failed", what, exc_info=error)
    if isinstance(error, PolicyError) and type(error).__module__ == PolicyError.__module__:
        return error
    return RemoteError(error_text(error))
