# SPDX-License-Identifier: Apache-2.0
"""Each field of a checkpoint's JSON files is of the kind that it must be of, or is named."""

import json
import re

import pytest
from models.checkpoints import edit, load
from models.golden import golden_of

from gr00t_policy_core import CheckpointError, PolicyError, SpecError

pytestmark = pytest.mark.usefixtures("no_weights")

TAG = "new_embodiment"  # of N1.7 a
STATISTICS = f"{TAG}.state.single_arm"


def put(path, value):
    """Changes a field of an object: put("a.b", 1)."""

    def change(content):
        *groups, name = path.split(".")
        for group in groups:
            content = content[group]
        content[name] = value

    return change


def refused(golden, folder, file, path, value, match, error=PolicyError):
    edit(folder / file, put(path, value))
    with pytest.raises(error, match=match):
        load(golden, folder)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("num_inference_timesteps", 0, "num_inference_timesteps must be a positive integer, got 0"),
        ("num_timestep_buckets", None, "num_timestep_buckets must be a positive .*None"),
        ("attend_text_every_n_blocks", -1, "attend_text_every_n_blocks must be .*-1"),
        ("action_horizon", "16", "action_horizon must be a positive integer, got '16'"),
        ("hidden_size", 40.0, r"hidden_size must be a positive integer, got 40\.0"),
        ("max_seq_len", True, "max_seq_len must be a positive integer, got True"),
        ("select_layer", [1], r"select_layer must be a positive integer, got \[1\]"),
        ("model_name", None, "model_name must be a string, got None"),
        ("use_vlln", "false", "use_vlln must be true or false, got 'false'"),
        ("max_seq_len", 3, "action_horizon is more than max_seq_len"),
        ("diffusion_model_cfg", "big", "diffusion_model_cfg must be an object, got 'big'"),
        ("diffusion_model_cfg", None, "diffusion_model_cfg must have layers"),
        ("diffusion_model_cfg.num_layers", "4", r"diffusion_model_cfg\.num_layers must be a pos"),
        (
            "diffusion_model_cfg.interleave_self_attention",
            1,
            ".*attention must be true or false, got 1",
        ),
    ],
)
def test_a_field_of_config_json_of_another_kind_is_named(golden, damaged, field, value, named):
    match = f"config.json.*: {named}"
    refused(golden, damaged(golden), "config.json", field, value, match, SpecError)


def test_every_wrong_field_is_named_at_once(n1d7, damaged):
    folder = damaged(n1d7)
    edit(folder / "config.json", put("hidden_size", "x"))
    refused(n1d7, folder, "config.json", "max_seq_len", "y", "hidden_size .*; max_seq_len ")


@pytest.mark.parametrize("nothing", [None, {}, {"num_layers": 0}])
def test_a_head_without_vl_self_attention_has_none(damaged, nothing):
    golden = golden_of("gr00t_n1d7/c")
    expected = "action_head.vl_self_attention.* belongs to no module"
    refused(golden, damaged(golden), "config.json", "vl_self_attention_cfg", nothing, expected)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (f"{STATISTICS}.q01", [0.0], r"single_arm: q01 and q99 .* one shape.* \(1,\) and \(5,\)"),
        (f"{STATISTICS}.q99", [0.0] * 4 + [None], "single_arm.q99 has values that are not finite"),
        (f"{STATISTICS}.q99", [0.0] * 4 + [float("inf")], "q99 has values that are not finite"),
        (f"{STATISTICS}.q01", [], r"single_arm.q01 must have 1 or 2 dim.* \(0,\)"),
        (
            f"{STATISTICS}.min",
            [[0.0] * 5] * 3,
            r"single_arm.min must have shape \(1, 5\), got \(3, ",
        ),
        (f"{TAG}.state", 7, r"state.single_arm is missing in .*statistics\.json; use the file"),
        (f"{TAG}.state.gripper", "x", "new_embodiment.state.gripper.min is missing"),
    ],
)
def test_statistics_that_would_spoil_every_answer_are_named(n1d7, damaged, path, value, named):
    refused(n1d7, damaged(n1d7), "statistics.json", path, value, named, SpecError)


def test_a_relative_action_that_refers_to_a_state_of_another_size_is_named(n1d7, damaged):
    folder = damaged(n1d7)
    config = f"processor_kwargs.modality_configs.{TAG}.action.action_configs"
    configs = json.loads((folder / "processor_config.json").read_text("utf-8"))
    first, second = configs["processor_kwargs"]["modality_configs"][TAG]["action"]["action_configs"]
    value = [{**first, "state_key": "gripper"}, second]
    named = "relative_action.single_arm has 5 values per step, the state 'gripper' has 1"
    refused(n1d7, folder, "processor_config.json", config, value, named, SpecError)


