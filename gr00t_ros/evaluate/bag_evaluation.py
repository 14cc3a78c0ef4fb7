# SPDX-License-Identifier: Apache-2.0
"""Plays one bag to the policy node, and compares its chunks with the recorded actions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gr00t_policy_core.errors import PolicyError
from gr00t_policy_core.evaluation.open_loop import AskingPlan, EpisodeResult
from gr00t_ros.bags.reader import Bag
from gr00t_ros.convert.bag_messages import message_types, rejections, task_of, timed_messages
from gr00t_ros.convert.interventions import Interventions
from gr00t_ros.convert.robot import Robot
from gr00t_ros.convert.settings import MIN_LENGTH_S
from gr00t_ros.convert.steps import Dropped, Step, StepBuilder
from gr00t_ros.evaluate.asked_policy import AskedPolicy, KeptObservations
from gr00t_ros.evaluate.episode_answers import (
    Answer,
    chunk_in_policy_units,
    chunk_times_ns,
    episode_result,
)
from gr00t_ros.evaluate.node_session import NodeSession, node_session
from gr00t_ros.evaluate.recorded_actions import RecordedActions
from gr00t_ros.policy.observation_builder import NotReadyError
from gr00t_ros.policy.stream_buffers import StreamBuffers

SHORT = f"in an episode of less than {MIN_LENGTH_S:g} s"  # as `convert` leaves them out


@dataclass(frozen=True, slots=True, kw_only=True)
class BagSettings:
    """How bags are read.

    Args:
        lead_steps: Steps by which a measured state is ahead of the step whose action it is; None
            where the action is what was commanded.
        task: The task of bags that do not name theirs; empty for the contract's.
        clock_topic: Whether the time is that of the bag's /clock, instead of the reception.
    """

    lead_steps: int | None
    task: str
    clock_topic: bool


@dataclass(slots=True)
class _Episode:
    """The steps since the last gap of the recording."""

    index: int
    steps: int = 0
    next_step: int = 0  # at which the node is asked again
    answers: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class BagAnswers:
    """What came of one bag.

    Args:
        episodes: The results, one for each part of the bag without a gap.
        by_number: Episode and chunk of each compared answer, by the number of the answer.
        left_out: Steps at which the node was not or could not be asked, by reason.
        notes: What else there is to know, a sentence each.
    """

    episodes: list[EpisodeResult] = field(default_factory=list)
    by_number: dict[int, tuple[EpisodeResult, int]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The compared steps."""
        return sum(result.steps for result in self.episodes)


