# SPDX-License-Identifier: Apache-2.0
"""The streams of an observation, filled by a test."""

from __future__ import annotations

from typing import Any

import pytest
from policies_for_tests import ACTION_RATE_HZ, EchoPolicy, parameters
from sensor_msgs.msg import Image, JointState

from gr00t_ros.contract.contract import Contract, parse_contract
from gr00t_ros.node.rejected_messages import RejectedMessages
from gr00t_ros.policy.observation_builder import NotReadyError, ObservationBuilder, TimedObservation
from gr00t_ros.policy.stream_buffers import buffer_for

T0_NS = 1_700_000_000_000_000_000
STEP_MS = 1000.0 / ACTION_RATE_HZ


def ns(ms: float) -> int:
    return T0_NS + round(ms * 1e6)


def picture(level: int, *, width: int = 4, encoding: str = "rgb8") -> Image:
    data = bytes([level]) * (3 * width * 2)
    return Image(height=2, width=width, step=3 * width, encoding=encoding, data=data)


def joints(value: float, names: tuple[str, ...] = ("finger", "elbow", "shoulder")) -> JointState:
    """The finger is at `value`, the elbow 1 above, the shoulder 2 above."""
    return JointState(name=list(names), position=[value + i for i in range(len(names))])


class Streams:
    """A contract's buffers, filled by the test instead of subscriptions."""

    def __init__(self, policy: EchoPolicy | None = None, **changes: Any) -> None:
        self.contract: Contract = parse_contract(parameters(**changes))
        self.buffers: dict[str, Any] = {s.name: buffer_for(s) for s in self.contract.streams}
        self.rejected = RejectedMessages()
        configs = (policy or EchoPolicy()).get_modality_config()
        self._builder = ObservationBuilder(
            self.contract, configs, self.buffers, rejected=self.rejected
        )

    def jpegs_go_on(self) -> None:
        """From now on the policy takes JPEG."""
        configs = EchoPolicy().get_modality_config()
        self._builder = ObservationBuilder(
            self.contract, configs, self.buffers, takes_jpeg=True, rejected=self.rejected
        )

    def camera(self, ms: float, level: int = 0, **options: Any) -> None:
        self.buffers["video.front"].add(ns(ms), picture(level, **options), received_ns=0)

    def arm(self, ms: float, value: float = 0.0, **options: Any) -> None:
        for name in ("state.arm", "state.gripper"):
            self.buffers[name].add(ns(ms), joints(value, **options), received_ns=0)

    def build(self, now_ms: float, instruction: str = "go") -> TimedObservation:
        return self._builder.build(ns(now_ms), instruction)

    def trouble(self, now_ms: float, instruction: str = "go") -> NotReadyError:
        with pytest.raises(NotReadyError) as caught:
            self.build(now_ms, instruction)
        return caught.value
