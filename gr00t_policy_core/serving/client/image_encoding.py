# SPDX-License-Identifier: Apache-2.0
"""How a client sends the images of an observation: as pixels or JPEG, resized or not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from gr00t_policy_core.policy import Observation
from gr00t_policy_core.resize import first_resize
from gr00t_policy_core.serving.client.client_protocol import RemoteServer
from gr00t_policy_core.serving.wire import jpeg

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageEncoding:
    """The image settings of a client; see `PolicyClient`.

    Args:
        format: How images travel: ``"raw"`` (uint8 arrays) or ``"jpeg"``.
        quality: Quality of the JPEG, 1 to 100.
        resize: Send images at the size that the policy resizes them to first.
    """

    format: str
    quality: int
    resize: bool

    def encode(self, observation: Observation, server: RemoteServer) -> Any:
        """Encode the images of an observation by these settings, if the server accepts that."""
        if self.format == "raw" and not self.resize:
            return jpeg.to_pixels(observation)
        is_first_request = server.info.capabilities is None
        capabilities = server.capabilities()
        first = first_resize(capabilities) if self.resize else None
        if self.resize and first is None and is_first_request:
            logger.info("%s reports no image size: images are not resized", server.address)
        as_jpeg = self.format == "jpeg" and jpeg.CAPABILITY in capabilities
        if not as_jpeg:
            observation = jpeg.to_pixels(observation)
        if first is not None:
            observation = jpeg.resized(observation, first)
        return jpeg.to_jpeg(observation, self.quality) if as_jpeg else observation
