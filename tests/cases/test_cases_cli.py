"""The commands ``fedliver case`` and ``fedliver teacher``, from the terminal's side: files in, words and exit codes out."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.cli.main import main
from fedliver.image import to_sitk
from fedliver.site.home import SiteHome


@pytest.fixture
def run(tmp_path, capsys, monkeypatch, starter):
    monkeypatch.setattr("fedliver.teacher.bundle.STARTER", starter)
    monkeypatch.setenv("FEDLIVER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "240")

    def command(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out = capsys.readouterr()
        assert (stop.value.code or 0) == code, out
        assert "Traceback" not in out.err
        return out.out + out.err

    return command


@pytest.fixture
def files(tmp_path, patient):
    """Writes patient ``seed``'s CT and labels, under a file name that names him."""

    def write(seed: int) -> tuple[Path, Path]:
        ct, labels = patient(seed)
        paths = tmp_path / f"Rosenkavalier-{seed}.nii.gz", tmp_path / f"Rosenkavalier-{seed}-labels.nii.gz"
        for volume, path in zip((ct.volume, labels), paths, strict=True):
            sitk.WriteImage(to_sitk(volume), str(path))
        return paths

    return write


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bundles") / "tiny", "tiny")


@pytest.fixture(scope="module")
def starter(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bundles") / "starter", "starter")


def save_tiny(target: Path, name: str) -> Path:
    import torch

    from fedliver.teacher.bundle import save_bundle
    from fedliver.teacher.network import build_network
    from fedliver.teacher.plan import TeacherPlan

    torch.manual_seed(3)
    save_bundle(build_network(TeacherPlan.tiny()), TeacherPlan.tiny(), target, name=name, version="7")
    return target


def test_a_case_goes_from_file_to_training_and_no_line_names_the_patient(run, files):
    said = []
    for seed in (1, 2):
        ct, labels = files(seed)
        said.append(run("case", "add", ct))
        name = said[-1].split()[0]
        said.append(run("case", "attach", name, labels, "--minutes", 5))
        said.append(run("case", "check", name[:6]))
        said.append(run("case", "approve", name))
        said.append(run("case", "list"))
    assert "it trains" in said[3]
    assert "held out" in said[8]
    assert said[9].count("approved") == 2
    assert "40 x 36 x 30" in said[9]
    assert not [line for line in said if "Rosenkavalier" in line]
    assert "Rosenkavalier" not in json.dumps([c.model_dump(mode="json") for c in SiteHome.open().store().cases()])


def test_a_failed_check_is_exit_code_1_and_approving_it_2_unless_there_is_a_reason(run, files, tmp_path, patient):
    ct, labels = patient(1, radius_mm=30.0)
    path, mask = files(1)
    sitk.WriteImage(to_sitk(ct.volume), str(path))
    sitk.WriteImage(to_sitk(labels), str(mask))
    name = run("case", "add", path).split()[0]
    run("case", "attach", name, mask)
    assert "expected 200 to 6000 ml" in run("case", "check", name, code=1)
    assert run("case", "approve", name, code=2).startswith("fedliver: Not approved. The liver measures")
    assert "it trains" in run("case", "approve", name, "--override", "left lobe only")


@pytest.mark.parametrize("verb", ["segment", "check", "approve", "show", "exclude", "include", "erase"])
def test_an_unknown_case_is_one_sentence_and_exit_code_2(run, verb):
    SiteHome.open()
    assert run("case", verb, "C-NOSUCHCASE", code=2) == "fedliver: There is no case 'C-NOSUCHCASE' here: `fedliver case list` shows them.\n"


def test_a_segmentation_on_another_grid_is_refused_when_it_is_attached(run, files, tmp_path):
    ct, _ = files(1)
    name = run("case", "add", ct).split()[0]
    other = sitk.GetImageFromArray(np.ones((5, 5, 5), np.uint8))
    sitk.WriteImage(other, str(tmp_path / "other.nii.gz"))
    run("case", "attach", name, tmp_path / "other.nii.gz", code=2)
    assert SiteHome.open().store().cases()[0].draft is None


def test_excluding_including_and_erasing(run, files):
    ct, labels = files(1)
    name = run("case", "add", ct).split()[0]
    run("case", "attach", name, labels)
    run("case", "approve", name)
    run("case", "exclude", name, "--reason", "motion artefacts")
    assert "excluded" in run("case", "list")
    assert "motion artefacts" in run("case", "show", name)
    assert "No other case waits" in run("case", "next", code=1)
    run("case", "include", name)
    assert f"{name}: in correction" in run("case", "next")
    run("case", "erase", name)
    assert "No case yet" in run("case", "list")


def test_only_an_approved_case_is_said_to_train(run, files):
    ct, labels = files(1)
    name = run("case", "add", ct).split()[0]
    run("case", "attach", name, labels)
    run("case", "approve", name)
    assert "it trains" in run("case", "show", name)
    assert "training" in run("case", "list")
    for verb, state in (("exclude", "excluded"), ("include", "in correction")):
        run("case", verb, name)
        assert f"{name}: {state}" in run("case", "show", name)
        assert "it trains" not in run("case", "show", name)
        assert "training" not in run("case", "list")


def test_a_site_begins_with_a_case_or_a_teacher_in_the_folder_that_is_named(run, files, bundle, tmp_path):
    for place, words in (("one", ("case", "add", files(1)[0])), ("two", ("teacher", "import", bundle))):
        run(*words, "--home", tmp_path / place)
        assert "There is no site" not in run("case", "list", "--home", tmp_path / place)
    assert not (tmp_path / "home").exists()


def test_a_scan_that_cannot_be_read_begins_no_site(run, tmp_path):
    (tmp_path / "nothing").mkdir()
    for verb in ("add", "import"):
        run("case", verb, tmp_path / "nothing", code=2)
    assert not (tmp_path / "home").exists()


def test_a_damaged_case_is_told_and_can_be_erased(run, files):
    name = run("case", "add", files(1)[0]).split()[0]
    (SiteHome.open().cases / name / "case.json").write_text("{")
    assert f"Case {name} is damaged" in run("case", "list")
    run("case", "erase", name)
    assert "damaged" not in run("case", "list")


def test_the_current_teacher_pre_segments_and_is_named_in_the_record(run, files, tmp_path, bundle):
    run("teacher", "adopt", bundle, "--force")
    name = run("case", "add", files(1)[0]).split()[0]
    assert run("case", "segment", name, "--output", tmp_path / "draft.nii.gz")
    assert (tmp_path / "draft.nii.gz").is_file()
    home = SiteHome.open()
    draft = home.store().case(name).draft
    assert (draft.teacher.name, draft.teacher.sha256) == ("tiny", home.shelf().current().sha256)
    assert draft.presegmentation_file is not None


def test_a_teacher_is_imported_shown_adopted_exported_and_rolled_back(run, bundle, tmp_path):
    version = run("teacher", "import", bundle).split()[0]
    assert "no held-out case" in run("teacher", "adopt", "--version", version, code=1)
    assert "Adopted by choice" in run("teacher", "adopt", "--version", version[:6], "--force")
    listed = run("teacher", "list")
    assert "tiny 7" in listed
    assert "current" in listed
    assert json.loads(run("teacher", "show"))["version"] == version
    run("teacher", "export", version, tmp_path / "out")
    assert (tmp_path / "out" / "models" / "model.pt").is_file()
    assert run("teacher", "rollback") == f"Rolled back from {version} to starter.\n"
    run("teacher", "rollback", code=2)


def test_the_log_of_teachers_says_when_which_and_why(run, bundle):
    version = run("teacher", "import", bundle).split()[0]
    assert run("teacher", "log").startswith("Nothing was decided yet")
    run("teacher", "adopt", "--version", version, code=1)
    run("teacher", "adopt", "--version", version, "--force")
    run("teacher", "rollback")
    kept, chosen, back = [line for line in run("teacher", "log").splitlines() if "20" in line]
    assert f"{version} │ not adopted" in kept
    assert "no held-out case to judge by" in kept
    assert f"{version} │ adopted by choice" in chosen
    assert "starter" in back
    assert f"Rolled back from {version} to starter." in back


def test_a_teacher_is_adopted_on_a_new_computer_but_not_in_a_mistyped_folder(run, bundle, tmp_path):
    assert "There is no site in" in run("teacher", "adopt", bundle, "--force", "--home", tmp_path / "typo", code=2)
    assert not (tmp_path / "typo").exists()
    assert "Adopted by choice" in run("teacher", "adopt", bundle, "--force")


def test_a_pickle_that_poses_as_weights_is_not_put_on_the_shelf(run, bundle, tmp_path):
    import pickle
    import shutil

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    shutil.copytree(bundle, tmp_path / "bomb")
    (tmp_path / "bomb" / "models" / "model.pt").write_bytes(pickle.dumps(Bomb()))
    assert "not a plain weight file" in run("teacher", "import", tmp_path / "bomb", code=2)
    assert not (tmp_path / "executed").exists()
    assert [teacher.version for teacher in SiteHome.open().shelf().list() if teacher.version != "starter"] == []


def test_adopting_needs_one_teacher(run, bundle):
    assert "either a bundle folder or --version" in run("teacher", "adopt", code=2)
    assert "either a bundle folder or --version" in run("teacher", "adopt", bundle, "--version", "T-1", code=2)
