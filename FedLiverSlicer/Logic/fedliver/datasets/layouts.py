"""Data sets as hospitals and challenges keep them: which files belong together, and to whom. Only names and small JSON files are read.

Four layouts are known:

* ``NAME/ct.nii.gz`` and ``NAME/labels.nii.gz``, or ``PATIENT/NAME/...`` where a patient has several scans;
* ``dataset.json`` with ``imagesTr`` and ``labelsTr``: Medical Segmentation Decathlon and nnU-Net;
* ``volume-N.nii`` and ``segmentation-N.nii``, in one folder or in batches: LiTS;
* a site's folder with its case store.

A file ``images.json`` beside them may say what names do not: ``{"liver_7": {"patient": "p3", "tumour_labelled": false}}``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedliver.cases.examples import Example
from fedliver.errors import FedLiverError
from fedliver.labels import LIVER_STRUCTURE, TUMOUR_STRUCTURE, structure_of

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
LABEL_ENDINGS = (".seg.nrrd", *ENDINGS)
NOTES_FILE = "images.json"
_JSON_LIMIT = 64 << 20
_LITS = re.compile(r"volume-(\d+)\.nii(\.gz)?")


@dataclass(frozen=True)
class DatasetImage:
    """One scan of a data set. Images of one patient have the same ``patient``.

    ``held_out`` is for a case store's cases that judge teachers: they never train.
    """

    name: str
    patient: str
    example: Example
    held_out: bool = False


class _Notes(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    patient: str | None = Field(None, min_length=1, max_length=200)
    tumour_labelled: bool | None = None


class _Listed(BaseModel):
    image: str
    label: str


class _DatasetJson(BaseModel):
    """The part of a dataset.json that says where the files are and what the labels mean; MSD's and nnU-Net's keys."""

    labels: dict[str, int | str | list[int]]
    training: list[_Listed] = []
    file_ending: str = ".nii.gz"


_NOTES = TypeAdapter(dict[str, _Notes])


def read_layout(folder: Path) -> list[DatasetImage]:
    """Every image of a data set in a stable order, annotated or not.

    Raises
    ------
    FedLiverError
        ``no-dataset`` where no layout fits; ``dataset-json`` or ``images-json`` where such a file cannot be used; ``other-label-scheme`` where
        dataset.json says that liver and tumour are not 1 and 2; ``doubled-image`` where two images have one name.
    """
    folder = Path(folder)
    if (folder / "dataset.json").is_file():
        found = _decathlon(folder)
    elif (folder / "cases").is_dir():
        found = _case_store(folder)
    else:
        found = _lits(folder) or _folders(folder)
    if not found:
        raise FedLiverError(
            "no-dataset",
            f"{folder} holds no images of a known layout: expected NAME/ct.nii.gz with NAME/labels.nii.gz, dataset.json with imagesTr and labelsTr, "
            "volume-N.nii with segmentation-N.nii, or a site's folder.",
        )
    return _with_notes(folder, sorted(found, key=lambda image: _natural(image.name)))


def annotated(images: Iterable[DatasetImage]) -> list[DatasetImage]:
    """Those that have labels."""
    return [image for image in images if image.example.labels is not None]


def for_training(images: Iterable[DatasetImage]) -> list[DatasetImage]:
    """The annotated images that may train: all but a case store's held-out ones."""
    return [image for image in annotated(images) if not image.held_out]


def for_evaluation(images: Sequence[DatasetImage]) -> list[DatasetImage]:
    """The annotated images to score a teacher on: of a case store only the held-out ones, of any other data set all."""
    found = annotated(images)
    return [image for image in found if image.held_out] if any(image.held_out for image in found) else found


