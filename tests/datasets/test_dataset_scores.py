"""Scores over a data set: every image counted where it belongs, intervals over patients, nothing forgotten that could not be scored."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedliver.cases.examples import Example
from fedliver.datasets.evaluation import DatasetScores, Prediction, Refusal, TeacherSegmenter, evaluate_dataset, score_images, score_predictions
from fedliver.datasets.evaluation_report import WorstPictures, write_dataset_report
from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import Cancelled, FedLiverError
from fedliver.evaluation.confidence import bootstrap_interval
from fedliver.evaluation.metrics import compare
from fedliver.evaluation.summary import ImageScores, summarise
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import write_segmentation
from fedliver.watch import Silent, Watcher
from networks import band_teacher

GRID = Geometry(size=(40, 36, 30), spacing=(2.0, 2.0, 2.0), origin=(0.0, 0.0, 0.0), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def _labels(liver: slice | None, tumour: slice | None = None) -> Volume:
    array = np.zeros(GRID.shape, np.uint8)
    if liver:
        array[5:25, 5:25, liver] = 1
    if tumour:
        array[8:18, 8:18, tumour] = 2
    return Volume(array, GRID)


def _scored(name: str, prediction: Volume, reference: Volume, **more: object) -> ImageScores:
    return ImageScores(name=name, **{"patient": name, **more}, scores=compare(prediction, reference))


WHOLE = _labels(slice(5, 25))


def test_the_mean_is_over_patients_and_a_patient_with_several_images_counts_once() -> None:
    half = _labels(slice(5, 15))  # Dice 2/3
    images = [_scored("a1", WHOLE, WHOLE, patient="a"), _scored("a2", half, WHOLE, patient="a"), _scored("b", WHOLE, WHOLE)]
    dice = summarise(images).liver_dice
    assert dice is not None
    assert dice.mean == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert (dice.worst, dice.worst_image, dice.patients) == (pytest.approx(2 / 3), "a2", 2)


def test_an_image_without_liver_is_no_perfect_dice_but_is_asked_what_was_made_up() -> None:
    nothing = _labels(None)
    summary = summarise([_scored("abdomen", _labels(slice(5, 15)), WHOLE), _scored("chest", nothing, nothing), _scored("pelvis", WHOLE, nothing)])
    assert summary.liver_dice is not None
    assert summary.liver_dice.mean == pytest.approx(2 / 3)
    assert summary.made_up_liver_ml is not None
    assert summary.made_up_liver_ml.worst == pytest.approx(20**3 * 8 / 1000)
    assert summary.made_up_liver_ml.worst_image == "pelvis"


def test_a_missed_liver_is_the_worst_hd95_though_it_has_no_number() -> None:
    hd95 = summarise([_scored("good", WHOLE, WHOLE), _scored("missed", _labels(None), WHOLE)]).liver_hd95_mm
    assert hd95 is not None
    assert (hd95.mean, hd95.worst, hd95.worst_image, hd95.undefined) == (0, None, "missed", 1)


def test_volume_errors_of_opposite_signs_do_not_cancel() -> None:
    error = summarise([_scored("less", _labels(slice(5, 23)), WHOLE), _scored("more", _labels(slice(5, 27)), WHOLE)]).liver_volume_error_percent
    assert error is not None
    assert error.mean == pytest.approx(10.0)


def test_lesions_are_pooled_and_tumour_dice_counts_large_tumours_only() -> None:
    large, small = _labels(slice(5, 25), slice(8, 18)), _labels(slice(5, 25), slice(8, 9))
    summary = summarise([_scored("found", large, large), _scored("missed", WHOLE, large), _scored("small", WHOLE, small), _scored("none", large, WHOLE)])
    assert summary.tumour_dice is not None
    assert (summary.tumour_dice.mean, summary.tumour_dice.patients) == (0.5, 2)
    assert summary.lesion_recall is not None
    assert summary.lesion_recall.mean == 0.5
    assert summary.lesion_precision is not None
    assert (summary.lesion_precision.mean, summary.lesion_precision.worst_image) == (0.5, "none")


def test_where_tumours_were_annotated_as_liver_only_the_liver_counts() -> None:
    large = _labels(slice(5, 25), slice(8, 18))
    summary = summarise([_scored("as-liver", large, WHOLE, tumour_labelled=False)])
    assert summary.liver_dice is not None
    assert summary.liver_dice.mean == 1
    assert summary.lesion_precision is None
    assert summary.made_up_tumour_ml is None


def test_expected_and_true_dice_are_correlated_over_images() -> None:
    predictions = [_labels(slice(5, end)) for end in (13, 17, 21, 25)]
    images = [_scored(str(n), prediction, WHOLE) for n, prediction in enumerate(predictions)]
    dice = [one.scores.liver.dice for one in images]
    honest = [one.model_copy(update={"expected_dice": value / 2 + 0.3}) for one, value in zip(images, dice, strict=True)]
    wrong = [one.model_copy(update={"expected_dice": 1 - value}) for one, value in zip(images, dice, strict=True)]
    assert summarise(honest).expected_dice_correlation == pytest.approx(1)
    assert summarise(wrong).expected_dice_correlation == pytest.approx(-1)
    assert summarise(images).expected_dice_correlation is None


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(0.9, 0.05, 40), np.ones(40), resamples=500) or (0, 0)
        inside += low <= 0.9 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_there_is_no_interval_of_one_patient_and_the_same_numbers_give_the_same_interval() -> None:
    assert bootstrap_interval(np.array([0.9]), np.ones(1)) is None
    values = np.array([0.8, 0.9, 0.95])
    assert bootstrap_interval(values, np.ones(3)) == bootstrap_interval(values, np.ones(3))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> list[DatasetImage]:
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("data")
    images = []
    for seed in range(2):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=0))
        place = folder / f"p{seed}"
        place.mkdir()
        sitk.WriteImage(to_sitk(ct), str(place / "ct.nii.gz"))
        write_segmentation(labels, place / "labels.nii.gz")
        images.append(DatasetImage(place.name, place.name, Example(place / "ct.nii.gz", place / "labels.nii.gz")))
    return images


def test_a_teacher_is_scored_on_every_image_and_one_that_cannot_be_read_does_not_stop_the_others(dataset: list[DatasetImage]) -> None:
    no_ct = replace(dataset[0], name="labels as ct", example=Example(dataset[0].example.labels or Path(), dataset[0].example.labels))
    scores = evaluate_dataset([no_ct, *dataset], band_teacher(8.0))
    assert [one.name for one in scores.images] == ["p0", "p1"]
    assert [(one.name, one.code) for one in scores.refused] == [("labels as ct", "label-map")]
    assert (scores.asked, scores.whole, scores.subject) == (3, False, "bands 0")
    assert scores.images[0].scores.liver.dice > 0
    assert all(one.seconds and one.seconds > 0 for one in scores.images)


def test_the_scores_read_back_from_their_file_as_they_were(dataset: list[DatasetImage]) -> None:
    scores = evaluate_dataset(dataset, band_teacher(8.0))
    assert DatasetScores.model_validate_json(scores.model_dump_json()) == scores


def test_folds_joined_are_one_data_set() -> None:
    folds = [DatasetScores.of("fold", 2, [_scored(name, WHOLE, WHOLE), Refusal(name=f"{name}x", code="c", sentence="s")]) for name in "ab"]
    joined = DatasetScores.joined("all folds", folds)
    assert [one.name for one in joined.images] == ["a", "b"]
    assert (joined.asked, len(joined.refused)) == (4, 2)
    assert joined.summary.liver_dice is not None
    assert joined.summary.liver_dice.patients == 2


def test_a_data_set_of_which_nothing_can_be_scored_is_an_error_that_tells_the_first_reason(dataset: list[DatasetImage]) -> None:
    no_ct = replace(dataset[0], example=Example(dataset[0].example.labels or Path(), dataset[0].example.labels))
    with pytest.raises(FedLiverError, match="label map") as refusal:
        evaluate_dataset([no_ct], band_teacher(8.0))
    assert refusal.value.code == "nothing-scored"


class _StopsAt:
    """Cancels once it is told of the second image."""

    def __init__(self) -> None:
        self._stop = False

    def report(self, phase: str, fraction: float) -> None:
        self._stop = phase.startswith("p1")

    def cancelled(self) -> bool:
        return self._stop


def test_what_was_scored_before_a_cancellation_is_kept(dataset: list[DatasetImage]) -> None:
    kept = []
    results = score_images(dataset, TeacherSegmenter(band_teacher(8.0)), watcher=_StopsAt())
    with contextlib.suppress(Cancelled):
        for result in results:
            kept.append(result)
    assert [one.name for one in kept] == ["p0"]


def test_a_reference_without_a_prediction_is_not_forgotten(tmp_path: Path) -> None:
    write_segmentation(WHOLE, tmp_path / "a.nii.gz")
    results = list(score_predictions({"a": tmp_path / "a.nii.gz"}, {"a": tmp_path / "a.nii.gz", "b": tmp_path / "a.nii.gz"}))
    assert isinstance(results[0], ImageScores)
    assert isinstance(results[1], Refusal)
    assert results[1].code == "no-prediction"


def test_the_report_shows_the_worst_images_the_numbers_and_the_refused(tmp_path: Path) -> None:
    worst = WorstPictures(count=1)
    images = []
    for name, end in (("middling", 20), ("terrible", 9), ("perfect", 25)):
        prediction = _labels(slice(5, end))
        images.append(_scored(name, prediction, WHOLE))
        worst(images[-1], None, prediction, WHOLE)
    assert [picture.scored.name for picture in worst.pictures] == ["terrible"]
    scores = DatasetScores.of("a <teacher>", 4, [*images, Refusal(name="broken", code="x", sentence="It is broken.")])
    write_dataset_report(scores, worst.pictures, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert f"{scores.summary.liver_dice.mean:.3f}" in page  # type: ignore[union-attr]
    assert "It is broken." in page
    assert "a &lt;teacher&gt;" in page


def test_a_segmenter_of_any_kind_can_be_scored_with_its_expected_dice(dataset: list[DatasetImage]) -> None:
    def half_sure(ct: Volume, watcher: Watcher) -> Prediction:
        watcher.report("thinking", 0.5)
        return Prediction(ct.with_array(np.zeros(ct.array.shape, np.uint8)), expected_dice=0.5)

    (first, _) = score_images(dataset, half_sure, watcher=Silent())
    assert isinstance(first, ImageScores)
    assert (first.expected_dice, first.scores.liver.dice) == (0.5, 0)
