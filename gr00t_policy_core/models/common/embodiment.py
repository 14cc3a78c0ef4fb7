# SPDX-License-Identifier: Apache-2.0
"""An embodiment of a checkpoint: its modalities, its state keys and its action keys.

Normalization follows Isaac-GR00T's StateActionProcessor. A state key is encoded as sine and cosine,
by mean and deviation, or by bounds. An action key is encoded by mean and deviation or by bounds;
RELATIVE keys have bounds of their own for each step (``relative_action`` in statistics.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.modality import (
    ActionConfig,
    ModalityConfig,
)
from gr00t_policy_core.models.common.normalization import (
    Normalization,
)
from gr00t_policy_core.models.common.relative import to_absolute, to_relative

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class StateKey:
    """A state key.

    Args:
        name: The key in an observation.
        dim: Values per step in an observation.
        width: Values per step after normalization: twice `dim` for sine and cosine.
        normalization: Maps physical values to the network's.
    """

    name: str
    dim: int
    width: int
    normalization: Normalization


@dataclass(frozen=True, slots=True)
class ActionKey:
    """An action key.

    Args:
        name: The key in an action.
        dim: Values per step, D.
        normalization: Maps the network's values to physical ones.
        relative: The action config of a key whose values are relative to a state; None for absolute
            values.
        state_key: The state that relative values refer to.
    """

    name: str
    dim: int
    normalization: Normalization
    relative: ActionConfig | None
    state_key: str


@dataclass(frozen=True, slots=True)
class Embodiment:
    """An embodiment of a checkpoint.

    Args:
        tag: The embodiment tag, as the checkpoint spells it.
        index: The index of its per-embodiment weights.
        modalities: The modality configs: ``video``, ``state``, ``action``, ``language``.
        states: The state keys, in the order of the network's input.
        actions: The action keys, in the order of the network's output.
        exclude_state: Whether the network was trained without states and reads zeros.
        empty_instruction: The text that replaces an empty instruction.
    """

    tag: str
    index: int
    modalities: Mapping[str, ModalityConfig]
    states: tuple[StateKey, ...]
    actions: tuple[ActionKey, ...]
    exclude_state: bool
    empty_instruction: str = ""

    @property
    def horizon(self) -> int:
        """Steps of an action chunk."""
        return len(self.modalities["action"].delta_indices)

    @property
    def state_width(self) -> int:
        """Values per step of the network's state input."""
        return sum(key.width for key in self.states)

    @property
    def action_dim(self) -> int:
        """Values per step of the network's action output."""
        return sum(key.dim for key in self.actions)

    def encode_state(self, state: Mapping[str, Array], max_dim: int) -> Array:
        """Normalize states ``{key: (B, T, D)}`` in physical units to float32 (B, T, max_dim).

        Columns beyond `state_width` are 0.
        """
        batch, steps = state[self.states[0].name].shape[:2]
        encoded = np.zeros((batch, steps, max_dim), dtype=np.float32)
        if self.exclude_state:
            return encoded
        parts = [key.normalization.normalize(state[key.name]) for key in self.states]
        encoded[..., : self.state_width] = np.concatenate(parts, axis=-1)
        return encoded

    def decode_action(self, normalized: Array, state: Mapping[str, Array]) -> dict[str, Array]:
        """Convert the network's output to absolute actions in physical units.

        Args:
            normalized: (B, T, W) with T at least `horizon` and W at least `action_dim`.
            state: States ``{key: (B, T, D)}`` in physical units; relative actions refer to the last
                step.

        Returns:
            ``{key: float32 (B, horizon, D)}``.

        Raises:
            PolicyError: The 6D rotation of a pose has a zero row or two parallel rows.
        """
        action = {}
        begin = 0
        for key in self.actions:
            values = normalized[:, : self.horizon, begin : begin + key.dim]
            begin += key.dim
            physical = key.normalization.unnormalize(values)
            if key.relative is not None:
                try:
                    physical = to_absolute(physical, state[key.state_key][:, -1], key.relative)
                except PolicyError as error:
                    raise PolicyError(f"action.{key.name}: {error}") from error
            action[key.name] = physical.astype(np.float32)
        return action

    def encode_action(
        self, action: Mapping[str, Array], state: Mapping[str, Array], max_dim: int
    ) -> Array:
        """Normalize the first K steps of a chunk; the inverse of `decode_action`.

        Values outside the range of the training data are clipped, as in training.

        Args:
            action: Absolute actions ``{key: (B, K, D)}`` in physical units.
            state: States ``{key: (B, T, D)}`` in physical units; relative actions refer to the last
                step.
            max_dim: Columns of the result, at least `action_dim`.

        Returns:
            float32 (B, K, max_dim); columns beyond `action_dim` are 0.
        """
        parts = []
        for key in self.actions:
            values = np.asarray(action[key.name], dtype=np.float64)
            if key.relative is not None:
                values = to_relative(values, state[key.state_key][:, -1], key.relative)
            parts.append(key.normalization.normalize(values))
        encoded = np.zeros((*parts[0].shape[:2], max_dim), dtype=np.float32)
        encoded[..., : self.action_dim] = np.concatenate(parts, axis=-1)
        return encoded
