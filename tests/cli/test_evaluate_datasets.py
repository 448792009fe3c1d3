"""``fedliver evaluate`` over data sets and folders: rows, summary, report, and what a stop or a bad image leaves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from fedliver.cli.main import main
from fedliver.datasets import evaluation as scoring
from fedliver.errors import Cancelled
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import write_segmentation


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed in range(2):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
        (folder / f"p{seed}").mkdir()
        sitk.WriteImage(to_sitk(ct), str(folder / f"p{seed}" / "ct.nii.gz"))
        write_segmentation(labels, folder / f"p{seed}" / "labels.nii.gz")
    return folder


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *(str(argument) for argument in arguments)])
    return int(end.value.code or 0)


def test_a_data_set_gives_a_row_per_image_a_summary_and_a_report(data: Path, teacher: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run("--dataset", data, "--teacher", teacher, "--out", tmp_path / "report.html") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("p")] == ["p0", "p1"]
    assert any(line.startswith("Liver Dice") for line in lines)
    assert "data:image/png;base64," in (tmp_path / "report.html").read_text()


def test_json_holds_every_image_and_the_summary(data: Path, teacher: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run("--dataset", data, "--teacher", teacher, "--json", "--tumours-as-liver", "p1") == 0
    scores = json.loads(capfd.readouterr().out)
    assert [one["name"] for one in scores["images"]] == ["p0", "p1"]
    assert [one["tumour_labelled"] for one in scores["images"]] == [True, False]
    assert scores["summary"]["liver_dice"]["patients"] == 2


def test_folders_of_segmentations_are_compared_by_name_and_a_missing_one_gives_exit_code_1(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p0.nii.gz").write_bytes((data / "p0" / "labels.nii.gz").read_bytes())
    assert _run(tmp_path, data, "--json") == 1
    captured = capfd.readouterr()
    scores = json.loads(captured.out)
    assert scores["images"][0]["scores"]["liver"]["dice"] == 1
    assert scores["refused"][0]["name"] == "p1"
    assert "1 of 2 images could not be scored" in captured.err


@pytest.mark.parametrize("error", [KeyboardInterrupt, Cancelled])
def test_ctrl_c_shows_and_writes_what_was_scored_so_far(
    error: type[BaseException], data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = scoring.score_images

    def interrupted(*arguments: object, **options: object) -> Iterator[object]:
        yield next(whole(*arguments, **options))  # type: ignore[arg-type]
        raise error

    monkeypatch.setattr(scoring, "score_images", interrupted)
    assert _run("--dataset", data, "--teacher", teacher, "--out", tmp_path / "report.html") == 130
    captured = capfd.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines() if line.startswith("p")] == ["p0"]
    assert "Stopped after 1 of 2 images" in captured.err
    assert "It was stopped before the end" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("case", ["nothing", "both", "no data set", "report of a pair", "no such name", "odd ending"])
def test_a_question_that_cannot_be_answered_gets_one_sentence_and_exit_code_2(case: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labels = data / "p0" / "labels.nii.gz"
    commands: dict[str, tuple[object, ...]] = {
        "nothing": (),
        "both": (labels, labels, "--dataset", data),
        "no data set": ("--dataset", tmp_path),
        "report of a pair": (labels, labels, "--out", tmp_path / "r.html"),
        "no such name": ("--dataset", data, "--tumours-as-liver", "p9"),
        "odd ending": ("--dataset", data, "--out", tmp_path / "r.pdf"),
    }
    assert _run(*commands[case]) == 2
    assert capfd.readouterr().err.strip().splitlines()[-1].startswith("fedliver: ")