@pytest.mark.parametrize("number", [None, "10", 1.5, -1, True])
def test_the_number_of_a_robot_is_one(n1d7, damaged, number):
    named = f"embodiment_id.json: {TAG} must be an integer of at least 0, got {number!r}"
    refused(n1d7, damaged(n1d7), "embodiment_id.json", TAG, number, re.escape(named), SpecError)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("use_percentiles", "yes", "use_percentiles must be true or false, got 'yes'"),
        ("use_relative_action", 1, "use_relative_action must be true or false, got 1"),
        ("formalize_language", "x", "formalize_language must be true or false, got 'x'"),
        ("shortest_image_edge", 0, "shortest_image_edge must be a positive .*got 0"),
        ("crop_fraction", 1.5, r"crop_fraction must be above 0 and at most 1, got 1\.5"),
        ("crop_fraction", None, "image_crop_size must be height and width in pixels, got None"),
        ("use_albumentations", False, "image_target_size must be height and width.*got None"),
        ("modality_configs", 7, r"processor_config\.json: has no modality_configs"),
        (f"modality_configs.{TAG}", None, rf"modality_configs\.{TAG} lacks .*'video', 'state'"),
        (f"modality_configs.{TAG}.state", [], rf"modality_configs\.{TAG} lacks \['state'\]"),
        (
            f"modality_configs.{TAG}.video.delta_indices",
            [],
            rf"processor_config\.json: modality_configs\.{TAG}: video: .*delta_indices",
        ),
    ],
)
def test_a_field_of_processor_config_json_of_another_kind_is_named(
    n1d7, damaged, field, value, named
):
    path = f"processor_kwargs.{field}"
    refused(n1d7, damaged(n1d7), "processor_config.json", path, value, named)


@pytest.mark.parametrize("size", [256, [256], [256, 0], [256, "256"]])
def test_an_image_size_is_height_and_width(damaged, size):
    golden = golden_of("gr00t_n1d7/b")
    named = re.escape(f"image_target_size must be height and width in pixels, got {size!r}")
    path = "processor_kwargs.image_target_size"
    refused(golden, damaged(golden), "processor_config.json", path, size, named, SpecError)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "x, F32 .* cannot have"),
        (
            {"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}},
            "x has dtype F4, supported are",
        ),
        ({"x": {"dtype": "F32"}}, "x has no dtype, shape and data_offsets"),
        ({"x": 3}, "x has no dtype, shape"),
        ([], "its header must be an object, got list"),
    ],
)
def test_a_header_that_is_none_is_named(n1d7, damaged, header, named):
    file = damaged(n1d7) / "model.safetensors"
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(
        CheckpointError, match=rf"model\.safetensors: is not a safetensors .*{named}"
    ):
        load(n1d7, file.parent)


def test_an_index_of_something_else_than_files_is_named(n1d7, damaged):
    folder = damaged(n1d7)
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": 1}}), encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"index\.json: has no weight_map from tensors to fil"
    ):
        load(n1d7, folder)


def test_files_of_another_backbone_are_named(golden, tmp_path):
    for file in golden.backbone.iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((golden.backbone / "config.json").read_text("utf-8"))
    del config["vision_config"]
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json: lacks vision_config"):
        load(golden, golden.checkpoint, backbone_path=tmp_path)


@pytest.mark.parametrize(
    ("file", "field", "value", "named"),
    [
        ("config.json", "use_tactile", True, "config.json: use_tactile is True: tactile sens"),
        ("processor_config.json", "use_tactile", True, "processor_config.json: use_tactile is Tr"),
        ("processor_config.json", "use_tactile", "yes", "use_tactile is 'yes'"),
        ("processor_config.json", "use_mean_std", True, "use_mean_std is True: Isaac-GR00T of Ju"),
        ("processor_config.json", "use_depth", True, "use_depth is true, which is unknown here"),
        ("processor_config.json", "max_action_horizon", 8, "has an action horizon of 16, process"),
        ("processor_config.json", "max_state_dim", 5, "state values 6, processor_config.json's m"),
        ("processor_config.json", "max_action_dim", 5, "action values 6, processor_config.json's"),
        ("processor_config.json", "max_action_dim", "5", "max_action_dim must be a positive inte"),
    ],
)
def test_what_a_checkpoint_asks_for_and_nothing_does_is_refused(
    n1d7, damaged, file, field, value, named
):
    path = field if file == "config.json" else f"processor_kwargs.{field}"
    refused(n1d7, damaged(n1d7), file, path, value, named, SpecError)


@pytest.mark.parametrize("value", [False, None])
def test_a_switch_that_is_off_is_none_that_is_ignored(n1d7, damaged, value, caplog, monkeypatch):
    folder = damaged(n1d7)
    for field in ("use_tactile", "use_depth", "use_mean_std"):
        edit(folder / "processor_config.json", put(f"processor_kwargs.{field}", value))
    edit(folder / "config.json", put("use_tactile", value))
    edit(folder / "processor_config.json", put("processor_kwargs.fancy", [1, 2]))
    monkeypatch.undo()  # weights may be read
    caplog.set_level("WARNING")
    load(n1d7, folder)
    (record,) = (record for record in caplog.records if "ignoring" in record.getMessage())
    assert "processor_config.json: ignoring the unknown field fancy" in record.getMessage()
