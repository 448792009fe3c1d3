"""``fedliver dataset``: what a person sees of a check and of a split."""

import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from fedliver.cli.main import main
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed in range(3):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=seed))
        (folder / f"p{seed}").mkdir()
        sitk.WriteImage(to_sitk(ct), str(folder / f"p{seed}" / "ct.nii.gz"))
        sitk.WriteImage(to_sitk(labels), str(folder / f"p{seed}" / "labels.nii.gz"))
    return folder


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["dataset", *(str(argument) for argument in arguments)])
    return int(end.value.code or 0)


def test_a_whole_data_set_passes_the_check_and_a_bad_image_is_named_with_its_reason(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run("check", data) == 0
    assert "3 images of 3 patients can train, 0 cannot." in capfd.readouterr().out
    for name in ("p0[b]", "bad"):
        (tmp_path / name).mkdir()
        source = "ct" if name != "bad" else "labels"
        (tmp_path / name / "ct.nii.gz").write_bytes((data / "p0" / f"{source}.nii.gz").read_bytes())
        (tmp_path / name / "labels.nii.gz").write_bytes((data / "p0" / "labels.nii.gz").read_bytes())
    assert _run("check", tmp_path) == 1
    out = capfd.readouterr().out
    assert "Refused, bad: This is a label map" in out
    assert "\np0[b] " in out
    assert _run("check", tmp_path, "--json") == 1
    assert [one["code"] for one in json.loads(capfd.readouterr().out)["refused"]] == ["label-map"]


def test_a_split_is_written_and_fits_the_data_set_it_was_made_of(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "split.json"
    assert _run("split", data, "--split", "1:1:1", "--out", target) == 0
    assert sorted(one["part"] for one in json.loads(target.read_text())["patients"]) == ["test", "training", "validation"]
    assert _run("check", data, "--split", target) == 0
    assert "fits this data set" in capfd.readouterr().err
    content = json.loads(target.read_text())
    content["patients"] = content["patients"][1:]
    target.write_text(json.dumps(content))
    assert _run("check", data, "--split", target) == 2


def test_a_manifest_is_split_without_any_image(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [f"scan{patient}-{scan},patient{patient},{patient % 3}" for patient in range(50) for scan in range(1 + patient % 4)]
    (tmp_path / "manifest.csv").write_text("\n".join(["image,patient,tumours", *rows]))
    assert _run("split", tmp_path / "manifest.csv", "--split", "54:6:40", "--out", tmp_path / "split.json", "--seed", "5") == 0
    patients = json.loads((tmp_path / "split.json").read_text())["patients"]
    assert sum(len(one["images"]) for one in patients) == len(rows)
    assert {one["tumours"] for one in patients} == {0, 1, 2}
    assert "54.00 %" in capfd.readouterr().out


@pytest.mark.parametrize("case", ["ratio", "ending", "manifest", "keep", "folder"])
def test_what_cannot_be_split_gets_one_sentence_and_exit_code_2(case: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.csv").write_text("name,who\na,b\n")
    commands: dict[str, tuple[object, ...]] = {
        "ratio": (data, "--split", "54-6-40", "--out", tmp_path / "s.json"),
        "ending": (data, "--out", tmp_path / "s.xlsx"),
        "manifest": (tmp_path / "manifest.csv", "--out", tmp_path / "s.json"),
        "keep": (data, "--keep", tmp_path / "none.json", "--out", tmp_path / "s.json"),
        "folder": (tmp_path, "--out", tmp_path / "s.json"),
    }
    assert _run("split", *commands[case]) == 2
    captured = capfd.readouterr()
    assert captured.err.strip().splitlines()[-1].startswith("fedliver: ")
    assert "Traceback" not in captured.err
    assert not (tmp_path / "s.json").exists()


def test_generated_patients_pass_the_check_and_those_that_are_there_are_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run("generate", tmp_path / "made", "--patients", "2", "--first", "7", "--spacing", "6") == 0
    assert "case import" in capfd.readouterr().out
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "made").rglob("*.nii.gz")}
    assert sorted(str(path.relative_to(tmp_path / "made")) for path in written) == [f"patient_0{n}/{name}.nii.gz" for n in (7, 8) for name in ("ct", "labels")]
    assert _run("generate", tmp_path / "made", "--patients", "3", "--first", "7", "--spacing", "6") == 0
    assert all(path.stat().st_mtime_ns == moment for path, moment in written.items())
    assert _run("check", tmp_path / "made") == 0
