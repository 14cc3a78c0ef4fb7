# SPDX-License-Identifier: Apache-2.0
"""What a request for actions can need, by the modality configs of the policy that answers it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.wire import jpeg as images
from gr00t_policy_core.serving.wire.msgpack_reader import MAX_ITEMS

logger = logging.getLogger(__name__)

OTHER_ITEMS = 4096  # options, and what a policy does not read of an observation
ITEMS_OF_AN_ARRAY = 16  # keys, values and sizes, in either dialect
ROWS = 256  # where nobody limits them
_BATCHED_DIMENSIONS = (3, 5)  # of states and videos, as `gr00t_policy_core.modality` lays them out


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds that a request is held to before time and memory are spent on it.

    Args:
        items: Keys, values and list items of its data.
        rows: B; None: any number.
        cameras: Pictures per row of each camera; None where the policy does not tell.
    """

    items: int = MAX_ITEMS
    rows: int | None = None
    cameras: Mapping[str, int] | None = None

    @classmethod
    def of(cls, policy: BasePolicy, max_batch: int) -> RequestLimits:
        """Those of a policy.

        Args:
            policy: Without modality configs, or where it cannot tell them, only rows are bounded.
            max_batch: Most rows of a call; 1 says nothing about the rows of a request.
        """
        rows = max_batch if max_batch > 1 else None
        try:
            configs: dict[str, ModalityConfig] = getattr(policy, "get_modality_config", dict)()
            video, state, language = (configs.get(n) for n in ("video", "state", "language"))
            if video is None and state is None:
                return cls(rows=rows)
            keys = [
                (kind, key, len(config.delta_indices))
                for kind, config in (("array", video), ("array", state), ("text", language))
                if config is not None
                for key in config.modality_keys
            ]
        except Exception as error:  # of a policy's own code
            logger.warning("requests are not bounded by the policy's modality config: %s", error)
            return cls(rows=rows)
        per_row = sum(steps + 1 for _, _, steps in keys)  # pictures, or prompts in lists
        items = OTHER_ITEMS + ITEMS_OF_AN_ARRAY * len(keys) + (rows or ROWS) * per_row
        steps = 0 if video is None else len(video.delta_indices)
        cameras = dict.fromkeys([] if video is None else video.modality_keys, steps)
        return cls(min(items, MAX_ITEMS), rows, cameras)

    def check_rows(self, observation: Any) -> None:
        """Refuse an observation of too many rows.

        Raises:
            SpecError: Saying how many there are and may be.
        """
        if self.rows is None or not isinstance(observation, dict):
            return
        # One entry of each modality: a policy that is strict refuses entries of different B.
        rows = max(map(_rows, observation.values()), default=0)
        if rows > self.rows:
            raise SpecError(
                "bad observation",
                [
                    f"{rows} rows (B) in one request, at most {self.rows} are answered in one "
                    "call: send fewer, or start the server with a larger max_batch"
                ],
            )


def _rows(value: Any) -> int:
    """The B of a part of an observation, nested or flat; 0 where it has none."""
    kind = type(value)
    if kind is np.ndarray:
        return len(value) if value.ndim in _BATCHED_DIMENSIONS else 0
    if kind is not dict:
        return 0
    if images.MARKER in value:
        return images.announced_rows(value)
    return _rows(next(iter(value.values()), None))
