"""Data sets as they lie on disks: MSD, nnU-Net, LiTS, plain folders, our case store."""

import json
from pathlib import Path

import pytest

from fedliver.cases.store import CaseStore
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.datasets.layouts import annotated, for_evaluation, for_training, inside, read_layout, segmentations_in, with_tumours_as_liver
from fedliver.errors import FedLiverError
from fedliver.phantom import PhantomSettings, generate


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_plain_folders_hold_an_image_each_or_a_patient_each(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        "b/ct.nii.gz",
        "b/labels.nii.gz",
        "a10/ct.nii",
        "a10/labels.seg.nrrd",
        "a2/ct.mha",
        "c/one/ct.nii.gz",
        "c/two/ct.nii.gz",
        "c/two/labels.nii.gz",
    )
    _touch(tmp_path, ".hidden/ct.nii.gz", "readme.txt", "empty/notes.txt")
    images = read_layout(tmp_path)
    assert [(image.name, image.patient) for image in images] == [("a2", "a2"), ("a10", "a10"), ("b", "b"), ("c/one", "c"), ("c/two", "c")]
    assert [image.name for image in annotated(images)] == ["a10", "b", "c/two"]
    assert images[1].example.labels == tmp_path / "a10" / "labels.seg.nrrd"


def test_the_decathlons_dataset_json_pairs_images_and_labels(tmp_path: Path) -> None:
    _touch(tmp_path, "imagesTr/liver_2.nii.gz", "imagesTr/liver_10.nii.gz", "imagesTr/._liver_2.nii.gz", "labelsTr/liver_2.nii.gz", "imagesTs/liver_3.nii.gz")
    training = [{"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in (10, 2)]
    description = {"labels": {"0": "background", "1": "liver", "2": "cancer"}, "training": training, "numTraining": 2, "test": ["./imagesTs/liver_3.nii.gz"]}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    images = read_layout(tmp_path)
    assert [image.name for image in images] == ["liver_2", "liver_10"]
    assert images[0].example.ct == tmp_path / "imagesTr" / "liver_2.nii.gz"
    assert images[0].example.labels == tmp_path / "labelsTr" / "liver_2.nii.gz"
    assert images[0].example.tumour_labelled
    assert images[1].example.labels is None


@pytest.mark.parametrize("labels", [{"background": 0, "liver": 1, "tumor": 2}, {"background": 0, "liver": [1, 2], "tumor": 2}, {"background": 0, "liver": 1}])
def test_nnu_nets_dataset_json_pairs_by_name_and_says_whether_tumours_are_annotated(tmp_path: Path, labels: dict[str, object]) -> None:
    _touch(tmp_path, "imagesTr/case_1_0000.nrrd", "imagesTr/case_2_0000.nrrd", "labelsTr/case_1.nrrd")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "CT"}, "numTraining": 2, "file_ending": ".nrrd"}))
    first, second = read_layout(tmp_path)
    assert (first.name, first.example.ct.name, first.example.labels) == ("case_1", "case_1_0000.nrrd", tmp_path / "labelsTr" / "case_1.nrrd")
    assert first.example.tumour_labelled == ("tumor" in labels)
    assert second.example.labels is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"labels": {"0": "background", "5": "liver"}}', "other-label-scheme"),
        ('{"labels": {"0": "background", "1": "liver", "2": "spleen", "3": "tumour"}}', "other-label-scheme"),
        ('{"labels": {"0": "background", "1": "prostate"}}', "other-label-scheme"),
        ('{"labels": {"0": "background", "1": "liver"}, "training": [{"image": "../../secret", "label": "/etc/passwd"}]}', "dataset-json"),
        ("{", "dataset-json"),
        ('{"name": "x"}', "dataset-json"),
    ],
)
def test_a_dataset_json_that_would_mislead_is_refused(tmp_path: Path, content: str, code: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(FedLiverError) as refusal:
        read_layout(tmp_path)
    assert refusal.value.code == code


def test_lits_volumes_and_segmentations_are_paired_by_number_over_batches(tmp_path: Path) -> None:
    _touch(
        tmp_path, "Batch 1/volume-0.nii", "Batch 1/segmentation-0.nii", "Batch 2/volume-28.nii.gz", "Batch 2/segmentation-28.nii.gz", "Batch 2/volume-30.nii"
    )
    images = read_layout(tmp_path)
    assert [(image.name, image.example.labels is not None) for image in images] == [("volume-0", True), ("volume-28", True), ("volume-30", False)]
    assert images[1].example.labels == tmp_path / "Batch 2" / "segmentation-28.nii.gz"
    _touch(tmp_path, "Batch 2/volume-0.nii")
    with pytest.raises(FedLiverError) as refusal:
        read_layout(tmp_path)
    assert refusal.value.code == "doubled-image"


def test_images_json_says_whose_scans_they_are_and_where_tumours_were_annotated_as_liver(tmp_path: Path) -> None:
    _touch(tmp_path, "a/ct.nii.gz", "b/ct.nii.gz", "c/ct.nii.gz")
    (tmp_path / "images.json").write_text('{"a": {"patient": "p1"}, "b": {"patient": "p1", "tumour_labelled": false}}')
    assert [(image.patient, image.example.tumour_labelled) for image in read_layout(tmp_path)] == [("p1", True), ("p1", False), ("c", True)]
    assert [image.example.tumour_labelled for image in with_tumours_as_liver(read_layout(tmp_path), ["c"])] == [True, False, False]
    for wrong in ('{"z": {}}', '{"a": {"patients": "p1"}}', "["):
        (tmp_path / "images.json").write_text(wrong)
        with pytest.raises(FedLiverError) as refusal:
            read_layout(tmp_path)
        assert refusal.value.code == "images-json"


def test_a_folder_of_something_else_is_refused_in_words(tmp_path: Path) -> None:
    _touch(tmp_path, "holiday.jpg")
    with pytest.raises(FedLiverError) as refusal:
        read_layout(tmp_path)
    assert refusal.value.code == "no-dataset"


def test_of_a_case_store_the_held_out_cases_judge_and_only_the_others_train(tmp_path: Path) -> None:
    store = CaseStore(tmp_path, secret=b"s" * 32)
    for seed in range(3):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=0))
        case = store.add(Ct(ct, SourceIdentity(f"patient{seed}", f"study{seed}", f"series{seed}"), ()))
        store.approve(store.attach(case, labels))
    images = read_layout(tmp_path)
    assert len(images) == 3
    assert {image.example.ct for image in for_training(images)} == {example.ct for example in store.training_examples()}
    assert {image.example.ct for image in for_evaluation(images)} == {example.ct for example in store.held_out_examples()}
    assert len(for_evaluation(images)) == 1
    assert not {image.patient for image in for_training(images)} & {image.patient for image in for_evaluation(images)}


def test_segmentations_are_found_by_name_in_a_flat_folder_and_in_subfolders(tmp_path: Path) -> None:
    _touch(tmp_path, "b.seg.nrrd", "a.nii.gz", "c/labels.nii.gz", "d/prediction.nii.gz", "notes.txt", ".e.nii.gz")
    assert list(segmentations_in(tmp_path)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret", "imagesTr/../../secret", "C:/secret", "C:secret", "\\\\host\\share\\secret", "imagesTr\\..\\..\\secret"]
)
def test_a_path_that_leads_out_of_the_data_set_on_any_system_is_refused(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, "./imagesTr/a..b.nii.gz") == tmp_path / "imagesTr" / "a..b.nii.gz"
    with pytest.raises(FedLiverError) as refusal:
        inside(tmp_path, name)
    assert refusal.value.code == "dataset-json"
