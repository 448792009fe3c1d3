"""The data sets that people download, as the study reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_studies import EVERY_ARM, hearts

from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.study.federated.pictures import Pictures, class_folders, table_of_pictures
from fedliver.study.federated.prepared import Item, prepare
from fedliver.study.federated.reading import reader_of
from fedliver.study.federated.task import DataSettings, Task, read_task
from fedliver.watch import Silent

ARMS = EVERY_ARM[:1]


def _scan(labels: dict[int, tuple[slice, slice, slice]], spacing: float = 2.0) -> tuple[Volume, Volume]:
    """A block of soft tissue with structures that are brighter the higher their label."""
    geometry = Geometry((32, 28, 24), (spacing,) * 3, (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    ct, target = np.full(geometry.shape, 20, np.int16), np.zeros(geometry.shape, np.int16)
    for label, box in labels.items():
        ct[box], target[box] = 100 + label, label
    return Volume(ct, geometry), Volume(target, geometry)


def _write(volume: Volume, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(volume), str(path))


def _task(folder: Path, **data: object) -> Task:
    base = hearts(ARMS)
    settings = DataSettings.model_validate({"path": folder, "spacing_mm": (4.0, 4.0, 4.0), "window": (-150, 450)} | data)
    return base.model_copy(update={"data": settings})


def _items(task: Task) -> list[Item]:
    return list(reader_of(task))


WALL, CAVITY = (slice(4, 20), slice(4, 20), slice(4, 20)), (slice(8, 16), slice(8, 16), slice(8, 16))


def test_mm_whs_labels_become_ours_and_other_structures_become_background(tmp_path: Path):
    for number in (1001, 1002):
        ct, labels = _scan({205: WALL, 500: CAVITY, 820: (slice(22, 24), slice(0, 4), slice(0, 4))})
        _write(ct, tmp_path / f"ct_train_{number}_image.nii.gz")
        _write(labels, tmp_path / f"ct_train_{number}_label.nii.gz")
    items = _items(_task(tmp_path, reader="mm-whs", labels={"205": 1, "500": 2}))
    assert [(item.record.name, item.record.patient) for item in items] == [(f"ct_train_{n}",) * 2 for n in (1001, 1002)]
    for item in items:
        assert item.labels is not None
        assert set(np.unique(item.labels)) == {0, 1, 2}
        assert item.image.shape == item.labels.shape == (1, 16, 14, 12)
        # 64 of the scan's 2 mm voxels are 8 of the 4 mm ones.
        assert (item.labels == 2).sum() == 8**3 / 8


def test_a_margin_keeps_only_what_lies_around_the_structures(tmp_path: Path):
    ct, labels = _scan({1: WALL, 2: CAVITY})
    _write(ct, tmp_path / "a_image.nii.gz")
    _write(labels, tmp_path / "a_label.nii.gz")
    (item,) = _items(_task(tmp_path, reader="mm-whs", margin_mm=4.0))
    assert item.image.shape == (1, 10, 10, 10)


def _decathlon(folder: Path, listed: bool) -> None:
    ct, labels = _scan({1: WALL, 2: CAVITY})
    for name in ("heart_1", "heart_2"):
        _write(ct, folder / "imagesTr" / f"{name}{'' if listed else '_0000'}.nii.gz")
        _write(labels, folder / "labelsTr" / f"{name}.nii.gz")
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in ("heart_1", "heart_2")]
    told = {"labels": {"0": "background", "1": "wall", "2": "cavity"}} | ({"training": pairs} if listed else {"file_ending": ".nii.gz"})
    (folder / "dataset.json").write_text(json.dumps(told))


@pytest.mark.parametrize("listed", [True, False], ids=["msd", "nnunet"])
def test_msd_and_nnunet_with_any_labels(tmp_path: Path, listed: bool):
    _decathlon(tmp_path, listed)
    items = _items(_task(tmp_path, reader="msd"))
    assert [item.record.name for item in items] == ["heart_1", "heart_2"]
    assert all(item.labels is not None and set(np.unique(item.labels)) == {0, 1, 2} for item in items)


def test_a_dataset_json_that_leads_out_of_its_folder_is_refused(tmp_path: Path):
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [{"image": "../secret.nii.gz", "label": "labelsTr/a.nii.gz"}]}))
    with pytest.raises(FedLiverError) as refusal:
        _items(_task(tmp_path, reader="msd"))
    assert refusal.value.code == "dataset-json"


def test_a_table_says_patients_and_scanners(tmp_path: Path):
    ct, labels = _scan({1: WALL, 2: CAVITY})
    for name in ("a", "b"):
        _write(ct, tmp_path / f"{name}.nii.gz")
        _write(labels, tmp_path / f"{name}-labels.nii.gz")
    (tmp_path / "scans.csv").write_text("image,labels,patient,group\na.nii.gz,a-labels.nii.gz,p1,north\nb.nii.gz,b-labels.nii.gz,p1,south\n")
    items = _items(_task(tmp_path / "scans.csv", reader="csv"))
    assert [(item.record.patient, item.record.group) for item in items] == [("p1", "north"), ("p1", "south")]


def test_labels_on_another_grid_are_refused(tmp_path: Path):
    _write(_scan({1: WALL})[0], tmp_path / "a_image.nii.gz")
    _write(_scan({1: WALL}, spacing=3.0)[1], tmp_path / "a_label.nii.gz")
    with pytest.raises(FedLiverError) as refusal:
        _items(_task(tmp_path, reader="mm-whs"))
    assert refusal.value.code == "different-grid"


def _picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def test_folders_of_images_give_classes_and_patients_who_are_the_same_in_every_class(tmp_path: Path):
    _picture(tmp_path / "well" / "1.png", np.full((40, 60), 200, np.uint8))
    _picture(tmp_path / "ill" / "p7" / "a.png", np.zeros((40, 60), np.uint8))
    _picture(tmp_path / "ill" / "p7" / "b.png", np.zeros((50, 50), np.uint8))
    _picture(tmp_path / "well" / "p7" / "before.png", np.zeros((50, 50), np.uint8))
    reader = Pictures(class_folders(tmp_path), DataSettings(reader="class-folders", size=(20, 30)))
    items = list(reader)
    assert reader.classes == ("ill", "well")
    assert [(item.record.label, item.record.patient) for item in items] == [(0, "p7"), (0, "p7"), (1, "well/1.png"), (1, "p7")]
    assert {item.image.shape for item in items} == {(1, 20, 30)}
    assert items[2].image.mean() == 200


def test_colour_and_sixteen_bits_become_grey_and_eight(tmp_path: Path):
    _picture(tmp_path / "deep.png", np.linspace(1000, 5000, 1600).astype(np.uint16).reshape(40, 40))
    colours = sitk.GetImageFromArray(np.full((40, 40, 3), 100, np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "colour.png"))
    (tmp_path / "images.csv").write_text("image,label\ndeep.png,a\ncolour.png,b\n")
    deep, colour = Pictures(table_of_pictures(tmp_path / "images.csv"), DataSettings(reader="csv", size=(40, 40)))
    assert deep.image.min() == 0
    assert deep.image.max() == 255
    assert np.unique(colour.image).tolist() == [100]


def test_a_file_that_is_no_image_and_a_single_class_are_refused(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(FedLiverError, match="one class"):
        Pictures(class_folders(tmp_path), DataSettings(reader="class-folders"))
    _picture(tmp_path / "b" / "1.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(FedLiverError, match=r"broken\.png cannot be read"):
        list(Pictures(class_folders(tmp_path), DataSettings(reader="class-folders")))


def test_an_image_whose_header_names_another_file_of_the_computer_is_refused_and_a_whole_one_is_read(tmp_path: Path):
    for name in ("well", "ill"):
        (tmp_path / name).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(np.full((8, 8), 7, np.uint8)), str(tmp_path / name / "scan.mha"))
    data = DataSettings(reader="class-folders", size=(8, 8))
    assert [int(item.image.max()) for item in Pictures(class_folders(tmp_path), data)] == [7, 7]
    (tmp_path / "secret").write_bytes(b"s" * 64)
    header = (tmp_path / "ill" / "scan.mha").read_bytes().split(b"ElementDataFile")[0]
    (tmp_path / "ill" / "scan.mha").write_bytes(header + f"ElementDataFile = {tmp_path / 'secret'}\n".encode())
    with pytest.raises(FedLiverError) as caught:
        list(Pictures(class_folders(tmp_path), data))
    assert caught.value.code == "detached-data"


def test_a_class_can_be_limited_and_the_draw_is_always_the_same(tmp_path: Path):
    for number in range(9):
        for kind in ("a", "b"):
            _picture(tmp_path / kind / f"{number}.png", np.full((9, 9), number, np.uint8))
    data = DataSettings(reader="class-folders", size=(9, 9), most_per_class=4)
    first, second = ([item.record.name for item in Pictures(class_folders(tmp_path), data)] for _ in range(2))
    assert first == second
    assert len(first) == 8


def test_excluded_images_take_no_part_and_a_folder_is_prepared_whole_or_not_at_all(tmp_path: Path):
    task = hearts(ARMS)
    task = task.model_copy(update={"data": task.data.model_copy(update={"exclude": ("heart-0003",)})})
    prepared = prepare(task, lambda: reader_of(task), tmp_path / "prepared", Silent())
    assert len(prepared) == 8
    assert "heart-0003" not in {record.name for record in prepared.records}
    places = prepared.places(0)
    flat = np.asarray(prepared.labels(0)).reshape(-1)
    assert set(flat[places[0]]) == {1}
    assert set(flat[places[1]]) == {2}


@pytest.mark.shared_data
def test_the_shipped_tasks_read_the_real_images_of_this_machine(shared_data: Path):
    xrays = read_task("chest-xray-small")
    reader = reader_of(xrays.model_copy(update={"data": xrays.data.model_copy(update={"path": shared_data / "chest_xray"})}))
    assert (len(reader), reader.classes) == (1124, ("no_finding", "pneumonia", "covid"))
    livers = read_task("liver")
    one = next(iter(reader_of(livers.model_copy(update={"data": livers.data.model_copy(update={"path": shared_data / "liver_ct" / "labelled"})}))))
    assert one.labels is not None
    assert one.record.name not in livers.data.exclude
    assert 800 < (one.labels > 0).sum() * np.prod(livers.data.spacing_mm) / 1000 < 3000, "ml of liver"
