# SPDX-License-Identifier: Apache-2.0
"""Replicas of a policy, each in a process of its own, as an execution backend of a server."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gr00t_policy_core.errors import ClosedError, PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy, current_client
from gr00t_policy_core.serving.replicas.cluster import LEAVE_S, Cluster
from gr00t_policy_core.serving.replicas.pooled_policy import PooledPolicy
from gr00t_policy_core.serving.replicas.replica_set import ReplicaSet
from gr00t_policy_core.serving.replicas.replica_slot import (
    ReplicaDiedError,
    ReplicaSlot,
    make_slots,
)
from gr00t_policy_core.serving.replicas.supervisor import JOIN_S, Supervisor

logger = logging.getLogger(__name__)


class _Turn(threading.local):
    """The turn of each thread."""

    is_active = False
    slot: ReplicaSlot | None = None


class ReplicaPool:
    """Replicas of a policy as Ray actors; the `ExecutionBackend` of a server::

        pool = ReplicaPool(load, 4)
        PolicyServer(pool.start, backend=pool).run()

    A call goes to a replica that is free. If that replica dies, the call is made once more in
    another one, and the dead one is replaced. All methods are thread-safe.

    Args:
        load: Makes the policy. Ray pickles it, so use a frozen dataclass with ``__call__`` or a
            function of a module; the machines of the replicas must have that module.
        size: How many replicas to run.
        address: The address of a Ray cluster that this machine is part of, ``HOST:PORT`` or
            ``auto``. None starts Ray on loopback for this process alone, and ends it with it.
        use_gpus: Whether each replica gets a GPU to itself, where Ray knows of GPUs.

    Raises:
        SpecError: A setting is invalid.
    """

    def __init__(
        self,
        load: Callable[[], BasePolicy],
        size: int,
        *,
        address: str | None = None,
        use_gpus: bool = False,
    ) -> None:
        if type(size) is not int or size < 1:
            raise SpecError("bad pool", [f"size must be an integer of at least 1, got {size!r}"])
        self.size = size
        self.close_s = JOIN_S + LEAVE_S
        self._load = load
        self._use_gpus = use_gpus
        self._is_local = address is None
        self._cluster = Cluster(address)
        self._replicas = ReplicaSet()
        self._supervisor = Supervisor(self._replicas)
        self._turn = _Turn()

    def start(self) -> BasePolicy:
        """Start the replicas; returns when the first one is ready, with all of them as one policy.

        Raises:
            ImportError: Ray is not installed.
            AddressError: Ray cannot be started or joined.
            SpecError: Ray has fewer GPUs than `size`.
            PolicyError: No replica could load the policy; the error of the first slot.
            ClosedError: The pool was closed in the meantime.
        """
        ray = self._cluster.join()
        if self._supervisor.is_closing:
            raise ClosedError("the pool is closed")
        self._replicas.add(
            make_slots(
                ray, self._load, self.size, use_gpus=self._use_gpus, share_cpus=self._is_local
            )
        )
        self._supervisor.start()
        description = self._replicas.wait_for_first()
        if self.size > 1 and self._replicas.keeps_affinity:
            logger.warning(
                "the policy does not say that its answers are independent of earlier calls "
                "(max_batch_size is 1): each client stays with one replica, and starts over, "
                "after its last reset, where that is replaced"
            )
        return PooledPolicy(self, description)

    @property
    def ready(self) -> bool:
        """Whether at least one replica is ready."""
        return self._replicas.is_ready

    @contextlib.contextmanager
    def turn(self, client: str) -> Iterator[None]:
        """A context in which this thread has a replica for a client; entering waits for one."""
        self._turn.is_active, self._turn.slot = True, self._replicas.acquire(client)
        try:
            yield
        finally:
            self._turn.is_active = False
            self._release()

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of one replica's policy, and again if its process dies; returns the result.

        Raises:
            PolicyError: The policy raised, both processes died, or no replica is going to answer.
        """
        client = current_client()
        if self._turn.is_active:
            return self._call_with_retry(client, method, *args)
        with self.turn(client):
            return self._call_with_retry(client, method, *args)

    def call_all(self, method: str, *args: Any) -> Any:
        """Call a method in every replica that is ready, while none of them does anything else.

        A replica that dies is replaced like any other, and a replacement is called too before it
        answers anything: the last such call of each client is repeated in it.

        Returns:
            What the last replica returned.

        Raises:
            PolicyError: The policy raised, no replica is ready, or one stays busy for too long.
        """
        client = current_client()
        results = []
        with self._replicas.all_acquired() as slots:
            for slot in slots:
                generation = slot.generation
                try:
                    results.append(slot.call(client, method, *args))
                except ReplicaDiedError:
                    self._replicas.mark_lost(slot, generation)
            self._replicas.record_call(client, (method, *args))
        if not results:
            no_replica = PolicyError("no replica is ready; ping tells when one is")
            raise self._replicas.refusal or no_replica
        return results[-1]

    def status(self) -> dict[str, Any]:
        """The entry ``replicas`` of the server's metrics.

        ``{"size", "ready", "loading", "restarting", "failed", "deaths", "retries", "calls": [of
        each]}``.
        """
        return {
            "replicas": {
                "size": self.size,
                **self._replicas.count_states(),
                "deaths": sum(slot.deaths for slot in self._replicas),
                "retries": sum(slot.retries for slot in self._replicas),
                "calls": [slot.calls for slot in self._replicas],
            }
        }

    def restart(self) -> None:
        """Begin to restart the replicas one after the other; returns at once.

        Each finishes its call in progress first, while the others answer. The restart ends
        where a replica cannot be loaded, or loads another policy (`PolicyDescription`); those that
        are left go on as they were. A second restart during the first does nothing. Safe in a
        signal handler.
        """
        self._supervisor.restart()

    def drain(self) -> None:
        """Begin no further calls, except in threads that have a replica; others get an error."""
        self._replicas.drain()

    def close(self) -> None:
        """End all replicas, and Ray where it was started here. May be called again."""
        self.drain()
        self._supervisor.close()
        self._cluster.leave()

    def _release(self) -> None:
        slot, self._turn.slot = self._turn.slot, None
        if slot is not None:
            self._replicas.release(slot)

    def _call_with_retry(self, client: str, method: str, *args: Any) -> Any:
        for attempt in (1, 2):
            if self._turn.slot is None:
                self._turn.slot = self._replicas.acquire(client)
            slot = self._turn.slot
            if slot is None:
                raise self._replicas.refusal or PolicyError("no replica is available")
            generation = slot.generation
            try:
                return slot.call(client, method, *args)
            except ReplicaDiedError:
                slot.retries += attempt == 1
                self._replicas.mark_lost(slot, generation)
                self._release()
        raise PolicyError("two replicas died while they answered this request")
