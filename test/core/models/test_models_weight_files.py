# SPDX-License-Identifier: Apache-2.0
"""The weights are those that transformers would read, and nothing beside them counts."""

import json
import logging

import pytest
from models.checkpoints import assert_same_answer, load, shard
from safetensors.torch import load_file, save_file

from gr00t_policy_core import CheckpointError
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint

FIRST, SECOND = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(n1d7, damaged):
    return damaged(n1d7)


def spoiled(weights):
    """Other weights of the same shapes."""
    return {name: tensor + 0.5 for name, tensor in weights.items()}


def test_a_single_file_is_read_and_not_the_shards_of_an_older_index(n1d7, folder, caplog):
    weights = load_file(folder / "model.safetensors")
    save_file(spoiled(weights), folder / "model.safetensors")
    shard(folder)
    save_file(weights, folder / "model.safetensors")
    policy = load(n1d7, folder)
    assert_same_answer(policy, n1d7)
    assert f"the weights are model.safetensors; not read: {FIRST}, {SECOND}, {INDEX}" in caplog.text


@pytest.mark.parametrize("name", ["model_ema.safetensors", "model-2.safetensors"])
def test_a_file_beside_it_that_looks_like_weights_is_named_and_not_read(n1d7, folder, caplog, name):
    save_file(spoiled(load_file(folder / "model.safetensors")), folder / name)
    assert_same_answer(load(n1d7, folder), n1d7)
    assert f"the weights are model.safetensors; not read: {name}" in caplog.text


def test_a_tensor_is_read_from_the_shard_that_the_index_names(n1d7, folder, caplog):
    shard(folder)
    first, second = load_file(folder / FIRST), load_file(folder / SECOND)
    name = sorted(first)[0]
    save_file({**second, name: first[name] + 0.5}, folder / SECOND)
    policy = load(n1d7, folder)
    assert_same_answer(policy, n1d7)
    expected = f"not read, because {INDEX} does not name them: {name} of {SECOND}"
    assert expected in caplog.text


def test_the_log_says_which_files_were_read_and_how_large_they_are(n1d7, folder, caplog):
    shard(folder)
    with caplog.at_level(logging.INFO):
        load(n1d7, folder)
    for name in (FIRST, SECOND):
        size_mb = (folder / name).stat().st_size / 1e6
        assert f"reading weights from {folder / name} ({size_mb:.3g} MB)" in caplog.text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("model_ema.safetensors", "model_ema.safetensors may hold other weights, .* rename the"),
        (FIRST, rf"is missing, and so is {INDEX}, the index of {FIRST}"),
    ],
)
def test_weights_of_another_name_alone_are_not_guessed_at(folder, name, reason):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(CheckpointError, match=reason):
        open_checkpoint(folder)


def test_weights_in_a_pickle_file_alone_are_refused(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="pickle files are not read"):
        open_checkpoint(folder)


@pytest.mark.parametrize("shard_name", ["../other/model.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_that_leads_out_of_the_folder_is_refused(folder, shard_name):
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": shard_name}}))
    with pytest.raises(CheckpointError, match="which is not a safetensors file in its folder"):
        open_checkpoint(folder)
