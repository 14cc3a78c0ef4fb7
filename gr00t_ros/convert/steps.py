# SPDX-License-Identifier: Apache-2.0
"""Runs the live observation builder over recorded messages, on a grid of times. Pure.

An observation depends on its time t0 alone, as the messages of each stream come in order. The live
node takes the newest t0 that every stream has reached; here t0 is each time of the grid, as soon as
every stream has reached it. For the same t0 both build the same observation, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.modality import ModalityConfig
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream, VideoStream
from gr00t_ros.convert.actions import Action, ActionSource
from gr00t_ros.convert.interventions import Interventions
from gr00t_ros.policy.observation_builder import NotReadyError, ObservationBuilder
from gr00t_ros.policy.stream_buffers import StreamBuffers

MIN_PAUSE_S = 2.0  # without any message: a pause, or a clock that was set forward


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A deserialized message.

    Args:
        topic: The full name of its topic.
        message: The message.
        now_ns: The recorder's clock when it was received, ns.
        losses: How many parts of the bag before it are lost.
    """

    topic: str
    message: Any
    now_ns: int
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the grid.

    Args:
        t0_ns: Its time, ns.
        images: uint8 (H, W, 3) RGB by camera; views of the messages where possible.
        state: float32 (D,) by state key, in the policy's units.
        action: float32 (D,) by action key, in the policy's units.
        intervention: Whether a person drove in place of the policy.
    """

    t0_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    state: Mapping[str, NDArray[np.float32]]
    action: Mapping[str, Action]
    intervention: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """Steps of the grid that have no observation or no action.

    Args:
        cause: Why, in words that stay the same.
        count: The number of steps; 0 for an interruption of the grid itself.
    """

    cause: str
    count: int = 1


Event: TypeAlias = Step | Dropped


class StepBuilder:
    """Turns the messages of a recording into steps.

    The grid begins with the first message of the first camera (of the first state, if there is no
    camera), so that cameras of the same rate are sampled at their frames. It begins anew where the
    clock was set, after a pause, and where a part of the bag is lost: what was commanded before is
    not in force after it.

    Args:
        contract: The robot: streams, ages, skew and `action_rate_hz`.
        received: Where the messages of the streams are put.
        actions: Knows the action at a time.
        interventions: Knows who drove at a time.
    """

    def __init__(
        self,
        contract: Contract,
        received: StreamBuffers,
        actions: ActionSource,
        interventions: Interventions,
    ) -> None:
        self._contract = contract
        self._received = received
        self._actions = actions
        self._interventions = interventions
        self._builder = ObservationBuilder(
            contract, _present(contract), received.buffers, rejected=received.rejected
        )
        self._streams: dict[str, list[VideoStream | StateStream]] = {}
        for stream in contract.streams:
            self._streams.setdefault(stream.topic, []).append(stream)
        self._leader = contract.streams[0]
        self._step_ns = 1e9 / contract.action_rate_hz
        self._skew_ns = round(contract.max_skew_s * 1e9)
        longest_s = max(stream.max_age_s for stream in contract.streams)
        self._max_age_ns = round(longest_s * 1e9)
        self._pause_ns = round(max(MIN_PAUSE_S, 2.0 * longest_s) * 1e9)
        self._losses = 0
        self._begin()

    def events(self, messages: Iterable[TimedMessage]) -> Iterator[Event]:
        """Yield every step of the grid, or why it is left out, in order.

        Args:
            messages: The messages of the streams, of the actions and of who drove, in the order of
                reception.
        """
        for message in messages:
            cause = self._interruption(message)
            self._losses = max(self._losses, message.losses)
            if cause:
                yield from self._missing_start()
                yield Dropped(cause, 0)
                self._begin()
            yield from self._receive(message)
            yield from self._due(message.now_ns)
        yield from self._missing_start()

    def build_at(self, t0_ns: int) -> Step:
        """Build the step of a time that every stream has reached.

        Raises:
            NotReadyError: A stream or an action has no value at that time; the text names it.
        """
        observation = self._builder.build_at(t0_ns, "").observation
        action = self._actions.at(t0_ns)
        return Step(
            t0_ns,
            {key: image[0, 0] for key, image in observation["video"].items()},
            {key: values[0, 0] for key, values in observation["state"].items()},
            action,
            self._interventions.at(t0_ns),
        )

    def _begin(self) -> None:
        """Forget everything; the grid begins with the leader's next message."""
        self._first_ns: int | None = None  # the grid's first step
        self._next = 0  # index of the next step
        self._now_ns: int | None = None
        self._started_ns: int | None = None  # the first message of any stream
        for buffer in self._received.buffers.values():
            buffer.clear()
        self._actions.clear()
        self._interventions.clear()

    def _interruption(self, message: TimedMessage) -> str:
        """Why the grid has to begin anew; empty if it goes on."""
        before_ns, now_ns = self._now_ns, message.now_ns
        if before_ns is None:
            return ""
        passed_s = (now_ns - before_ns) * 1e-9
        if message.losses > self._losses:
            return "a part of the bag is lost"
        if now_ns < before_ns - self._skew_ns:
            return f"the clock was set back by {-passed_s:.2f} s"
        if now_ns > before_ns + self._pause_ns:
            return f"no message for {passed_s:.2f} s: a pause, or a clock that was set forward"
        return ""

    def _receive(self, message: TimedMessage) -> Iterator[Dropped]:
        self._now_ns = message.now_ns
        if message.topic in self._actions.topics:
            self._actions.receive(message.topic, message.message, message.now_ns)
        self._interventions.receive(message.topic, message.message, message.now_ns)
        for stream in self._streams.get(message.topic, ()):
            self._received.receive(
                stream, message.message, now_ns=message.now_ns, received_ns=message.now_ns
            )
            if self._started_ns is None:
                self._started_ns = message.now_ns
        if self._first_ns is None and self._leader.topic == message.topic:
            newest = self._received.buffers[self._leader.name].latest()
            if newest is not None:
                yield from self._missing_start()
                self._first_ns = newest.stamp_ns

    def _due(self, now_ns: int) -> Iterator[Event]:
        """Yield the steps that every stream has reached, and those that a stream has missed."""
        while (t0_ns := self._next_t0_ns()) is not None and t0_ns <= now_ns + self._skew_ns:
            try:
                if self._builder.reached_ns(now_ns) < t0_ns:
                    return
                event: Event = self.build_at(t0_ns)
            except NotReadyError as error:
                if not self._is_settled(t0_ns, now_ns):
                    return
                event = Dropped(error.cause)
            self._next += 1
            yield event

    def _next_t0_ns(self) -> int | None:
        if self._first_ns is None:
            return None
        return self._first_ns + round(self._next * self._step_ns)

    def _is_settled(self, t0_ns: int, now_ns: int) -> bool:
        """Whether no message can give the step a fresh sample any more."""
        return now_ns > t0_ns + self._max_age_ns or self._has_passed(t0_ns)

    def _has_passed(self, t0_ns: int) -> bool:
        newest = [buffer.latest() for buffer in self._received.buffers.values()]
        return all(sample is not None and sample.stamp_ns >= t0_ns for sample in newest)

    def _missing_start(self) -> Iterator[Dropped]:
        """The steps before the leader's first message."""
        if self._first_ns is None and self._started_ns is not None and self._now_ns is not None:
            count = int((self._now_ns - self._started_ns) / self._step_ns)
            leader = self._leader
            if count:
                yield Dropped(f"{leader.name}: nothing received on {leader.topic} yet", count)


def _present(contract: Contract) -> dict[str, ModalityConfig]:
    """The present of every stream: a dataset holds the history as steps."""
    keys = {
        "video": [stream.key for stream in contract.video],
        "state": [state.key for state in contract.state],
    }
    present = {name: ModalityConfig([0], names) for name, names in keys.items() if names}
    unused = ModalityConfig([0], ["unused"])  # of a modality without streams
    return {name: present.get(name, unused) for name in keys}
