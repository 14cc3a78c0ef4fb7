# SPDX-License-Identifier: Apache-2.0
"""A replica as it is in its own process: a policy whose methods are called by name."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gr00t_policy_core.errors import PolicyError, RemoteError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy, BatchRule, ClientScope, ModalityPolicy
from gr00t_policy_core.serving.wire.error_text import error_text

logger = logging.getLogger(__name__)

# The concurrency group of `Replica.wait_forever`: a thread of its own beside that of the calls.
LIVENESS = "liveness"
THREADS_VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class PolicyDescription:
    """The self-description of a policy. Descriptions of replicas of one policy are equal.

    Args:
        configs: The modality configs, by modality.
        dimensions: Values per step of each key, from `BasePolicy.get_dimensions`.
        capabilities: What the policy can do beyond its interface (`BasePolicy.get_capabilities`).
        max_batch_size: How many rows (B) one call may have.
        is_modality_policy: Whether observations are laid out as `configs` say.
        batch_rule: Decides which requests may be joined; None if only the policy itself can.
        pid: The process of the replica.
    """

    configs: dict[str, ModalityConfig]
    dimensions: dict[str, dict[str, int]]
    capabilities: tuple[str, ...]
    max_batch_size: int
    is_modality_policy: bool
    batch_rule: BatchRule | None = field(compare=False)  # may have no `==` of its own
    pid: int = field(compare=False)

    @classmethod
    def of(cls, policy: BasePolicy) -> PolicyDescription:
        """Describe a policy of this process."""
        batch_rule = policy.get_batch_rule()
        return cls(
            configs=policy.get_modality_config(),
            dimensions=policy.get_dimensions(),
            capabilities=policy.get_capabilities(),
            max_batch_size=policy.max_batch_size if batch_rule is not None else 1,
            is_modality_policy=isinstance(policy, ModalityPolicy),
            batch_rule=batch_rule,
            pid=os.getpid(),
        )


class Replica:
    """The class of the Ray actor. Only a `ReplicaSlot` calls its methods."""

    def __init__(self) -> None:
        self._policy: BasePolicy | None = None

    def load(
        self, load: Callable[[], BasePolicy], log_level: int, threads: int | None
    ) -> tuple[PolicyDescription | None, PolicyError | None]:
        """Make the policy; returns its description, or why it cannot be made.

        Args:
            load: Makes the policy in this process. Ray has pickled it.
            log_level: The level of this process's log, which Ray passes on to the server's stderr.
            threads: How many threads OpenMP uses. None leaves that to Ray, whose default is one.
        """
        logging.basicConfig(level=log_level, format="%(levelname)s %(name)s: %(message)s")
        if threads is not None:
            os.environ[THREADS_VARIABLE] = str(threads)
        try:
            self._policy = policy = load()
            return PolicyDescription.of(policy), None
        except BaseException as error:
            return None, _sendable("loading", error)

    def call(self, client: str, method: str, *args: Any) -> tuple[Any, PolicyError | None]:
        """Call a method of the policy for a client; returns its result, or the error it raised."""
        try:
            with ClientScope(client):
                return getattr(self._policy, method)(*args), None
        except BaseException as error:
            return None, _sendable(method, error)

    def wait_forever(self) -> None:
        """Never return: whoever waits for the result learns when this process ends."""
        threading.Event().wait()


def _sendable(what: str, error: BaseException) -> PolicyError:
    """An error that every process can unpickle, with the text that a client would get."""
    logger.debug("%s failed", what, exc_info=error)
    if isinstance(error, PolicyError) and type(error).__module__ == PolicyError.__module__:
        return error
    return RemoteError(error_text(error))
