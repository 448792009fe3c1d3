"""Files are whole or absent."""

import errno
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedliver import files
from fedliver.errors import FedLiverError
from fedliver.files import sha256_of, write_file, write_folder, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_text_is_written_into_folders_that_are_made_for_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "text.json", "größer\n")
    assert (tmp_path / "a" / "b" / "text.json").read_bytes() == "größer\n".encode()
    assert names(tmp_path / "a" / "b") == ["text.json"]


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_library_that_says_something_of_its_own_on_a_full_disk_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    def as_torch_does(part: Path) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 896 vs 790")

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(FedLiverError) as refusal:
        write(tmp_path / "model", as_torch_does)
    assert refusal.value.code == "disk-full"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(RuntimeError, match="unexpected pos"):
        write(tmp_path / "model", as_torch_does)
    assert names(tmp_path) == []


def test_the_temporary_name_keeps_every_suffix_of_the_target(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_file(tmp_path / "case.seg.nrrd", lambda part: (seen.append(part), part.write_text("x")))
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(files.PART_PREFIX)
    assert seen[0].name.endswith("case.seg.nrrd")


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("broken"), FedLiverError("other-grid", "Not on this grid.")])
def test_whatever_goes_wrong_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException) -> None:
    target = tmp_path / "kept.txt"
    target.write_text("old")

    def fail(part: Path) -> None:
        part.write_text("half of the n")
        raise fault

    with pytest.raises(type(fault)):
        write_file(target, fail)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["kept.txt"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk-full"), (errno.EDQUOT, "disk-full"), (errno.EFBIG, "disk-full"), (errno.EACCES, "not-writable"), (errno.EROFS, "not-writable")],
)
@pytest.mark.parametrize("moment", ["writing", "syncing", "renaming"])
def test_the_disks_refusals_are_told_in_words_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, moment: str) -> None:
    target = tmp_path / "kept.txt"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if moment == "syncing":
        monkeypatch.setattr(files.os, "fsync", fail)
    elif moment == "renaming":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FedLiverError) as refusal:
        write_file(target, fail if moment == "writing" else lambda part: part.write_text("new"))
    assert refusal.value.code == code
    assert target.read_text() == "old"
    assert names(tmp_path) == ["kept.txt"]


def test_a_name_that_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "below.txt", tmp_path / "folder", tmp_path / ("long" * 100)):
        with pytest.raises(FedLiverError) as refusal:
            write_text(target, "new")
        assert refusal.value.code == "bad-name"
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_what_is_written_is_the_users_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "key", "secret")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_the_file_and_its_folder_are_synced_before_and_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    rename, sync = Path.replace, files._sync

    def replace(self: Path, goal: Path) -> Path:
        events.append("rename")
        return rename(self, goal)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "_sync", lambda path: (events.append("folder" if path.is_dir() else "file"), sync(path)))
    write_text(tmp_path / "x", "y")
    assert events == ["file", "rename", "folder"]


class TestFolders:
    def fill(self, content: str):
        def furnish(part: Path) -> None:
            (part / "sub").mkdir()
            (part / "sub" / "a.txt").write_text(content)

        return furnish

    def test_a_folder_appears_whole_and_replaces_an_older_one(self, tmp_path: Path) -> None:
        target = tmp_path / "bundle"
        write_folder(target, self.fill("one"))
        (target / "stale.txt").write_text("of the old folder")
        write_folder(target, self.fill("two"), mark="sub/a.txt")
        assert (target / "sub" / "a.txt").read_text() == "two"
        assert names(target) == ["sub"]
        assert names(tmp_path) == ["bundle"]

    @pytest.mark.parametrize("mark", ["", "sub/a.txt"])
    def test_somebodys_own_folder_is_never_replaced(self, tmp_path: Path, mark: str) -> None:
        target = tmp_path / "bundle"
        target.mkdir()
        (target / "thesis.tex").write_text("years of work")
        with pytest.raises(FedLiverError) as refusal:
            write_folder(target, self.fill("two"), mark=mark)
        assert refusal.value.code == "exists"
        assert names(target) == ["thesis.tex"]
        assert names(tmp_path) == ["bundle"]

    def test_a_fault_that_has_no_name_here_is_one_sentence(self, tmp_path: Path) -> None:
        def lost(part: Path) -> None:
            raise OSError(errno.ESTALE, "Stale file handle")

        with pytest.raises(FedLiverError, match=r"bundle could not be saved \(Stale file handle\)"):
            write_folder(tmp_path / "bundle", lost)
        assert names(tmp_path) == []

    def test_a_fault_while_filling_leaves_the_old_folder(self, tmp_path: Path) -> None:
        target = tmp_path / "bundle"
        write_folder(target, self.fill("one"))

        def full(part: Path) -> None:
            (part / "half").write_text("x")
            raise OSError(errno.ENOSPC, "no space left")

        with pytest.raises(FedLiverError) as refusal:
            write_folder(target, full, mark="sub/a.txt")
        assert refusal.value.code == "disk-full"
        assert (target / "sub" / "a.txt").read_text() == "one"
        assert names(tmp_path) == ["bundle"]

    def test_a_fault_in_the_last_rename_puts_the_old_folder_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target = tmp_path / "bundle"
        write_folder(target, self.fill("one"))
        rename, calls = Path.replace, []

        def replace(self: Path, goal: Path) -> Path:
            calls.append(goal)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "no space left")
            return rename(self, goal)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(FedLiverError):
            write_folder(target, self.fill("two"), mark="sub/a.txt")
        assert (target / "sub" / "a.txt").read_text() == "one"
        assert names(tmp_path) == ["bundle"]


class TestHash:
    def test_is_that_of_the_files_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "abc").write_bytes(b"abc")
        assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    def test_of_a_folder_depends_on_names_and_contents_and_not_on_where_it_lies(self, tmp_path: Path) -> None:
        def folder(name: str, content: dict[str, bytes]) -> Path:
            for path, data in content.items():
                (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / path).write_bytes(data)
            return tmp_path / name

        first = sha256_of(folder("1", {"a": b"x", "s/b": b"y"}))
        assert sha256_of(folder("2", {"s/b": b"y", "a": b"x"})) == first
        assert sha256_of(folder("3", {"a": b"x", "s/b": b"z"})) != first
        assert sha256_of(folder("4", {"a": b"x", "s/c": b"y"})) != first
        assert sha256_of(folder("5", {"a": b"xs/b\0y"})) != first

    def test_of_nothing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            sha256_of(tmp_path / "absent")
