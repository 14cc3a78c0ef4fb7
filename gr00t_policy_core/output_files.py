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


def write_whole(*files: tuple[Path, str]) -> None:
    """Write files in UTF-8, all of them or none: where one fails, what was there before stays.

    Args:
        files: Path and text of each.

    Raises:
        OSError: One cannot be written; names it.
    """
    written = []
    try:
        for path, text in files:
            new = path.with_name(path.name + NEW_SUFFIX)
            written.append(new)
            try:
                new.write_text(text, encoding="utf-8")
            except OSError as error:  # of a full disk it names no file
                raise OSError(error.errno, error.strerror, str(path)) from error
        for new, (path, _) in zip(written, files, strict=True):
            new.replace(path)
    except BaseException:
        for new in written:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
        raise
