# SPDX-License-Identifier: Apache-2.0
"""One place in a pool: the replica that has it now, and calls to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.replicas.replica import LIFE, THREADS_VARIABLE, Facts, Replica

LOADING, READY, RESTARTING, FAILED = STATES = ("loading", "ready", "restarting", "failed")


class ReplicaDiedError(PolicyError):
    """The process that was asked is gone."""


class Slot:
    """A replica at a time. The attributes are the pool's, under its lock.

    Args:
        ray: The module.
        number: From 1, for the log.
        load: Makes the policy, in the replica's process.
        gpus: That each replica has to itself.
        log_level: In the replica's process.
        threads: For OpenMP there; None leaves that to Ray.
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
        self.busy = False  # a call is in progress
        self.leaving = False  # is restarted: no further call begins
        self.calls = 0
        self.lives = 0  # processes that are gone
        self.problem: PolicyError | None = None  # why it could not be loaded
        self._ray = ray
        self._load = (load, log_level, threads)
        actor = ray.remote(
            num_cpus=0,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={LIFE: 1},
            scheduling_strategy="SPREAD",
        )
        self._make = actor(Replica).remote
        self._replica: Any = None
        self._life: Any = None
        self._closed = False

    def begin(self) -> Facts:
        """A new process with the policy in it.

        Raises:
            PolicyError: It could not be loaded.
        """
        try:
            self._replica = self._make()
            if self._closed:
                self.kill()
            facts, error = self._ray.get(self._replica.load.remote(*self._load))
            self._life = self._replica.live.options(concurrency_group=LIFE).remote()
        except self._ray.exceptions.RayError as raised:
            raise PolicyError(f"its process failed: {_summary(raised)}") from raised
        if error is not None:
            raise error
        told: Facts = facts
        return told

    def wait_for_its_end(self) -> str:
        """Wait until the process is gone; returns what Ray says of it."""
        try:
            self._ray.get(self._life)
        except self._ray.exceptions.RayError as error:
            return _summary(error)
        return "it returned"

    def call(self, client: str, method: str, *args: Any) -> Any:
        """What a method of its policy returns for a client.

        Raises:
            ReplicaDiedError: The process ended before it answered.
            PolicyError: The policy raised, or what was sent could not be.
        """
        self.calls += 1
        replica = self._replica
        try:
            result, error = self._ray.get(replica.call.remote(client, method, *args))
        except self._ray.exceptions.RayActorError as raised:
            self._ray.kill(replica)  # it may only be out of reach
            raise ReplicaDiedError(_summary(raised)) from raised
        except self._ray.exceptions.RayError as raised:
            raise PolicyError(f"replica {self.number} failed: {_summary(raised)}") from raised
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self._replica is not None:
            self._ray.kill(self._replica)

    def close(self) -> None:
        """End it, and whatever is begun later."""
        self._closed = True
        self.kill()


def make(
    ray: Any, load: Callable[[], BasePolicy], size: int, *, use_gpus: bool, share_cpus: bool
) -> list[Slot]:
    """The slots of a pool.

    Args:
        ray: The module, started.
        load: Makes the policy.
        size: How many.
        use_gpus: A GPU for each, where Ray has any.
        share_cpus: All are on this machine: each gets its share of the CPUs for OpenMP, where the
            user has not said how many. Ray's own default is one.

    Raises:
        SpecError: There are fewer GPUs.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0)) if use_gpus else 0
    if gpus and size > gpus:
        raise SpecError("bad pool", [f"{size} replicas need a GPU each, Ray has {gpus} in all"])
    share = max(1, (os.cpu_count() or 1) // size)
    return [
        Slot(
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
    """Ray's errors are pages long: the last line, without its guesses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[-1].partition(' Some common causes')[0]}"[:300]
