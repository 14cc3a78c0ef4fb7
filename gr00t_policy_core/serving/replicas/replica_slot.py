# SPDX-License-Identifier: Apache-2.0
"""A slot of a pool for one replica: its current process, and calls to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.replicas.replica import (
    LIVENESS,
    THREADS_VARIABLE,
    PolicyDescription,
    Replica,
)

LOADING, READY, RESTARTING, FAILED = STATES = ("loading", "ready", "restarting", "failed")


class ReplicaDiedError(PolicyError):
    """The process of a replica ended before it answered."""


class ReplicaSlot:
    """One replica at a time, each in a process of its own.

    Args:
        ray: The module, connected to a cluster.
        number: Names the slot in the log, from 1.
        load: Makes the policy in the process of the replica.
        gpus: How many GPUs each replica has to itself.
        log_level: The level of the log in the process of the replica.
        threads: How many threads OpenMP uses there; None leaves that to Ray.

    Attributes:
        state: One of `STATES`. The `ReplicaSet` guards this and the next four.
        is_busy: Whether a call is in progress.
        is_leaving: Whether the replica is being restarted, and begins no further call.
        generation: How many replicas this slot had before the current one.
        problem: Why the last replica could not be loaded.
        calls: How many calls were made.
        deaths: How many replicas ended unasked.
        retries: How many calls were made again elsewhere because a replica died.
    """

    def __init__(
        self,
        ray: Any,
        number: int,
        load: Callable[[], BasePolicy],
        *,
        gpus: int,
        log_level: int,
        threads: int | None,
    ) -> None:
        self.number = number
        self.state = LOADING
        self.is_busy = False
        self.is_leaving = False
        self.generation = 0
        self.problem: PolicyError | None = None
        self.calls = 0
        self.deaths = 0  # written by the slot's supervising thread only
        self.retries = 0  # written by the thread that has the slot, like `calls`
        self._ray = ray
        self._load_args = (load, log_level, threads)
        actor = ray.remote(
            num_cpus=0,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={LIVENESS: 1},
            scheduling_strategy="SPREAD",
        )
        self._make_actor = actor(Replica).remote
        self._actor: Any = None
        self._liveness: Any = None
        self._is_closed = False

    def load(self) -> PolicyDescription:
        """Start a process, and load the policy in it.

        Raises:
            PolicyError: The policy could not be loaded.
        """
        try:
            self._actor = self._make_actor()
            if self._is_closed:
                self.kill()
            description, error = self._ray.get(self._actor.load.remote(*self._load_args))
            waiting = self._actor.wait_forever.options(concurrency_group=LIVENESS)
            self._liveness = waiting.remote()
        except self._ray.exceptions.RayError as raised:
            raise PolicyError(f"its process failed: {_summary(raised)}") from raised
        if error is not None:
            raise error
        loaded: PolicyDescription = description
        return loaded

    def wait_for_end(self) -> str:
        """Wait until the process has ended; returns the reason, as Ray tells it."""
        try:
            self._ray.get(self._liveness)
        except self._ray.exceptions.RayError as error:
            return _summary(error)
        return "it returned"

    def call(self, client: str, method: str, *args: Any) -> Any:
        """Call a method of the policy for a client; returns its result.

        Raises:
            ReplicaDiedError: The process ended before it answered.
            PolicyError: The policy raised, or the arguments or the result could not be sent.
        """
        self.calls += 1
        actor = self._actor
        try:
            result, error = self._ray.get(actor.call.remote(client, method, *args))
        except self._ray.exceptions.RayActorError as raised:
            self._ray.kill(actor)  # it may run on, out of reach
            raise ReplicaDiedError(_summary(raised)) from raised
        except self._ray.exceptions.RayError as raised:
            raise PolicyError(f"replica {self.number} failed: {_summary(raised)}") from raised
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """End the process, if there is one."""
        if self._actor is not None:
            self._ray.kill(self._actor)

    def close(self) -> None:
        """End the process, and any that is started later."""
        self._is_closed = True
        self.kill()


def make_slots(
    ray: Any, load: Callable[[], BasePolicy], size: int, *, use_gpus: bool, share_cpus: bool
) -> list[ReplicaSlot]:
    """Make the slots of a pool.

    Args:
        ray: The module, connected to a cluster.
        load: Makes the policy in the process of a replica.
        size: How many slots to make.
        use_gpus: Whether each replica gets a GPU to itself, where Ray has any.
        share_cpus: Whether all replicas run on this machine. Each then gets an equal share of the
            CPUs for OpenMP, unless the environment says how many.

    Raises:
        SpecError: Ray has fewer GPUs than there are replicas.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0)) if use_gpus else 0
    if gpus and size > gpus:
        raise SpecError("bad pool", [f"{size} replicas need a GPU each, Ray has {gpus} in all"])
    share = max(1, (os.cpu_count() or 1) // size)
    return [
        ReplicaSlot(
            ray,
            number,
            load,
            gpus=1 if gpus else 0,
            log_level=logging.getLogger().getEffectiveLevel(),
            threads=share if share_cpus and THREADS_VARIABLE not in os.environ else None,
        )
        for number in range(1, size + 1)
    ]


def _summary(error: BaseException) -> str:
    """The last line of Ray's pages-long error, without its guesses at the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[-1].partition(' Some common causes')[0]}"[:300]