def with_tumours_as_liver(images: Iterable[DatasetImage], names: Sequence[str]) -> list[DatasetImage]:
    """The same images, those named marked as having tumours annotated as liver. Raises FedLiverError ``no-such-image``."""
    kept = list(images)
    unknown = sorted(set(names) - {image.name for image in kept})
    if unknown:
        raise FedLiverError("no-such-image", f"The data set has no image called {unknown[0]}: `fedliver dataset check` shows the names.")
    return [replace(image, example=replace(image.example, tumour_labelled=False)) if image.name in names else image for image in kept]


def segmentations_in(folder: Path) -> dict[str, Path]:
    """The segmentations of a flat folder, or of NAME/labels.* or NAME/prediction.* in subfolders, by name."""
    found = {stem: path for path in _visible(folder) if path.is_file() and (stem := _stem(path.name, LABEL_ENDINGS))}
    for sub in (path for path in _visible(folder) if path.is_dir()):
        inside = _one_of(sub, "labels", LABEL_ENDINGS) or _one_of(sub, "prediction", LABEL_ENDINGS)
        if inside:
            found[sub.name] = inside
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _folders(folder: Path) -> list[DatasetImage]:
    found = []
    for sub in (path for path in _visible(folder) if path.is_dir()):
        image = _folder_image(sub, sub.name, sub.name)
        if image:
            found.append(image)
            continue
        inner = (_folder_image(scan, f"{sub.name}/{scan.name}", sub.name) for scan in _visible(sub) if scan.is_dir())
        found += [image for image in inner if image]
    return found


def _folder_image(folder: Path, name: str, patient: str) -> DatasetImage | None:
    ct = _one_of(folder, "ct", ENDINGS)
    return DatasetImage(name, patient, Example(ct, _one_of(folder, "labels", LABEL_ENDINGS))) if ct else None


def _lits(folder: Path) -> list[DatasetImage]:
    found = []
    for place in [folder, *(path for path in _visible(folder) if path.is_dir())]:
        for path in _visible(place):
            match = _LITS.fullmatch(path.name)
            if match:
                name = f"volume-{match[1]}"
                found.append(DatasetImage(name, name, Example(path, _one_of(place, f"segmentation-{match[1]}", (".nii", ".nii.gz")))))
    _refuse_doubles(found)
    return found


def _decathlon(folder: Path) -> list[DatasetImage]:
    try:
        described = _DatasetJson.model_validate_json(_small(folder / "dataset.json"))
    except ValidationError as error:
        raise FedLiverError(
            "dataset-json", f"{folder / 'dataset.json'} is not as MSD or nnU-Net write it ({_first(error)}): correct it, or get the data set again."
        ) from error
    tumours = _check_labels(folder, described)
    if described.training:
        pairs = [(inside(folder, one.image), inside(folder, one.label)) for one in described.training]
        found = [_named(ct, labels, _stem(labels.name, LABEL_ENDINGS), tumours) for ct, labels in pairs]
    else:
        found = [
            _named(path, folder / "labelsTr" / f"{name}{described.file_ending}", name, tumours)
            for path in _visible(folder / "imagesTr")
            if (stem := _stem(path.name, (described.file_ending,))) and (name := stem.removesuffix("_0000"))
        ]
    _refuse_doubles(found)
    return found


def _named(ct: Path, labels: Path, name: str, tumours: bool) -> DatasetImage:
    if not ct.exists():  # nnU-Net appends the channel
        stem = _stem(ct.name, ENDINGS)
        with_channel = ct.with_name(f"{stem}_0000{ct.name.removeprefix(stem)}")
        ct = with_channel if with_channel.exists() else ct
    return DatasetImage(name, name, Example(ct, labels if labels.is_file() else None, tumours))


