# SPDX-License-Identifier: Apache-2.0
"""Datasets that are damaged, or of another kind: the error names the file and what is wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest
from lerobot_writer import (
    MODALITY,
    lists,
    pa,
    pq,
    write_dataset,
)
from replays import LENGTHS, V2_FILE, both_layouts

from gr00t_policy_core import DatasetError, PolicyError, ReplayPolicy


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: no such directory"):
        ReplayPolicy(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["meta/info.json", "meta/modality.json", "meta/episodes.jsonl"])
@pytest.mark.parametrize("content", [None, "{", "[1, 2]", "\xff"])
def test_a_missing_or_damaged_meta_file_is_named(v2_dataset, name, content):
    (v2_dataset / name).unlink()
    if content is not None:
        (v2_dataset / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DatasetError) as caught:
        ReplayPolicy(v2_dataset)
    assert str(caught.value).startswith(str(v2_dataset / name))


def change_info(dataset, **fields):
    file = dataset / "meta/info.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize("version", ["v1.6", "v4.0", None, 3])
def test_an_unknown_version_is_refused_with_those_that_are_known(v2_dataset, version):
    change_info(v2_dataset, codebase_version=version)
    with pytest.raises(DatasetError, match=r"info\.json: codebase_version must be one of .*v2\.1"):
        ReplayPolicy(v2_dataset)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_path", "data/{episode_chunk}/{episode_name}.parquet"),
        ("data_path", "data/{episode_index:06q}.parquet"),
        ("data_path", 7),
        ("chunks_size", "many"),
        ("chunks_size", -1),
    ],
)
def test_a_bad_path_of_the_data_is_refused(v2_dataset, field, value):
    change_info(v2_dataset, **{field: value})
    with pytest.raises(DatasetError, match=rf"info\.json: {field} must be"):
        ReplayPolicy(v2_dataset)


def test_the_data_path_of_info_json_is_followed(v2_dataset):
    change_info(v2_dataset, data_path="a/{episode_chunk}/{episode_index}.pq", chunks_size=1)
    for index in range(3):
        new = v2_dataset / f"a/{index}/{index}.pq"
        new.parent.mkdir(parents=True)
        (v2_dataset / f"data/chunk-000/episode_00000{index}.parquet").rename(new)
    assert ReplayPolicy(v2_dataset, episode_index=2).episode_length == 7


def test_a_dataset_without_episodes_is_refused(v2_dataset):
    (v2_dataset / "meta/episodes.jsonl").write_text("\n")
    with pytest.raises(DatasetError, match="no episodes"):
        ReplayPolicy(v2_dataset)


def test_an_episode_list_that_is_wrong_is_refused(v2_dataset):
    (v2_dataset / "meta/episodes.jsonl").write_text('{"episode_index": 0, "length": "long"}\n')
    with pytest.raises(DatasetError, match=r"episodes\.jsonl: .*integer 'length'"):
        ReplayPolicy(v2_dataset)


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_a_damaged_parquet_file_is_named(v2_dataset, content):
    (v2_dataset / V2_FILE).write_bytes(content)
    with pytest.raises(DatasetError, match=r"episode_000000\.parquet: cannot be read as parquet"):
        ReplayPolicy(v2_dataset)


def test_a_git_lfs_pointer_is_told_from_a_damaged_file(v2_dataset):
    (v2_dataset / V2_FILE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DatasetError, match=r"Git LFS pointer.*git lfs pull"):
        ReplayPolicy(v2_dataset)


def test_a_missing_column_is_named_with_its_file(v2_dataset):
    pq.write_table(pa.table({"other": [1]}), v2_dataset / V2_FILE)
    with pytest.raises(DatasetError, match=r"000000\.parquet: no column \['action'\], only"):
        ReplayPolicy(v2_dataset)


def test_an_episode_of_another_length_than_its_list_says_is_refused(v2_dataset):
    other = v2_dataset / "data/chunk-000/episode_000001.parquet"
    (v2_dataset / V2_FILE).write_bytes(other.read_bytes())
    with pytest.raises(DatasetError, match=r"has 25 steps of episode 0, .* says 40"):
        ReplayPolicy(v2_dataset)


def narrow(values):
    return lists(values[:, :5])


def ragged(values):
    return pa.array([row[: 6 + i % 2].tolist() for i, row in enumerate(values)])


def text(values):
    return pa.array(["left"] * len(values))


def with_nan(values):
    return lists(np.where(values == values[3], np.nan, values))


def with_null_row(values):
    return pa.array([None, *values[1:].tolist()], pa.list_(pa.float32()))


def with_null_value(values):
    return pa.array([[None, *row[1:]] for row in values.tolist()], pa.list_(pa.float32()))


def with_null_integer(values):
    return pa.array([[None] + [1] * 6 for _ in values], pa.list_(pa.int64()))


@both_layouts
@pytest.mark.parametrize(
    ("to_column", "expected"),
    [
        (narrow, r"column 'action' has 5 values .* action\.single_arm is \[0:6\]"),
        (ragged, r"expected lists of one length, got lengths \[6, 7\]"),
        (text, "expected numbers or lists of numbers, got string"),
        (with_nan, "not finite"),
        (with_null_row, "1 rows are missing"),
        (with_null_value, "missing or non-finite values"),
        (with_null_integer, "missing or non-finite values"),
    ],
)
def test_a_column_that_holds_no_usable_actions_is_refused(tmp_path, version, to_column, expected):
    dataset = write_dataset(tmp_path / "d", LENGTHS, version, to_column=to_column)
    with pytest.raises(DatasetError, match=expected) as caught:
        ReplayPolicy(dataset)
    assert ".parquet: " in str(caught.value)


@pytest.mark.parametrize(
    "entry", [{}, {"start": 0}, {"start": 3, "end": 3}, {"start": -1, "end": 2}, [0, 6], None]
)
def test_a_bad_slice_in_modality_json_is_named(tmp_path, entry):
    modality = {**MODALITY, "action": {"arm": entry}}
    with pytest.raises(DatasetError, match=r"modality\.json: action\.arm must have integers"):
        ReplayPolicy(write_dataset(tmp_path / "d", [5], modality=modality))


def test_a_v3_dataset_without_its_episode_files_is_refused(tmp_path):
    dataset = write_dataset(tmp_path / "d", [5], "v3.0")
    (dataset / "meta/episodes/chunk-000/file-000.parquet").unlink()
    with pytest.raises(DatasetError, match="meta/episodes: has no chunk"):
        ReplayPolicy(dataset)


def test_a_dataset_error_is_a_policy_error_and_a_value_error():
    assert issubclass(DatasetError, PolicyError)
    assert issubclass(DatasetError, ValueError)


def test_without_pyarrow_the_error_says_what_to_install(v2_dataset):
    program = (
        "import sys\n"
        "sys.modules['pyarrow'] = None\n"
        "from gr00t_policy_core import ReplayPolicy\n"
        "try: ReplayPolicy(sys.argv[1])\n"
        "except ImportError as error: print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(v2_dataset)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "pip install '.[replay]'" in answer.stdout


def test_importing_the_core_does_not_import_pyarrow():
    program = "import sys, gr00t_policy_core; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
