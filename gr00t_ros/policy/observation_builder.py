# SPDX-License-Identifier: Apache-2.0
"""Builds one observation from stamped streams: every value at its time, or none at all. Pure.

The observation's time t0 is the newest instant that every stream has reached: the oldest of the
streams' newest stamps. Each value is the sample closest to ``t0 + delta / action_rate_hz``. A
sample that is missing, stale or skewed prevents the observation; nothing is ever filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.control.samples import Sample, SampleBuffer
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.serving import JpegVideo
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateInput, StateStream, VideoStream
from gr00t_ros.interfaces.conversions import state_reader
from gr00t_ros.interfaces.image_decoding import image_reader
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.joint_buffer import Buffer, JointBuffer
from gr00t_ros.interfaces.jpeg_passthrough import jpeg_video, require_complete
from gr00t_ros.interfaces.transform_buffer import TransformBuffer
from gr00t_ros.node.rejected_messages import UNREADABLE, RejectedMessages

Buffers = Mapping[str, Buffer]

NO_TRANSFORM = "tf has no such transform"


class NotReadyError(Exception):
    """There is no observation at present; the text says why.

    Args:
        cause: The same text for the same problem, so that a log can skip repetitions.
        detail: The numbers, which differ from one occurrence to the next.
    """

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class TimedObservation:
    """An observation in the policy's layout with B = 1.

    Args:
        observation: A video that is already JPEG may be a `JpegVideo` instead of an array.
        t0_ns: Its time t0, ns.
        positions: The joints that the states measure at t0, by name, rad (or m).
        instruction: What the policy is asked to do, also of a policy that reads no language.
    """

    observation: dict[str, Any]
    t0_ns: int
    positions: Mapping[str, float] = field(default_factory=dict)
    instruction: str = ""


class ObservationBuilder:
    """Builds observations from buffers of raw messages.

    It converts messages at the rate of inference, not at the rate at which they arrive.

    Args:
        contract: Names the streams of the robot, their ages and rates.
        configs: The policy's modality configs: which steps of history each modality has.
        buffers: By stream name (``video.front``), as `buffer_for` makes them; filled with messages.
        takes_jpeg: Whether the policy decodes JPEG. If so, the JPEGs of a camera that keeps its
            size are only checked here, not decoded.
        rejected: Counts the messages that cannot be read. Each message is tried once.
    """

    def __init__(
        self,
        contract: Contract,
        configs: Mapping[str, ModalityConfig],
        buffers: Buffers,
        *,
        takes_jpeg: bool = False,
        rejected: RejectedMessages | None = None,
    ) -> None:
        self._rejected = rejected or RejectedMessages()
        self._takes_jpeg = takes_jpeg
        self._contract = contract
        self._configs = configs
        self._buffers = buffers
        self._step_ns = 1e9 / contract.action_rate_hz
        self._skew_ns = round(contract.max_skew_s * 1e9)
        self._readers: dict[str, Callable[[Any], NDArray[Any]]] = {
            **{stream.name: image_reader(stream) for stream in contract.video},
            **{stream.name: state_reader(stream) for stream in contract.state_streams},
        }
        needs_positions = any(o.interface.needs_description for o in contract.action)
        self._joint_streams = [
            stream
            for stream in contract.state_streams
            if needs_positions and stream.interface.measured_joints
        ]
        self._reserve_history()

    def build(self, now_ns: int, instruction: str) -> TimedObservation:
        """Build one observation of the current time.

        Args:
            now_ns: The current time on the clock of the stamps, ns.
            instruction: The prompt for every language key of the policy.

        Returns:
            ``video`` uint8 (1, T, H, W, 3) RGB, ``state`` float32 (1, T, D), ``language`` [[str]].

        Raises:
            NotReadyError: A stream is missing, stale, skewed or unreadable; the text names it.
        """
        return self.build_at(self.reached_ns(now_ns), instruction)

    def reached_ns(self, now_ns: int) -> int:
        """The newest instant that every stream has reached, ns.

        Args:
            now_ns: The current time on the clock of the stamps, ns.

        Raises:
            NotReadyError: A stream is missing or stale; the text names it.
        """
        newest = [self._fresh(stream, now_ns) for stream in self._contract.streams]
        return min((sample.stamp_ns for sample in newest), default=now_ns)

    def build_at(self, t0_ns: int, instruction: str) -> TimedObservation:
        """Build the observation of an instant that every stream has reached.

        Where the messages of each stream come in order, an observation depends on its time alone:
        what comes after all streams have reached `t0_ns` does not change it.

        Args:
            t0_ns: The time of the observation, ns; at most what `reached_ns` returned.
            instruction: The prompt for every language key of the policy.

        Raises:
            NotReadyError: A stream has no sample at the required time, or an unreadable one.
        """
        # Every sample is found before any is converted: decoding an image takes milliseconds.
        video = [(s, self._samples("video", s, t0_ns)) for s in self._contract.video]
        state = {s.name: self._samples("state", s, t0_ns) for s in self._contract.state_streams}
        observation: dict[str, Any] = {}
        if "language" in self._configs:
            observation["language"] = self._language(self._configs["language"], instruction)
        observation["video"] = {s.key: self._video(s, samples) for s, samples in video}
        observation["state"] = {s.key: self._state(s, state) for s in self._contract.state}
        return TimedObservation(observation, t0_ns, self._positions(t0_ns), instruction)

    def _positions(self, t0_ns: int) -> dict[str, float]:
        """The measured positions of joints by name, rad (or m), where commands need them."""
        positions: dict[str, float] = {}
        for stream in self._joint_streams:
            sample = self._at(stream, t0_ns)
            (measured,) = self._each(stream, [sample], stream.interface.sampled_positions)
            positions |= measured
        return positions

    def _fresh(self, stream: VideoStream | StateStream, now_ns: int) -> Sample[Any]:
        buffer = self._buffers[stream.name]
        newest = buffer.latest()
        if newest is None:
            raise self._nothing(stream)
        age_s = (now_ns - newest.stamp_ns) * 1e-9
        if age_s > stream.max_age_s:
            of = f" of {buffer.oldest_joint()}" if isinstance(buffer, JointBuffer) else ""
            allowed = f"at most {stream.max_age_s:g} s allowed"
            detail = f"newest message{of} is {age_s:.2f} s old, {allowed}"
            raise NotReadyError(f"{stream.name}: stale on {stream.topic}", detail)
        if age_s < -stream.max_age_s:
            detail = f"newest message is stamped {-age_s:.2f} s ahead of this node's clock"
            raise NotReadyError(f"{stream.name}: clocks differ on {stream.topic}", detail)
        return newest

    def _nothing(self, stream: VideoStream | StateStream) -> NotReadyError:
        """The error that says why a stream has no sample at all."""
        buffer, rejection = self._buffers[stream.name], self._rejected.latest(stream.name)
        if isinstance(buffer, TransformBuffer):
            return NotReadyError(f"{stream.name}: {NO_TRANSFORM}", buffer.what_is_missing())
        if isinstance(buffer, JointBuffer) and (missing := buffer.what_is_missing()):
            return NotReadyError(f"{stream.name}: joints missing on {stream.topic}", missing)
        if rejection is not None:
            return NotReadyError(f"{stream.name}: {rejection.cause}", rejection.detail)
        return NotReadyError(f"{stream.name}: nothing received on {stream.topic} yet")

    def _samples(
        self, modality: str, stream: VideoStream | StateStream, t0_ns: int
    ) -> list[Sample[Any]]:
        return [
            self._at(stream, t0_ns + round(delta * self._step_ns))
            for delta in self._configs[modality].delta_indices
        ]

    def _video(
        self, stream: VideoStream, samples: list[Sample[Any]]
    ) -> NDArray[np.uint8] | JpegVideo:
        if self._takes_jpeg and stream.width is None and stream.encoding is None:
            video = jpeg_video([sample.value for sample in samples])
            if video is not None:
                self._each(stream, samples, require_complete)
                return video
        return self._converted(stream, samples)

    def _state(self, state: StateInput, samples: Mapping[str, list[Sample[Any]]]) -> NDArray[Any]:
        """The values of the state's streams, concatenated, float32 (1, T, D)."""
        parts = [self._converted(stream, samples[stream.name]) for stream in state.streams]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _converted(
        self, stream: VideoStream | StateStream, samples: list[Sample[Any]]
    ) -> NDArray[Any]:
        """The converted samples, (1, T, ...); a view of the one sample where T = 1."""
        values = self._each(stream, samples, self._readers[stream.name])
        if len(values) == 1:
            return values[0][None, None]
        if len({value.shape for value in values}) > 1:
            raise NotReadyError(f"{stream.name}: its size changed within the history")
        return np.stack(values)[None]

    def _each(
        self,
        stream: VideoStream | StateStream,
        samples: list[Sample[Any]],
        read: Callable[[Any], Any],
    ) -> list[Any]:
        """Convert each sample with `read`, and discard a sample that it cannot read."""
        values = []
        for sample in samples:
            try:
                values.append(read(sample.value))
            except ConversionError as error:
                buffer = self._buffers[stream.name]
                if isinstance(buffer, SampleBuffer):
                    buffer.discard(sample)
                self._rejected.add(stream.name, UNREADABLE, str(error))
                raise NotReadyError(f"{stream.name}: {UNREADABLE}", str(error)) from error
        return values

    def _at(self, stream: VideoStream | StateStream, stamp_ns: int) -> Sample[Any]:
        sample = self._buffers[stream.name].nearest(stamp_ns)
        if sample is None:
            problem = self._nothing(stream)
            if isinstance(self._buffers[stream.name], TransformBuffer):
                self._rejected.add(stream.name, NO_TRANSFORM, str(problem))
            raise problem
        skew_ns = abs(sample.stamp_ns - stamp_ns)
        if skew_ns > self._skew_ns:
            raise NotReadyError(
                f"{stream.name}: no message at the required time",
                f"the closest is {skew_ns * 1e-9:.3f} s away, "
                f"at most {self._skew_ns * 1e-9:g} s allowed",
            )
        return sample

    def _language(self, config: ModalityConfig, instruction: str) -> dict[str, list[list[str]]]:
        if not instruction:
            raise NotReadyError("no instruction: set the parameter or publish on ~/instruction")
        return {key: [[instruction] * len(config.delta_indices)] for key in config.modality_keys}

    def _reserve_history(self) -> None:
        """Make each buffer reach back over the history and over the age of the slowest stream."""
        slack_s = max((s.max_age_s for s in self._contract.streams), default=0.0)
        modalities = (("video", self._contract.video), ("state", self._contract.state_streams))
        for modality, streams in modalities:
            for stream in streams:
                oldest = min(0, *self._configs[modality].delta_indices)
                span_s = slack_s + self._contract.max_skew_s
                self._buffers[stream.name].keep(round(span_s * 1e9 - oldest * self._step_ns))