def _check_labels(folder: Path, described: _DatasetJson) -> bool:
    """Whether tumours are annotated. Raises where liver or tumour are other numbers than ours."""
    numbers: dict[str, int] = {}
    for key, value in described.labels.items():  # MSD: {"1": "liver"}, nnU-Net: {"liver": 1}; a list is nnU-Net's region: the liver with its tumours is [1, 2]
        name, number = (str(value), key) if isinstance(value, str) else (key, str(min(value, default=0) if isinstance(value, list) else value))
        structure = structure_of(name)
        if structure and number.isdecimal():
            numbers[structure.name] = int(number)
    liver, tumour = numbers.get(LIVER_STRUCTURE.name), numbers.get(TUMOUR_STRUCTURE.name)
    expected = (LIVER_STRUCTURE.value, TUMOUR_STRUCTURE.value)
    if liver != expected[0] or tumour not in (None, expected[1]) or len(described.labels) > 3:
        raise FedLiverError(
            "other-label-scheme",
            f"{folder / 'dataset.json'} does not say 0 background, 1 liver, 2 tumour: relabel the data set so (other organs become background).",
        )
    return tumour is not None


def _case_store(folder: Path) -> list[DatasetImage]:
    from fedliver.cases.case import Role, State
    from fedliver.cases.store import CaseStore

    store = CaseStore(folder)
    examples = {example.ct: example for example in (*store.training_examples(), *store.held_out_examples())}
    return [
        DatasetImage(case.pseudonym, case.patient, examples[store.ct_path(case)], case.role is Role.HELD_OUT)
        for case in store.cases()
        if case.state is State.APPROVED and store.ct_path(case) in examples
    ]


def _with_notes(folder: Path, images: list[DatasetImage]) -> list[DatasetImage]:
    if not (folder / NOTES_FILE).is_file():
        return images
    try:
        notes = _NOTES.validate_json(_small(folder / NOTES_FILE))
    except ValidationError as error:
        raise FedLiverError("images-json", f"{folder / NOTES_FILE} cannot be used ({_first(error)}): see docs/training.md for how it looks.") from error
    unknown = sorted(set(notes) - {image.name for image in images})
    if unknown:
        raise FedLiverError("images-json", f"{folder / NOTES_FILE} speaks of {unknown[0]}, which the data set does not hold: correct the name.")
    return [_with_note(image, notes.get(image.name, _Notes())) for image in images]


def _with_note(image: DatasetImage, note: _Notes) -> DatasetImage:
    tumours = image.example.tumour_labelled if note.tumour_labelled is None else note.tumour_labelled
    return replace(image, patient=note.patient or image.patient, example=replace(image.example, tumour_labelled=tumours))


def _refuse_doubles(images: Sequence[DatasetImage]) -> None:
    seen: set[str] = set()
    for image in images:
        if image.name in seen:
            raise FedLiverError("doubled-image", f"The data set holds two images called {image.name}: keep one, or give the other a name of its own.")
        seen.add(image.name)


def inside(folder: Path, name: str) -> Path:
    """A path that dataset.json names, in the data set's folder. It came from outside: what leads out, on any system, is refused (``dataset-json``)."""
    told = PureWindowsPath(name)  # which takes both kinds of slashes
    if told.anchor or ".." in told.parts:
        raise FedLiverError("dataset-json", f"{folder / 'dataset.json'} names a file outside the data set: correct its paths.")
    return folder / name


def _small(path: Path) -> bytes:
    if path.stat().st_size > _JSON_LIMIT:
        raise FedLiverError("dataset-json", f"{path} is larger than {_JSON_LIMIT >> 20} MB, which no such file is: check it.")
    return path.read_bytes()


def _first(error: ValidationError) -> str:
    """Where the first mistake is, and which; never the file's content."""
    first = error.errors(include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'][:3]))}: {first['msg']}" if first["loc"] else str(first["msg"])


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, without hidden files (macOS leaves ``._NAME`` beside every NAME)."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _one_of(folder: Path, stem: str, endings: Sequence[str]) -> Path | None:
    return next((path for ending in endings if (path := folder / f"{stem}{ending}").is_file()), None)


def _stem(name: str, endings: Sequence[str]) -> str:
    """The name without its ending; empty where it has none of them."""
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), "")


def _natural(name: str) -> list[tuple[int, str]]:
    """For sorting: liver_2 before liver_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
