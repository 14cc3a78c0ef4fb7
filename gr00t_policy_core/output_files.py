# SPDX-License-Identifier: Apache-2.0
"""Folders and files that a command leaves whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW_SUFFIX = ".new"


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the results of a block; where the block leaves none, it goes again.

    A folder that cannot be made or written is found before the work, not after it.

    Raises:
        OSError: It cannot be made, or not be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the folder cannot be written", str(folder))
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8; where that fails, what was there before stays.

    Raises:
        OSError: It cannot be written.
    """
    new = path.with_name(path.name + NEW_SUFFIX)
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
