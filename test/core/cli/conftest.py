# SPDX-License-Identifier: Apache-2.0
"""A dataset to replay."""

import pytest
from lerobot_writer import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cli") / "dataset", [40, 25])
