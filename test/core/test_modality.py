# SPDX-License-Identifier: Apache-2.0
"""Modality configs, and holding observations and actions against them."""

from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr00t_policy_core import (
    ActionConfig,
    ActionFormat,
    ActionRepresentation,
    ActionType,
    ModalityConfig,
    PolicyError,
    SpecError,
)
from gr00t_policy_core.modality import (
    check_action,
    check_observation,
    modality_configs_from_json,
)

CONFIGS = {
    "video": ModalityConfig([0], ["front", "wrist"]),
    "state": ModalityConfig([-20, 0], ["arm", "gripper"]),
    "language": ModalityConfig([0], ["annotation.human.task"]),
    "action": ModalityConfig(list(range(16)), ["arm", "gripper"]),
}


def good_observation() -> dict:
    return {
        "video": {key: np.zeros((2, 1, 8, 6, 3), np.uint8) for key in ("front", "wrist")},
        "state": {
            "arm": np.zeros((2, 2, 6), np.float32),
            "gripper": np.zeros((2, 2, 1), np.float32),
        },
        "language": {"annotation.human.task": [["pick"], ["place"]]},
    }


def good_action() -> dict:
    return {"arm": np.zeros((2, 16, 6), np.float32), "gripper": np.zeros((2, 16, 1), np.float32)}


def test_an_observation_of_the_documented_layout_passes():
    check_observation(good_observation(), CONFIGS)


def test_keys_that_the_configs_do_not_name_are_ignored():
    observation = good_observation()
    observation["state"]["unused"] = "anything"
    observation["audio"] = None
    check_observation(observation, CONFIGS)


