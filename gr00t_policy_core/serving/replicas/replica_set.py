# SPDX-License-Identifier: Apache-2.0
"""Hands out the replicas of a pool to threads."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from gr00t_policy_core.errors import ClosedError, PolicyError
from gr00t_policy_core.serving.replicas.client_affinity import Call, ClientAffinity
from gr00t_policy_core.serving.replicas.replica import PolicyDescription
from gr00t_policy_core.serving.replicas.replica_slot import (
    FAILED,
    READY,
    RESTARTING,
    STATES,
    ReplicaSlot,
)
from gr00t_policy_core.serving.wire.envelope import STOPPING_ERROR

logger = logging.getLogger(__name__)

DRAIN_S = 60.0  # a longer call holds up neither a rolling restart nor a call to all replicas


class ReplicaSet:
    """Hands out replicas, each to one thread at a time. Thread-safe."""

    def __init__(self) -> None:
        self._slots: list[ReplicaSlot] = []
        self._description: PolicyDescription | None = None
        self._affinity = ClientAffinity()
        self._is_draining = False
        self._is_calling_all = False
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[ReplicaSlot]:
        return iter(self._slots)

    def add(self, slots: Sequence[ReplicaSlot]) -> None:
        """Add slots, whose replicas are loaded from here on."""
        with self._changed:
            self._slots += slots

    @property
    def is_ready(self) -> bool:
        """Whether at least one replica is ready."""
        return any(slot.state == READY for slot in self._slots)

    @property
    def is_draining(self) -> bool:
        """Whether no further call begins."""
        return self._is_draining

    @property
    def keeps_affinity(self) -> bool:
        """Whether answers may depend on earlier calls, so that a client stays with a replica."""
        return self._description is not None and self._description.max_batch_size == 1

    @property
    def refusal(self) -> PolicyError | None:
        """Why no replica can answer any more; None if one may."""
        if self._is_draining:
            return ClosedError(STOPPING_ERROR)
        if self._slots and all(slot.state == FAILED for slot in self._slots):
            return self._slots[0].problem
        return None

    def count_states(self) -> dict[str, int]:
        """How many replicas are in each state."""
        counts = Counter(slot.state for slot in self._slots)
        return {state: counts[state] for state in STATES}

    def drain(self) -> None:
        """Begin no further calls, except for threads that already have a replica."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    def wait_for_first(self) -> PolicyDescription:
        """Wait until the first replica is ready; returns the description of its policy.

        Raises:
            PolicyError: No replica could load the policy.
            ClosedError: The pool was drained in the meantime.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._description is not None or self.refusal is not None
            )
            if self._description is None:
                raise self.refusal or ClosedError("the pool is closed")
            return self._description

    # --- for threads that call the policy ---------------------------------------------------------

    def acquire(self, client: str) -> ReplicaSlot | None:
        """Wait for a free replica for a client, and take it; None if none can answer any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._free_for(client) or self.refusal is not None)
            free = self._free_for(client)
            if not free or self._is_draining:
                return None
            slot = min(free, key=lambda slot: (self._affinity.clients_of(slot), slot.calls))
            slot.is_busy = True
            if self.keeps_affinity:
                self._affinity.assign(client, slot)
            return slot

    def release(self, slot: ReplicaSlot) -> None:
        """Give a replica back."""
        with self._changed:
            slot.is_busy = False
            self._changed.notify_all()

    @contextlib.contextmanager
    def all_acquired(self) -> Iterator[list[ReplicaSlot]]:
        """A context in which this thread has all ready replicas, and no other becomes ready.

        Raises:
            PolicyError: A replica has been busy for `DRAIN_S`.
        """
        acquired: list[ReplicaSlot] = []
        with self._changed:
            self._changed.wait_for(lambda: not self._is_calling_all)
            self._is_calling_all = True
        try:
            for slot in self._slots:
                if self._acquire_if_ready(slot):
                    acquired.append(slot)
            yield acquired
        finally:
            with self._changed:
                self._is_calling_all = False
                for slot in acquired:
                    slot.is_busy = False
                self._changed.notify_all()

    def record_call(self, client: str, call: Call) -> None:
        """Record a call that was made in all replicas, for those that are loaded later."""
        with self._changed:
            if self.keeps_affinity:
                self._affinity.record_call(client, call)

    def mark_lost(self, slot: ReplicaSlot, generation: int) -> None:
        """Record that a process has ended; its watching and its calling thread may both notice."""
        with self._changed:
            if slot.generation == generation:
                slot.generation += 1
                slot.state = RESTARTING
                self._changed.notify_all()

    def _free_for(self, client: str) -> list[ReplicaSlot]:
        """The free replicas; where a client has one already, at most that one."""
        own = self._affinity.replica_of(client)
        return [slot for slot in self._slots if _is_free(slot) and own in (None, slot)]

    def _acquire_if_ready(self, slot: ReplicaSlot) -> bool:
        with self._changed:
            is_idle = self._changed.wait_for(lambda: not slot.is_busy or self._is_draining, DRAIN_S)
            if not is_idle:
                raise PolicyError(f"replica {slot.number} has been busy for {DRAIN_S:.0f} s")
            if not _is_free(slot) or self._is_draining:
                return False
            slot.is_busy = True
            return True

    # --- for the supervisor -----------------------------------------------------------------------

    def set_state(self, slot: ReplicaSlot, state: str, problem: PolicyError | None = None) -> None:
        """Set the state of a replica that is not ready, and why it could not be loaded."""
        with self._changed:
            slot.state, slot.problem = state, problem
            self._changed.notify_all()

    def calls_to_replay(
        self, slot: ReplicaSlot, description: PolicyDescription, replayed: dict[str, Call]
    ) -> dict[str, Call]:
        """The recorded calls that a loaded replica lacks; if there are none, it becomes ready.

        Args:
            slot: The slot of the replica.
            description: Describes the policy of the replica.
            replayed: The calls that the replica has already received, by client.

        Raises:
            PolicyError: The policy differs from that of the earlier replicas.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_calling_all or self._is_draining)
            if self._description not in (None, description):
                raise PolicyError(
                    "it has another modality config, other dimensions or other capabilities than "
                    "the policy that clients know: restart the server to serve that policy"
                )
            missing = {
                client: call
                for client, call in self._affinity.calls().items()
                if replayed.get(client) is not call
            }
            if not missing:
                self._description = self._description or description
                slot.state, slot.problem = READY, None
                self._changed.notify_all()
                logger.info("replica %d is ready, in process %d", slot.number, description.pid)
            return missing

    def begin_restart(self, slot: ReplicaSlot) -> bool:
        """Wait until a replica is idle, and begin no further call; False where it is not ready."""
        with self._changed:
            if not self._wait_until_settled(slot):
                return False
            slot.is_leaving = True
            self._changed.wait_for(lambda: not slot.is_busy or self._is_draining, DRAIN_S)
            return True

    def finish_restart(self, slot: ReplicaSlot, generation: int) -> bool:
        """Wait for the replica that follows the one of `generation`; whether it is ready."""
        with self._changed:
            self._changed.wait_for(lambda: slot.generation != generation or self._is_draining)
            slot.is_leaving = False
            self._changed.notify_all()
            return self._wait_until_settled(slot)

    def _wait_until_settled(self, slot: ReplicaSlot) -> bool:
        """Wait until a replica is loaded or failed; whether it is ready."""
        self._changed.wait_for(lambda: slot.state in (READY, FAILED) or self._is_draining)
        return slot.state == READY and not self._is_draining


def _is_free(slot: ReplicaSlot) -> bool:
    return slot.state == READY and not slot.is_busy and not slot.is_leaving
