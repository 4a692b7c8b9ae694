"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from loratory.errors import RunError
from loratory.files import fault, write_lines, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "one\r\n")
    write_lines(path, ("two ", "é\n"))
    assert path.read_bytes() == "two é\n".encode() and names(path.parent) == ["x.txt"]


def test_others_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "x", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


class Stop(BaseException):
    """As Ctrl-C is."""


@pytest.mark.parametrize("error", [ValueError("x"), Stop(), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    def lines():
        yield "new\n" * 10_000
        raise error

    path = tmp_path / "x.txt"
    write_text(path, "old")
    for target in (path, tmp_path / "absent.txt"):
        with pytest.raises(type(error)):
            write_lines(target, lines())
    assert path.read_text() == "old" and names(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free space"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "cannot be written (Read-only file system)"),
        (errno.EIO, "cannot be written (Input/output error)"),
    ],
)
def test_a_fault_of_the_disk_is_one_sentence(call, number, words, tmp_path, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "x.txt"
    write_text(path, "old")
    monkeypatch.setattr(f"loratory.files.os.{call}", fails)
    with pytest.raises(RunError) as caught:
        write_text(path, "new")
    assert words in str(caught.value) and str(path) in str(caught.value)
    assert path.read_text() == "old" and names(tmp_path) == ["x.txt"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(RunError, match="cannot be written"):
        write_text(tmp_path / "file" / "x", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="Permission denied"):
            write_text(tmp_path / "x", "")
    finally:
        tmp_path.chmod(0o700)


def test_real_errors_of_a_full_device_are_known(tmp_path: Path) -> None:
    """The words are the libraries' own: taken from them, not from memory."""
    import torch

    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    tensor = torch.zeros(1 << 20)
    with pytest.raises(Exception) as of_torch:  # noqa: PT011
        torch.save({"x": tensor}, full)
    with pytest.raises(OSError) as of_python:  # noqa: PT011
        full.write_text("x")
    for caught in (of_torch, of_python):
        found = fault(caught.value, tmp_path)
        assert found is not None and "the disk is full" in str(found)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("disk"), OSError(errno.ENOENT, "x")])
def test_errors_of_ours_are_not_explained_away(error: Exception, tmp_path: Path) -> None:
    assert fault(error, tmp_path) is None
