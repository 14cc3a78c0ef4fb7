# SPDX-License-Identifier: Apache-2.0
"""What the keys of `gr00t-policy record` do, and when the bell rings."""

from __future__ import annotations

import queue
import time

from gr00t_ros.bags.episode_info import FAILURE, SUCCESS
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.record.recorder_client import RecorderClient
from gr00t_ros.record.terminal_keys import BACKSPACE, QUIT, SPACE

HELP = "space begin/end   s success   f failure   backspace discard   q quit"
CONFIRM_S = 3.0  # for the second backspace, which removes what is on the disk
OUTCOMES = {"s": SUCCESS, "f": FAILURE}


class RecordConsole:
    """Turns keys into requests, and answers into a line of text.

    Args:
        client: The recorder.
        task: What is demonstrated; empty for the configured one.

    Attributes:
        message: The newest thing that the operator should know.
        rings: How often the bell shall ring now; whoever rings it sets it to 0.
    """

    def __init__(self, client: RecorderClient, task: str) -> None:
        self._client = client
        self._task = task
        self._confirm_until_s = 0.0
        self._was_well = True
        self.message = ""
        self.rings = 0

    @property
    def is_recording(self) -> bool:
        """Whether the recorder says that it records an episode."""
        status = self._client.status
        return status is not None and status.state == RecorderStatus.STATE_RUNNING

    def press(self, key: str) -> bool:
        """React to a key, or to none (""), and return whether to go on."""
        if not key:
            return True
        status, is_recording = self._client.status, self.is_recording
        is_confirmed = key == BACKSPACE and time.monotonic() < self._confirm_until_s
        self._withdraw_question()
        if key == QUIT:
            return not self._may_quit(is_recording)
        if key == SPACE:
            self._client.stop("") if is_recording else self._client.start(self._task)
        elif key in OUTCOMES:
            outcome = OUTCOMES[key]
            self._client.stop(outcome) if is_recording else self._client.label(outcome)
        elif key == BACKSPACE and (is_recording or is_confirmed):
            self._client.discard()
        elif key == BACKSPACE and status is not None and status.episode:
            self._confirm_until_s = time.monotonic() + CONFIRM_S
            self.message = f"backspace again removes {status.episode} from the disk"
        return True

    def poll(self) -> None:
        """Take in what the recorder has answered, and notice what goes wrong."""
        if self._confirm_until_s <= time.monotonic():
            self._withdraw_question()
        while True:
            try:
                answer = self._client.answers.get_nowait()
            except queue.Empty:
                break
            self._withdraw_question()  # the operator sees the answer in its place
            self.message = answer.message
            self.rings = max(self.rings, 1 if answer.success else 2)
        status = self._client.status
        is_well = status is not None and not status.reason
        if self._was_well and not is_well:
            self.rings = 2
        self._was_well = is_well

    def _withdraw_question(self) -> None:
        """Ask no longer for a second backspace."""
        if self._confirm_until_s:
            self._confirm_until_s, self.message = 0.0, ""

    def _may_quit(self, is_recording: bool) -> bool:
        if is_recording:
            self.message = "an episode is being recorded: end it with space, or discard it"
            self.rings = 2
        return not is_recording
