import json
from pathlib import Path

import pytest

from fedliver.cases.teachers import LocalScore, Origin, TeacherShelf
from fedliver.errors import FedLiverError
from fedliver.files import sha256_of

ROUND = Origin(source="federation", parent="starter", round=3, cases=12)


class Bundle:
    """What loading a bundle gives; its name lies in a file."""

    version = "0.1"

    def __init__(self, path: Path) -> None:
        if not (path / "name").is_file():
            raise FedLiverError("not-a-bundle", f"{path.name} is no bundle.")
        self.name = (path / "name").read_text()


def bundle(folder: Path, name: str) -> Path:
    (folder / name / "models").mkdir(parents=True)
    (folder / name / "name").write_text(name)
    (folder / name / "models" / "model.pt").write_bytes(name.encode() * 1000)
    return folder / name


@pytest.fixture
def shelf(tmp_path) -> TeacherShelf:
    return TeacherShelf(tmp_path / "teachers", starter=bundle(tmp_path, "starter"), load=Bundle)


@pytest.fixture
def three(shelf, tmp_path) -> list[str]:
    return [shelf.add(bundle(tmp_path, name), ROUND).version for name in ("one", "two", "three")]


def test_the_starter_is_current_until_something_is_adopted(shelf, three):
    assert shelf.current().version == "starter"
    assert [teacher.version for teacher in shelf.list()] == ["starter", *three]


def test_a_window_learns_where_the_current_teacher_lies_without_its_weights_being_read(shelf, three):
    assert (shelf.current_bundle() / "name").read_text() == "starter"
    shelf.adopt(three[1])
    (shelf.current_bundle() / "models" / "model.pt").unlink()
    assert (shelf.current_bundle() / "name").read_text() == "two"
    with pytest.raises(FedLiverError, match="damaged"):
        shelf.current()


def test_an_added_teacher_is_a_copy_named_by_its_hash_with_its_record(shelf, tmp_path):
    source = bundle(tmp_path, "one")
    teacher = shelf.add(source, ROUND)
    (source / "name").write_text("changed later")
    assert teacher.version == f"T-{sha256_of(teacher.bundle)[:16]}"
    assert teacher.bundle.is_relative_to(shelf.folder)
    record = TeacherShelf(shelf.folder, load=Bundle).get(teacher.version).record
    assert (record.name, record.label, record.origin, record.sha256) == ("one", "0.1", ROUND, teacher.sha256)


def test_adopting_and_rolling_back_walk_along_the_trail(shelf, three):
    shelf.adopt(three[0])
    shelf.adopt(three[1])
    assert shelf.current().version == three[1]
    assert shelf.current().adopted_at is not None
    assert shelf.roll_back().version == three[0]
    shelf.adopt(three[2])
    assert [shelf.roll_back().version, shelf.roll_back().version] == [three[0], "starter"]
    with pytest.raises(FedLiverError, match="nothing before it"):
        shelf.roll_back()


def test_adopting_the_current_teacher_again_does_not_lengthen_the_trail(shelf, three):
    shelf.adopt(three[0])
    shelf.adopt(three[0])
    assert shelf.roll_back().version == "starter"


def test_the_starter_can_be_adopted_again_by_name(shelf, three):
    shelf.adopt(three[0])
    assert shelf.adopt("starter").is_current
    assert shelf.roll_back().version == three[0]


def damage(shelf: TeacherShelf, version: str) -> None:
    weights = shelf.get(version).bundle / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")


def test_a_damaged_bundle_is_never_made_current(shelf, three):
    shelf.adopt(three[0])
    damage(shelf, three[1])
    with pytest.raises(FedLiverError, match="damaged") as caught:
        shelf.adopt(three[1])
    assert caught.value.code == "bundle-damaged"
    assert shelf.current().version == three[0]


