# SPDX-License-Identifier: Apache-2.0
"""The action head: vision-language tokens and states in, a chunk of normalised actions out.

Flow matching (Lipman et al., 2023) as in GR00T N1: the network gives the velocity from noise to
actions, and `num_inference_timesteps` steps of Euler follow it. The weights that a checkpoint holds
for each embodiment are those of the one that is driven: plain linear layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.token_batch import Tokens
from gr00t_policy_core.models.common.transformer import (
    Context,
    DiT,
    Modulation,
    SelfAttentionTransformer,
)

PER_EMBODIMENT = ("state_encoder.", "action_encoder.", "action_decoder.")


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Everything that the denoising of one observation needs besides the noise.

    Args:
        state: (B, state tokens, input_embedding_dim).
        contexts: What each block of the DiT attends to.
        features: Of the vision-language tokens, (B, S, backbone_embedding_dim).
    """

    state: Tensor
    contexts: list[Context | None]
    features: Tensor


KEPT_COUNTS = 8  # numbers of Euler steps whose steps are kept


@dataclass(frozen=True, slots=True)
class Step:
    """One Euler step; the same for every observation.

    Args:
        modulation: What the timestep does in the DiT.
        time: What it adds in the action encoder, (input_embedding_dim,).
    """

    modulation: Modulation
    time: Tensor


class Mlp(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(input_dim, hidden_dim)
        self.layer2 = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer2(F.relu(self.layer1(x)))
        return result


class ActionEncoder(nn.Module):
    """Noisy actions (B, T, action_dim) and a timestep to tokens (B, T, width).

    The second layer takes the action's embedding and the timestep's side by side; its two halves
    are applied apart, and `time` computes the timestep's once.
    """

    def __init__(self, action_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.W1 = nn.Linear(action_dim, width)
        self.W2 = nn.Linear(2 * width, width)
        self.W3 = nn.Linear(width, width)

    def time(self, timestep: int) -> Tensor:
        """What the timestep contributes to the second layer, with its bias: (width,)."""
        half = self.width // 2
        exponents = torch.arange(half, dtype=torch.float32, device=self.W2.weight.device) / half
        angles = timestep * torch.exp(-math.log(10000.0) * exponents)
        sinusoids = torch.cat([angles.sin(), angles.cos()]).to(self.W2.weight.dtype)
        return F.linear(sinusoids, self.W2.weight[:, self.width :], self.W2.bias)

    def forward(self, actions: Tensor, time: Tensor) -> Tensor:
        x = F.linear(self.W1(actions), self.W2.weight[:, : self.width]) + time
        result: Tensor = self.W3(F.silu(x))
        return result


class ActionHead(nn.Module):
    """The part of GR00T that acts.

    Args:
        config: Its shape.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.input_embedding_dim, config.hidden_size
        state_dim = config.state_steps_per_token * config.max_state_dim
        self.state_encoder = Mlp(state_dim, hidden, width)
        self.action_encoder = ActionEncoder(config.max_action_dim, width)
        self.action_decoder = Mlp(config.dit_output_dim, hidden, config.max_action_dim)
        if config.add_pos_embed:
            self.position_embedding = nn.Embedding(config.max_seq_len, width)
        if config.use_vlln:
            self.vlln = nn.LayerNorm(config.backbone_embedding_dim)
        if config.vl_self_attention is not None:
            self.vl_self_attention = SelfAttentionTransformer(config.vl_self_attention)
        self.model = DiT(
            config.dit,
            config.dit_output_dim,
            config.backbone_embedding_dim,
            interleave=config.interleave_self_attention,
            text_every=config.attend_text_every_n_blocks,
        )
        self._steps: dict[int, tuple[Step, ...]] = {}

    def condition(self, features: Tensor, tokens: Tokens, state: Tensor) -> Conditioning:
        """Prepare the denoising of one observation.

        Args:
            features: Of the backbone, (B, S, backbone_embedding_dim).
            tokens: What they are of.
            state: (B, T, max_state_dim), normalised.
        """
        config = self.config
        if config.use_vlln:
            features = self.vlln(features)
        if config.vl_self_attention is not None:
            features = self.vl_self_attention(features, tokens.visible)
        batch, steps, dim = state.shape
        per_token = config.state_steps_per_token
        state = state.reshape(batch, steps // per_token, per_token * dim)
        contexts = self.model.contexts(*self._sources(features, tokens))
        return Conditioning(self.state_encoder(state), contexts, features)

    def sample(
        self,
        conditioning: Conditioning,
        noise: Tensor,
        velocity_scale: Tensor | None = None,
        euler: Callable[..., Tensor] | None = None,
        count: int | None = None,
    ) -> Tensor:
        """Denoise.

        Args:
            conditioning: From `condition`.
            noise: Where to begin, (B, action_horizon, max_action_dim).
            velocity_scale: How much each step of the chunk may move, (B, action_horizon, 1) or
                less by broadcasting; None for 1 everywhere.
            euler: What takes the place of `euler`, compiled for example.
            count: Of Euler steps; None for as many as the configuration says.

        Returns:
            Normalised actions, of the shape and dtype of `noise`.
        """
        euler = euler or self.euler
        count = count or self.config.num_inference_timesteps
        actions = noise
        for step in self.steps(count):
            actions = euler(actions, conditioning, step, velocity_scale, 1.0 / count)
        return actions

    def euler(
        self,
        actions: Tensor,
        conditioning: Conditioning,
        step: Step,
        velocity_scale: Tensor | None,
        size: float,
    ) -> Tensor:
        """One step of `sample`; `size` is how much of the way from noise to actions it takes."""
        velocity = self.velocity(actions, conditioning, step)
        if velocity_scale is not None:
            velocity = velocity * velocity_scale
        return torch.add(actions, velocity, alpha=size)

    def steps(self, count: int | None = None) -> tuple[Step, ...]:
        """The Euler steps, computed when first asked for and kept: they depend on weights only.

        Args:
            count: How many; None for as many as the configuration says.
        """
        count = count or self.config.num_inference_timesteps
        if count not in self._steps:
            times = [int(i / count * self.config.num_timestep_buckets) for i in range(count)]
            if len(self._steps) > KEPT_COUNTS:
                self._steps.popitem()
            self._steps[count] = tuple(
                Step(self.model.modulation(time), self.action_encoder.time(time)) for time in times
            )
        return self._steps[count]

    def velocity(self, actions: Tensor, conditioning: Conditioning, step: Step) -> Tensor:
        tokens = self.action_encoder(actions, step.time)
        if self.config.add_pos_embed:
            tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        x = torch.cat([conditioning.state, tokens], dim=1)
        x = self.model(x, step.modulation, conditioning.contexts)
        velocity: Tensor = self.action_decoder(x[:, -actions.shape[1] :])
        return velocity

    def _sources(
        self, features: Tensor, tokens: Tokens
    ) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
        """What the blocks of the DiT attend to that attend to text, and what the others do.

        Text and pictures are taken out instead of masked: fewer keys, and no mask for pictures.
        """
        if self.config.attend_text_every_n_blocks is None:
            return (features, tokens.visible), (features, None)
        text, images = (
            features.flatten(0, 1).index_select(0, where).unflatten(0, (len(features), -1))
            for where in (tokens.text, tokens.images)
        )
        return (text, tokens.text_visible), (images, None)
