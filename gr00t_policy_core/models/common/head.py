# SPDX-License-Identifier: Apache-2.0
"""The action head: vision-language features and states to a chunk of normalized actions.

It uses flow matching (Lipman et al., 2023) as in GR00T N1: the network predicts the velocity from
noise to actions, and `num_inference_timesteps` Euler steps integrate it. A checkpoint has some
weights for each embodiment; the head has those of one embodiment, as plain linear layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.token_batch import TokenBatch
from gr00t_policy_core.models.common.transformer import (
    Context,
    DiT,
    Modulation,
    SelfAttentionTransformer,
)

PER_EMBODIMENT = ("state_encoder.", "action_encoder.", "action_decoder.")


@dataclass(frozen=True, slots=True)
class Conditioning:
    """The inputs of denoising besides the noise, the same for all steps.

    Args:
        state: Encoded state tokens, (B, state tokens, input_embedding_dim).
        contexts: Keys and values for each block of the DiT; None for blocks of self-attention.
        features: Vision-language features, (B, S, backbone_embedding_dim).
    """

    state: Tensor
    contexts: list[Context | None]
    features: Tensor


MAX_STEP_COUNTS = 8  # numbers of Euler steps whose `EulerStep`s are cached


@dataclass(frozen=True, slots=True)
class EulerStep:
    """The inputs of one Euler step that depend on its timestep only.

    Args:
        modulation: Scale and shift of the DiT's norms.
        time: The timestep's term in the action encoder, (input_embedding_dim,).
    """

    modulation: Modulation
    time: Tensor


class ReluMlp(nn.Module):
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

    The second layer reads the concatenation of the action's embedding and the timestep's. Its two
    halves are applied separately, so that `time` computes the timestep's term once.
    """

    def __init__(self, action_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.W1 = nn.Linear(action_dim, width)
        self.W2 = nn.Linear(2 * width, width)
        self.W3 = nn.Linear(width, width)

    def time(self, timestep: int) -> Tensor:
        """The timestep's term of the second layer, with its bias: (width,)."""
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
    """The action head: encoders of states and actions, the DiT, and an action decoder.

    Args:
        config: The shape of the head, from config.json.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.input_embedding_dim, config.hidden_size
        state_dim = config.state_steps_per_token * config.max_state_dim
        self.state_encoder = ReluMlp(state_dim, hidden, width)
        self.action_encoder = ActionEncoder(config.max_action_dim, width)
        self.action_decoder = ReluMlp(config.dit_output_dim, hidden, config.max_action_dim)
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
        self._steps: dict[int, tuple[EulerStep, ...]] = {}

    def condition(self, features: Tensor, tokens: TokenBatch, state: Tensor) -> Conditioning:
        """Prepare the denoising of one observation.

        Args:
            features: From the backbone, (B, S, backbone_embedding_dim).
            tokens: The tokens that the features belong to, with their masks.
            state: Normalized states, (B, T, max_state_dim).
        """
        config = self.config
        if config.use_vlln:
            features = self.vlln(features)
        if config.vl_self_attention is not None:
            features = self.vl_self_attention(features, tokens.token_bias)
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
        euler_step: Callable[..., Tensor] | None = None,
        count: int | None = None,
    ) -> Tensor:
        """Denoise with Euler steps.

        Args:
            conditioning: The inputs that all steps share, from `condition`.
            noise: The start, (B, action_horizon, max_action_dim).
            velocity_scale: Factor of the velocity of each step of the chunk, 0 to 1, broadcast to
                (B, action_horizon, 1); None means 1.
            euler_step: Replaces `ActionHead.euler_step`, for example by its compiled form.
            count: Number of Euler steps; None takes the configuration's.

        Returns:
            Normalized actions, of the shape and dtype of `noise`.
        """
        euler_step = euler_step or self.euler_step
        count = count or self.config.num_inference_timesteps
        actions = noise
        for step in self.euler_steps(count):
            actions = euler_step(actions, conditioning, step, velocity_scale, 1.0 / count)
        return actions

    def euler_step(
        self,
        actions: Tensor,
        conditioning: Conditioning,
        step: EulerStep,
        velocity_scale: Tensor | None,
        size: float,
    ) -> Tensor:
        """One step of `sample`; `size` is its part of the way from noise to actions, 0 to 1."""
        velocity = self.velocity(actions, conditioning, step)
        if velocity_scale is not None:
            velocity = velocity * velocity_scale
        return torch.add(actions, velocity, alpha=size)

    def euler_steps(self, count: int | None = None) -> tuple[EulerStep, ...]:
        """The Euler steps, cached after the first call, because they depend on weights only.

        Args:
            count: Number of steps; None takes the configuration's.
        """
        count = count or self.config.num_inference_timesteps
        if count not in self._steps:
            times = [int(i / count * self.config.num_timestep_buckets) for i in range(count)]
            if len(self._steps) > MAX_STEP_COUNTS:
                self._steps.popitem()
            self._steps[count] = tuple(
                EulerStep(self.model.modulation(time), self.action_encoder.time(time))
                for time in times
            )
        return self._steps[count]

    def velocity(self, actions: Tensor, conditioning: Conditioning, step: EulerStep) -> Tensor:
        """The velocity from noise to actions, of the shape of `actions`."""
        tokens = self.action_encoder(actions, step.time)
        if self.config.add_pos_embed:
            tokens = tokens + self.position_embedding.weight[: tokens.shape[1]]
        x = torch.cat([conditioning.state, tokens], dim=1)
        x = self.model(x, step.modulation, conditioning.contexts)
        velocity: Tensor = self.action_decoder(x[:, -actions.shape[1] :])
        return velocity

    def _sources(
        self, features: Tensor, tokens: TokenBatch
    ) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
        """The tokens and the bias for the DiT's text blocks, and those for its image blocks.

        Text and image tokens are gathered instead of masked: fewer keys, and no mask for images.
        """
        if self.config.attend_text_every_n_blocks is None:
            return (features, tokens.token_bias), (features, None)
        text, images = (
            features.flatten(0, 1).index_select(0, where).unflatten(0, (len(features), -1))
            for where in (tokens.text_positions, tokens.image_positions)
        )
        return (text, tokens.text_bias), (images, None)