def test_a_damaged_bundle_is_not_rolled_back_to(shelf, three):
    shelf.adopt(three[0])
    shelf.adopt(three[1])
    damage(shelf, three[0])
    with pytest.raises(FedLiverError, match="damaged"):
        shelf.roll_back()
    assert shelf.current().version == three[1]


def test_a_current_teacher_that_was_damaged_is_not_used_and_can_be_rolled_back(shelf, three):
    shelf.adopt(three[0])
    damage(shelf, three[0])
    with pytest.raises(FedLiverError, match="rollback"):
        shelf.current()
    assert shelf.roll_back().version == "starter"


def test_a_current_teacher_whose_folder_vanished_can_be_rolled_back(shelf, three):
    shelf.adopt(three[0])
    (shelf.folder / three[0]).rename(shelf.folder.parent / "gone")
    with pytest.raises(FedLiverError, match="rollback"):
        shelf.current()
    assert shelf.roll_back().version == "starter"


def test_the_same_bundle_added_twice_is_one_version(shelf, tmp_path):
    source = bundle(tmp_path, "one")
    assert shelf.add(source, ROUND).version == shelf.import_(source).version
    assert len(shelf.list()) == 2


def test_an_unusable_bundle_leaves_nothing_on_the_shelf(shelf, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(FedLiverError) as caught:
            shelf.add(path, ROUND)
        assert caught.value.code == "not-a-bundle"
    assert {path.name for path in shelf.folder.iterdir()} <= {".lock"}


def test_a_bundle_with_a_link_to_elsewhere_is_refused(shelf, tmp_path):
    source = bundle(tmp_path, "one")
    (source / "secret").symlink_to("/etc/hostname")
    with pytest.raises(FedLiverError, match="link"):
        shelf.add(source, ROUND)


def test_a_bundle_of_a_thousand_files_is_refused(shelf, tmp_path):
    source = bundle(tmp_path, "one")
    for n in range(1001):
        (source / str(n)).touch()
    with pytest.raises(FedLiverError, match="larger than any"):
        shelf.add(source, ROUND)


def test_a_teacher_travels_from_shelf_to_shelf(shelf, three, tmp_path):
    exported = shelf.export(three[1], tmp_path / "stick" / "teacher")
    other = TeacherShelf(tmp_path / "elsewhere", starter=shelf.get("starter").bundle, load=Bundle)
    assert other.import_(exported).version == three[1]
    with pytest.raises(FedLiverError, match="there already"):
        shelf.export(three[1], exported)


def test_a_version_is_found_by_its_beginning(shelf, three):
    assert shelf.get(three[0][:8]).version == three[0]
    for unknown in ("", "T-", "../..", "zzzz"):
        with pytest.raises(FedLiverError, match="teacher matches"):
            shelf.get(unknown)


def test_the_score_on_this_site_is_kept(shelf, three):
    score = LocalScore(current=0.91, candidate=0.93, cases=4)
    shelf.score(three[0], score)
    assert shelf.get(three[0]).record.local_score == score


def test_leftovers_of_a_crash_are_swept(shelf, three):
    (shelf.folder / ".part-x" / "bundle").mkdir(parents=True)
    (shelf.folder / three[0] / ".part-record.json").touch()
    TeacherShelf(shelf.folder, load=Bundle)
    assert list(shelf.folder.rglob(".part-*")) == []


@pytest.mark.parametrize("content", ["{", json.dumps({"schema_version": 9, "trail": []}), json.dumps({"trail": [{"version": "../x"}]})])
def test_a_damaged_pointer_is_told_in_words(shelf, content):
    (shelf.folder / "current.json").write_text(content)
    with pytest.raises(FedLiverError, match=r"current\.json"):
        shelf.current()


def test_a_missing_starter_is_told_in_words(tmp_path):
    with pytest.raises(FedLiverError, match="install FedLiver again"):
        TeacherShelf(tmp_path / "teachers", starter=tmp_path / "none", load=Bundle).current()
