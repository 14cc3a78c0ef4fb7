# SPDX-License-Identifier: Apache-2.0
"""What an episode says of itself, in the custom data of its bag."""

import pytest
from policies_for_tests import parameters

from gr00t_ros.bags.episode_info import EpisodeInfo, config_text
from gr00t_ros.contract.contract import parse_contract

INFO = EpisodeInfo(
    task="pick: 'up'\nthe äpple",
    outcome="failure",
    notes="dropped it",
    truncated="",
    config=config_text(parameters()),
    versions={"gr00t_ros": "0.1.0"},
    started_ns=10**18,
    ended_ns=10**18 + 5,
    dropped={"/joint_states": 3},
)


def test_an_episode_reads_back_as_it_was_written() -> None:
    assert EpisodeInfo.from_custom_data(INFO.as_custom_data()) == INFO
    assert INFO.is_whole


def test_an_episode_is_truncated_until_its_end_is_written() -> None:
    assert not EpisodeInfo(task="wave").is_whole


def test_the_configuration_is_a_contract() -> None:
    assert INFO.parameters == parameters()
    assert parse_contract(INFO.parameters).record == parse_contract(parameters()).record


def test_entries_of_others_are_left_alone() -> None:
    data = {**INFO.as_custom_data(), "weather": "sunny"}
    assert EpisodeInfo.from_custom_data(data) == INFO


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gr00t_ros.layout": None}, "no episode of gr00t_ros"),
        ({"gr00t_ros.layout": "7"}, "an episode of layout 7; this version reads layout 1"),
        ({"gr00t_ros.task": None}, "lacks gr00t_ros.task"),
        ({"gr00t_ros.outcome": "great"}, "outcome 'great' is none of success, failure, unknown"),
        ({"gr00t_ros.dropped": "{"}, "is damaged"),
        ({"gr00t_ros.started_ns": "soon"}, "soon"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, str | None], problem: str) -> None:
    data = {**INFO.as_custom_data(), **changes}
    with pytest.raises(ValueError, match=problem):
        EpisodeInfo.from_custom_data({k: v for k, v in data.items() if v is not None})