class BagEvaluation:
    """The evaluation of one policy on one bag.

    Args:
        bag: The bag.
        robot: The robot.
        policy: The policy.
        plan: How it is asked; its keys are actions of the contract.
        settings: How the bag is read.
        kept: Keeps some of the observations.
        first_index: The number of the bag's first episode.

    Raises:
        BagError: The bag lacks a topic, or names no task.
        SpecError: The contract does not allow the source of actions.
    """

    def __init__(
        self,
        bag: Bag,
        robot: Robot,
        policy: AskedPolicy,
        plan: AskingPlan,
        settings: BagSettings,
        *,
        kept: KeptObservations,
        first_index: int,
    ) -> None:
        contract = robot.contract
        self._bag = bag
        self._robot = robot
        self._policy = policy
        self._plan = plan
        self._kept = kept
        self._lead_steps = settings.lead_steps or 0
        self._index = first_index
        self._buffers = StreamBuffers(contract)
        self._recorded = RecordedActions(settings.lead_steps, contract, self._buffers)
        self._types = message_types(bag, contract, self._recorded, clock_topic=settings.clock_topic)
        self._task = task_of(bag, settings.task or contract.record.task)
        self._done = BagAnswers()

    def run(self) -> BagAnswers:
        """Play the bag, and ask the policy along it.

        Raises:
            PolicyError: The policy fails, or the node cannot be configured.
        """
        done, unreadable = self._done, Counter[str]()
        messages = timed_messages(self._bag, self._types, unreadable, lambda seconds: None)
        with node_session(self._robot, self._policy, self._task, self._types) as session:
            builder = StepBuilder(
                self._robot.contract, self._buffers, self._recorded, Interventions(None)
            )
            episode = _Episode(self._index)
            for event in builder.events(session.playing(messages)):
                if isinstance(event, Step):
                    self._step(session, episode, event)
                    if self._is_enough(episode):
                        break
                    continue
                self._finish(episode)
                episode = _Episode(self._index + len(done.episodes))
                self._note(event)
            self._finish(episode)
            rejected = rejections(self._robot.contract, session.rejected)
        done.notes += [f"{topic}: {n} messages cannot be read" for topic, n in unreadable.items()]
        done.notes += [f"{stream}: {text}" for stream, text in rejected.items()]
        if self._bag.truncated:
            done.notes.append(f"truncated: {self._bag.truncated}")
        return done

    def _step(self, session: NodeSession, episode: _Episode, step: Step) -> None:
        """Have the node asked at a step, if it is time."""
        number, episode.steps = episode.steps, episode.steps + 1
        if number < episode.next_step or self._covered(episode) >= self._max_steps():
            return
        try:
            answer = self._ask(session, episode, number)
        except NotReadyError as error:
            self._done.left_out[error.cause] += 1
            return  # asked again at the next step
        except PolicyError as error:
            where = f"{self._bag.path.name}, step {number}"
            raise PolicyError(f"{where}: the policy failed: {error}") from error
        episode.answers.append(answer)
        episode.next_step = number + self._plan.stride

    def _ask(self, session: NodeSession, episode: _Episode, step: int) -> Answer:
        policy = self._policy
        if not episode.answers:
            policy.place = {"episode_index": episode.index}
            session.reset()
        if policy.is_replay:
            policy.place = {"episode_index": episode.index, "step_index": step}
            session.reset()
        chunk = session.ask()
        times_ns = chunk_times_ns(chunk, self._plan.horizon, self._lead_steps)
        self._recorded.want(times_ns)
        return Answer(
            number=self._kept.offer(policy.observation),
            step=step,
            times_ns=times_ns,
            chunk=chunk_in_policy_units(chunk, self._robot.contract),
            states={k: v[0, -1] for k, v in policy.observation.get("state", {}).items()},
            latency_s=chunk.round_trip_s,
        )

    def _max_steps(self) -> int:
        """The steps that are still to be compared."""
        return self._plan.max_steps - self._done.steps

    def _covered(self, episode: _Episode) -> int:
        return len(episode.answers) * self._plan.stride

    def _is_enough(self, episode: _Episode) -> bool:
        """Whether all steps are covered, and the recording has passed the end of the last chunk."""
        if not episode.answers or self._covered(episode) < self._max_steps():
            return False
        return episode.steps > episode.answers[-1].step + self._plan.horizon + self._lead_steps

    def _note(self, event: Dropped) -> None:
        if event.count:
            self._done.left_out[event.cause] += event.count
        else:
            self._done.notes.append(f"the episode ends: {event.cause}")

    def _finish(self, episode: _Episode) -> None:
        """Compare what was answered along an episode."""
        found = self._compared(episode)
        self._recorded.forget()
        if found is None:
            return
        result, answers = found
        self._done.episodes.append(result)
        self._done.by_number |= {a.number: (result, n) for n, a in enumerate(answers)}

    def _compared(self, episode: _Episode) -> tuple[EpisodeResult, list[Answer]] | None:
        usable = max(0, episode.steps - self._lead_steps)
        if 0 < usable < MIN_LENGTH_S * self._robot.contract.action_rate_hz:
            self._done.left_out[SHORT] += usable
            return None
        parts = len(self._done.episodes)
        return episode_result(
            episode.answers,
            self._recorded,
            self._plan,
            episode_index=episode.index,
            name=self._bag.path.name + (f", part {parts + 1}" if parts else ""),
            max_steps=self._max_steps(),
        )
