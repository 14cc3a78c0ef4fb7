# SPDX-License-Identifier: Apache-2.0
"""An inference session: what the worker needs to ask one policy that fits the robot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.player_settings import MAX_AGE_S
from gr00t_policy_core.control.replan import ReplanTimer
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.resize import first_resize
from gr00t_ros.contract.compatibility import check_compatibility, undeclared_actions
from gr00t_ros.contract.contract import Contract
from gr00t_ros.policy.continuation import CAPABILITY, Continuation
from gr00t_ros.policy.described_contract import DescribedContract
from gr00t_ros.policy.observation_builder import ObservationBuilder, TimedObservation
from gr00t_ros.policy.observation_watch import ObservationWatch
from gr00t_ros.policy.policy_backend import require_loaded, takes_jpeg
from gr00t_ros.policy.robot_info import RobotInfo
from gr00t_ros.policy.streams import ObservationStreams


def no_options(t0_ns: int) -> None:
    """Return no options, for a policy that takes nothing but the observation."""


def no_problem() -> str:
    """Find nothing wrong, where every chunk is followed by another before it ends."""
    return ""


@dataclass(frozen=True, slots=True)
class InferenceSession:
    """Everything that the worker needs in order to ask one policy.

    Args:
        build: Builds an observation of the current time, or raises `NotReadyError`.
        timer: Decides when the next observation is sent.
        options: Makes the options that go with an observation, given its time t0, ns.
        image_resize: What the policy does first with an image, as it names it; empty where it names
            nothing.
        why_blind: Says why the robot must not play on while nothing is asked; empty where it may.
    """

    build: Callable[[], TimedObservation]
    timer: ReplanTimer
    options: Callable[[int], dict[str, Any] | None] = no_options
    image_resize: str = ""
    why_blind: Callable[[], str] = no_problem


class Logger(Protocol):
    """The methods that `logging` and rclpy's loggers have in common."""

    def debug(self, message: str) -> Any: ...

    def info(self, message: str) -> Any: ...

    def warning(self, message: str) -> Any: ...


class SessionFactory:
    """Makes inference sessions for one configuration of the node.

    Args:
        described: The parameters of the robot, with its description once it has arrived.
        streams: Receive the observations of the robot.
        continuation: Remembers the newest chunk, for a policy that continues chunks.
        robot_info: Adds what is known of the robot to the options.
        now_ns: The clock of the observation stamps, ns.
        instruction: Returns the newest published instruction; empty if there is none.
        logger: Receives the warnings of a session, each once.
    """

    def __init__(
        self,
        described: DescribedContract,
        streams: ObservationStreams,
        continuation: Continuation,
        robot_info: RobotInfo,
        *,
        now_ns: Callable[[], int],
        instruction: Callable[[], str],
        logger: Logger,
    ) -> None:
        self._described = described
        self._streams = streams
        self._continuation = continuation
        self._robot_info = robot_info
        self._now_ns = now_ns
        self._instruction = instruction
        self._logger = logger
        self._warned: set[str] = set()

    def make(self, policy: BasePolicy) -> InferenceSession:
        """Make the session of a policy.

        Raises:
            PolicyError: The policy does not answer, or does not fit the robot.
            NotReadyError: The policy is still being loaded, or a robot description is missing.
        """
        contract = self._described.contract
        configs = require_compatible(contract, policy)
        capabilities = policy.get_capabilities()
        self._warn(compatibility_warnings(contract, configs, capabilities))
        builder = ObservationBuilder(
            contract,
            configs,
            self._streams.buffers,
            takes_jpeg=takes_jpeg(contract.policy, capabilities),
            rejected=self._streams.rejected,
        )
        horizon = len(configs["action"].delta_indices)
        timer = ReplanTimer(
            chunk_s=(horizon - 1) / contract.action_rate_hz,
            step_s=1.0 / contract.action_rate_hz,
            interval_s=contract.replan_interval_s,
            sync=contract.inference == "sync",
        )

        watch = ObservationWatch(
            lambda: builder.reached_ns(self._now_ns()),
            self._now_ns,
            limit_s=contract.motion.max_observation_age_s or MAX_AGE_S,
        )

        def build() -> TimedObservation:
            built = builder.build(self._now_ns(), self._instruction() or contract.instruction)
            watch.begin(built.t0_ns)
            return built

        continues = _wants_continuation(contract) and CAPABILITY in capabilities

        def options(t0_ns: int) -> dict[str, Any] | None:
            continued = None
            if continues:
                continued = self._continuation.options(t0_ns, latency_s=timer.latency.value_s)
            return self._robot_info.with_info(continued, capabilities)

        self._continuation.forget()
        resize = first_resize(capabilities)
        return InferenceSession(
            build,
            timer,
            options,
            image_resize=resize.capability if resize is not None else "",
            why_blind=watch.problem if contract.inference == "sync" else no_problem,
        )

    def _warn(self, warnings: Iterator[str]) -> None:
        """Log each warning once: a new session is made after every failure."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._logger.warning(warning)


def require_compatible(contract: Contract, policy: BasePolicy) -> dict[str, ModalityConfig]:
    """Return the modality configs of a policy, after checking that it fits the robot.

    Raises:
        SpecError: The policy does not fit; one sentence for each reason.
        PolicyError: The policy does not answer, or could not be loaded.
        NotReadyError: The policy is still being loaded.
    """
    require_loaded(policy)
    configs = policy.get_modality_config()
    if "action" not in configs:
        raise SpecError("the policy does not say what it needs", [f"it names only {list(configs)}"])
    check_compatibility(
        contract, configs, policy.get_dimensions(), capabilities=policy.get_capabilities()
    )
    return configs


def compatibility_warnings(
    contract: Contract, configs: Mapping[str, ModalityConfig], capabilities: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence for each parameter that this policy cannot honour or does not settle."""
    settings = contract.policy
    if _wants_continuation(contract) and CAPABILITY not in capabilities:
        yield "blend: rtc is set, but the policy cannot continue chunks: offset_fade is used"
    if settings.image_encoding == "jpeg" and not takes_jpeg(settings, capabilities):
        yield "policy.image_encoding: jpeg is set, but the policy accepts only raw pixels"
    if settings.resize and first_resize(capabilities) is None:
        yield (
            "policy.resize is set, but the policy does not declare the size that it resizes to: "
            "images are sent in their own size"
        )
    undeclared = undeclared_actions(contract, configs)
    if undeclared:
        yield (
            f"the policy does not say (action_configs) whether {', '.join(undeclared)} are "
            "absolute values: the node treats them as positions"
        )


def _wants_continuation(contract: Contract) -> bool:
    return contract.motion.schedule.blend is BlendMode.RTC
