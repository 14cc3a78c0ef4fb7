# SPDX-License-Identifier: Apache-2.0
"""Puts messages of observation streams into buffers, unless their stamps cannot be true. Pure.

The policy node and the conversion of bags receive messages here, so both keep the same ones.
"""

from __future__ import annotations

from typing import Any

from gr00t_policy_core.control.samples import SampleBuffer
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import StateStream, VideoStream
from gr00t_ros.interfaces.interface import ConversionError
from gr00t_ros.interfaces.joint_buffer import Buffer
from gr00t_ros.interfaces.stamps import ahead_text, stamp_ns
from gr00t_ros.node.rejected_messages import AHEAD, UNREADABLE, RejectedMessages


def buffer_for(stream: VideoStream | StateStream) -> Buffer:
    """Make the buffer that holds the messages of a stream."""
    span_ns = round(stream.max_age_s * 1e9)
    if isinstance(stream, StateStream):
        return stream.interface.make_buffer(span_ns)
    return SampleBuffer(span_ns=span_ns)


class StreamBuffers:
    """The received messages of the streams of a contract.

    Args:
        contract: Names the streams.

    Attributes:
        buffers: The received messages, by stream name.
        rejected: The received messages that were rejected.
    """

    def __init__(self, contract: Contract) -> None:
        self._skew_ns = round(contract.max_skew_s * 1e9)
        self.buffers = {stream.name: buffer_for(stream) for stream in contract.streams}
        self.rejected = RejectedMessages()

    def receive(
        self, stream: VideoStream | StateStream, message: Any, *, now_ns: int, received_ns: int
    ) -> None:
        """Put a message into its buffer, unless its stamp cannot be true.

        Args:
            stream: The stream of the message.
            message: The message.
            now_ns: The current time on the clock of the stamps, ns.
            received_ns: The current time on a monotonic clock, ns; only rates use it.
        """
        buffer = self.buffers[stream.name]
        stamped_ns = stamp_ns(message, now_ns)
        ahead = ahead_text(stamped_ns, now_ns, self._skew_ns)
        if ahead:
            self.rejected.add(stream.name, AHEAD, ahead)
            return
        buffer.drop_after(now_ns + self._skew_ns)
        try:
            buffer.add(stamped_ns, message, received_ns=received_ns)
        except ConversionError as error:
            self.rejected.add(stream.name, UNREADABLE, f"{stream.topic}: {error}")