@pytest.mark.parametrize(
    ("modality", "key", "value", "expected"),
    [
        ("video", "front", np.zeros((2, 1, 8, 6, 3), np.float32), "dtype float32"),
        ("video", "front", np.zeros((2, 2, 8, 6, 3), np.uint8), "expected 1 steps, got 2"),
        ("video", "front", np.zeros((2, 1, 8, 6, 4), np.uint8), "expected 3 channels"),
        ("video", "front", np.zeros((8, 6, 3), np.uint8), "got shape (8, 6, 3)"),
        ("video", "wrist", np.zeros((2, 1, 0, 6, 3), np.uint8), "got shape (2, 1, 0, 6, 3)"),
        ("video", "front", [[0]], "got list [[0]]"),
        ("state", "arm", np.zeros((2, 2, 6)), "dtype float64"),
        ("state", "arm", np.zeros((2, 2, 6), ">f4"), "dtype >f4"),
        ("state", "arm", np.zeros((2, 1, 6), np.float32), "expected 2 steps, got 1"),
        ("state", "arm", np.zeros((2, 6), np.float32), "got shape (2, 6)"),
        ("state", "gripper", None, "got NoneType None"),
        ("language", "annotation.human.task", "pick", "expected a list of B lists"),
        ("language", "annotation.human.task", ["pick", "place"], "row 0: expected a list"),
        ("language", "annotation.human.task", [["pick"], ["a", "b"]], "row 1: expected 1 strings"),
        ("language", "annotation.human.task", [["pick"], [3]], "row 1: expected a list"),
        ("language", "annotation.human.task", [], "got list []"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_came(modality, key, value, expected):
    observation = good_observation()
    observation[modality][key] = value
    with pytest.raises(SpecError) as caught:
        check_observation(observation, CONFIGS)
    assert caught.value.problems[0].startswith(f"{modality}.{key}: ")
    assert expected in str(caught.value)


def test_a_missing_key_is_named_along_with_those_that_came():
    observation = good_observation()
    del observation["video"]["wrist"]
    with pytest.raises(SpecError, match=r"video\.wrist: missing, got only \['front'\]"):
        check_observation(observation, CONFIGS)


def test_flat_keys_are_told_which_server_takes_them():
    flat = {"video.front": good_observation()["video"]["front"], "state.arm": 0}
    with pytest.raises(SpecError, match=r"\['video.front', 'state.arm'\] are flat") as caught:
        check_observation(flat, CONFIGS)
    assert '{"video": {"front": …}}' in str(caught.value)
    assert "--use-sim-policy-wrapper" in str(caught.value)


def test_a_missing_modality_is_named():
    observation = good_observation()
    del observation["state"]
    with pytest.raises(SpecError, match="state: expected a dict of its keys, got NoneType"):
        check_observation(observation, CONFIGS)


def test_every_problem_is_reported_at_once():
    observation = good_observation()
    observation["video"]["front"] = None
    observation["state"]["arm"] = None
    with pytest.raises(SpecError) as caught:
        check_observation(observation, CONFIGS)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "video.front",
        "state.arm",
    ]


def test_different_batch_sizes_are_refused_across_modalities():
    observation = good_observation()
    observation["language"]["annotation.human.task"] = [["pick"]]
    with pytest.raises(SpecError, match=r"batch sizes differ.*'video\.front': 2.*human\.task': 1"):
        check_observation(observation, CONFIGS)


@pytest.mark.parametrize("observation", [None, [], np.zeros(3), "obs"])
def test_what_is_no_dict_is_no_observation(observation):
    with pytest.raises(SpecError, match="expected a dict"):
        check_observation(observation, CONFIGS)


def test_a_large_value_is_not_printed():
    observation = good_observation()
    observation["video"]["front"] = b"x" * 1_000_000
    with pytest.raises(SpecError) as caught:
        check_observation(observation, CONFIGS)
    assert len(str(caught.value)) < 300


ARRAYS = st.builds(
    np.zeros,
    st.lists(st.sampled_from([0, 1, 2, 3, 16]), min_size=2, max_size=5).map(tuple),
    st.sampled_from(["uint8", "float32", ">f4", "float64"]),
)
VALUES = ARRAYS | st.sampled_from(
    [None, 1.0, [], ["pick"], [["pick"]], [["pick"], ["place"]], [["pick"], [1]], (("pick",),) * 2]
)


def outcome(check, *args) -> str:
    try:
        check(*args)
    except SpecError as error:
        return str(error)
    return "fits"


def differs_from_documented(value: object, like: object) -> bool:
    """Whether a value does not have the layout of one that is documented, told independently."""
    if isinstance(like, np.ndarray):
        if not isinstance(value, np.ndarray) or value.dtype != like.dtype:
            return True
        free_axes = {2, 3} if like.dtype == np.uint8 else {2}
        return value.ndim != like.ndim or any(
            size != wanted if axis not in free_axes else not size
            for axis, (size, wanted) in enumerate(zip(value.shape, like.shape, strict=True))
        )
    rows = isinstance(value, list) and [len(row) for row in value if isinstance(row, list)]
    return rows != [1, 1] or not all(isinstance(prompt, str) for row in value for prompt in row)


@given(modality=st.sampled_from(["video", "state", "language"]), value=VALUES, data=st.data())
def test_an_observation_passes_where_every_value_has_the_documented_layout(modality, value, data):
    observation = good_observation()
    key = data.draw(st.sampled_from(sorted(observation[modality])))
    like = observation[modality][key]
    observation[modality][key] = value
    found = outcome(check_observation, observation, CONFIGS)
    assert (found != "fits") == differs_from_documented(value, like)
    assert outcome(check_observation, MappingProxyType(observation), CONFIGS) == found


@given(value=VALUES, bad=st.sampled_from([0.0, np.nan, np.inf, -np.inf]))
def test_an_action_passes_where_every_value_has_the_documented_layout_and_is_finite(value, bad):
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind == "f":
        value.flat[-1] = bad
    action = {**good_action(), "arm": value}
    found = outcome(check_action, action, CONFIGS["action"])
    is_wrong = differs_from_documented(value, good_action()["arm"]) or not np.isfinite(value).all()
    assert (found != "fits") == is_wrong
    assert outcome(check_action, MappingProxyType(action), CONFIGS["action"]) == found


def test_an_action_of_the_documented_layout_passes():
    check_action(good_action(), CONFIGS["action"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros((2, 16, 6)), "dtype float64"),
        (np.zeros((2, 15, 6), np.float32), "expected 16 steps, got 15"),
        (np.zeros((16, 6), np.float32), "got shape"),
        (np.full((2, 16, 6), np.nan, np.float32), "not finite"),
        (np.full((2, 16, 6), -np.inf, np.float32), "not finite"),
        (np.zeros((1, 16, 6), np.float32), "batch sizes differ"),
        ([[0.0]], "got list"),
    ],
)
def test_a_wrong_action_is_refused_with_its_key_and_what_came(value, expected):
    with pytest.raises(SpecError, match=r"action\.arm") as caught:
        check_action({**good_action(), "arm": value}, CONFIGS["action"])
    assert expected in str(caught.value)


def test_a_missing_action_key_is_named():
    with pytest.raises(SpecError, match=r"action\.gripper: missing, got only \['arm'\]"):
        check_action({"arm": good_action()["arm"]}, CONFIGS["action"])


def test_what_is_no_dict_is_no_action():
    with pytest.raises(SpecError, match="expected a dict"):
        check_action(np.zeros(3), CONFIGS["action"])


def test_spec_errors_are_value_errors_as_existing_code_expects():
    assert issubclass(SpecError, ValueError)
    assert issubclass(SpecError, PolicyError)


def test_a_config_takes_ranges_and_keeps_lists():
    config = ModalityConfig(range(3), ("a", "b"))
    assert (config.delta_indices, config.modality_keys) == ([0, 1, 2], ["a", "b"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"delta_indices": []}, "delta_indices must be a non-empty list"),
        ({"delta_indices": 3}, "delta_indices must be a non-empty list"),
        ({"delta_indices": [0.5]}, "delta_indices must be a non-empty list"),
        ({"modality_keys": []}, "modality_keys must be a non-empty list"),
        ({"modality_keys": "front"}, "modality_keys must be a non-empty list"),
        ({"modality_keys": ["a", "a"]}, "must not repeat"),
        ({"modality_keys": None, "action_configs": []}, "modality_keys must be"),
        ({"sin_cos_embedding_keys": "arm"}, "sin_cos_embedding_keys must be a list"),
        ({"mean_std_embedding_keys": [1]}, "mean_std_embedding_keys must be a list"),
        ({"action_configs": []}, "one entry per key, got 0 for 1 keys"),
        ({"action_configs": 5}, "action_configs must be a list"),
        ({"action_configs": [5]}, "bad action config"),
        ({"action_configs": [{"rep": "ABSOLUTE"}]}, "bad action config"),
        (
            {"action_configs": [{"rep": "SIDEWAYS", "type": "EEF", "format": "DEFAULT"}]},
            "rep must be one of",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_its_field(fields, expected):
    with pytest.raises(SpecError) as caught:
        ModalityConfig(**{"delta_indices": [0], "modality_keys": ["arm"], **fields})
    assert expected in str(caught.value)


def test_enums_are_read_by_member_or_name_and_written_by_name():
    by_name = ActionConfig("relative", "EEF", "XYZ_ROT6D", "arm")
    by_member = ActionConfig(
        ActionRepresentation.RELATIVE, ActionType.EEF, ActionFormat.XYZ_ROT6D, "arm"
    )
    assert by_name == by_member
    assert by_name.as_json() == {
        "rep": "RELATIVE",
        "type": "EEF",
        "format": "XYZ_ROT6D",
        "state_key": "arm",
    }


def test_a_config_survives_its_json_form():
    config = ModalityConfig(
        list(range(4)),
        ["arm"],
        sin_cos_embedding_keys=["arm"],
        mean_std_embedding_keys=[],
        action_configs=[ActionConfig("DELTA", "NON_EEF", "DEFAULT")],
    )
    assert modality_configs_from_json({"action": config.as_json()}) == {"action": config}


def test_every_bad_config_of_a_file_is_named():
    raw = {"video": {"delta_indices": [0]}, "state": {"delta_indices": [], "modality_keys": ["a"]}}
    with pytest.raises(SpecError) as caught:
        modality_configs_from_json(raw)
    assert "video: " in str(caught.value)
    assert "state: bad modality config: delta_indices" in str(caught.value)


def test_a_config_file_entry_that_is_no_object_is_named():
    with pytest.raises(SpecError, match=r"video: .*"):
        modality_configs_from_json({"video": 3})


def test_a_config_file_that_is_no_object_is_refused():
    with pytest.raises(SpecError, match="expected a dict, got list"):
        modality_configs_from_json([1])
