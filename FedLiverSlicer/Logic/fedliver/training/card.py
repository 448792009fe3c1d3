"""The model card of the starter, its numbers measured by the command that writes it. ``fedliver train card`` runs it."""

from collections.abc import Sequence
from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import Scores, compare
from fedliver.files import write_text
from fedliver.image import Volume
from fedliver.labels import LEGAL_VALUES
from fedliver.teacher.bundle import Teacher, load_bundle
from fedliver.teacher.inference import segment
from fedliver.training.sources import read_volume
from fedliver.training.starter import TUMOURS_AS_LIVER
from fedliver.watch import Watcher, report

VALIDATION = ("chaos_03",)


def write_card(bundle: Path, data: Path, recipe: str, watcher: Watcher) -> str:
    """Score the teacher in ``bundle`` on the patients of ``data`` that it was not trained on, write its card and return it.

    Parameters
    ----------
    recipe:
        How it was trained (steps, minutes, machine), in the words of who trained it.
    """
    teacher = load_bundle(bundle)
    folders = [data / "liver_ct" / "labelled" / name for name in VALIDATION]
    missing = [folder.name for folder in folders if not (folder / "labels.nii.gz").is_file()]
    if missing:
        raise FedLiverError("no-validation-data", f"{data} does not hold the validation patients {', '.join(missing)}: the card needs them.")
    rows = []
    for number, folder in enumerate(folders):
        report(watcher, f"Scoring {folder.name}", number / len(folders))
        rows.append((folder.name, score(teacher, read_volume(folder / "ct.nii.gz"), read_volume(folder / "labels.nii.gz"))))
    card = card_text(teacher, rows, recipe, _patients(data), len(list(data.glob("label_maps/*.nii.gz"))))
    write_text(bundle / "docs" / "README.md", card)
    return card


def score(teacher: Teacher, ct: Volume, reference: Volume) -> Scores:
    """The teacher's scores on one annotated CT."""
    return compare(segment(teacher, ct).labels, reference)


def card_text(teacher: Teacher, rows: Sequence[tuple[str, Scores]], recipe: str, patients: int, label_maps: int) -> str:
    """The card as Markdown."""
    plan = teacher.plan
    parameters = sum(parameter.numel() for parameter in teacher.network.parameters())
    table = "\n".join(_row(name, scores) for name, scores in rows)
    return f"""# {teacher.name} {teacher.version}

Liver and tumour in CT: the teacher that FedLiverSlicer ships, before any federation. **Research use only. A clinician must check every result.**

## What it is

MONAI's residual 3D U-Net, {parameters / 1e6:.1f} M parameters, one resolution ({plan.spacing_mm[0]:g} mm), patches of {" x ".join(map(str, plan.patch_size))},
HU {plan.window_hu[0]:g} to {plan.window_hu[1]:g} mapped to 0 to 1. {len(LEGAL_VALUES)} classes: background, liver, tumour.
After it: the largest connected liver is kept, its holes are filled, and less than {plan.minimum_liver_ml:g} ml of liver is called "no liver found".

## What it was trained on

- {patients} patients of LiTS / Medical Segmentation Decathlon Task03_Liver (CC BY-SA 4.0), rebuilt from 8-bit slices: HU clipped to -160 to 240, slices with
  liver only. In {len(TUMOURS_AS_LIVER)} of them tumours are annotated as liver; they teach nothing about tumours.
- Images made from {label_maps} human organ label maps without CT (WORD, AMOS; SynthSeg, Billot et al. 2023): the tissue that those patients' slices lack.
  AMOS' authors give it a CC BY-NC licence; WORD's licence could not be confirmed, so take it as research only. No commercial use of this teacher.
- {recipe}

Made by `fedliver train starter`; this card by `fedliver train card`. No patient image is in this repository.

## Measured on patients it was not trained on

| patient | liver Dice | HD95, mm | NSD at 2 mm | volume error | tumour |
|---|---|---|---|---|---|
{table}

chaos_03 is a healthy liver donor (CHAOS, CC BY-SA 4.0). One patient is a check, not a study: cross-validation is still to be done.

## Where it fails

- Tumours: trained on few; small or faint ones are missed, and a healthy liver can show a false one.
- It saw few CTs above and below the liver, and those were made up: expect stray liver at heart, spleen or stomach in unusual anatomy.
- One resolution of {plan.spacing_mm[0]:g} mm: edges are smooth, thin left lobes can break.
- Not tried: children, operated livers, metal, contrast phases other than portal venous.
"""


def _patients(data: Path) -> int:
    return sum(1 for path in data.glob("liver_ct/labelled/*/labels.nii.gz") if path.parent.name not in VALIDATION)


def _row(name: str, scores: Scores) -> str:
    liver = scores.liver
    return f"| {name} | {liver.dice:.3f} | {_mm(liver.hd95_mm)} | {liver.nsd:.3f} | {_percent(liver.volume_error_percent)} | {_tumour(scores)} |"


def _mm(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:+.1f} %"


def _tumour(scores: Scores) -> str:
    if scores.tumour.reference_ml == 0:
        return f"none there, {scores.tumour.prediction_ml:.1f} ml called tumour"
    return f"Dice {scores.tumour.dice:.3f}, {scores.lesions.reference_found} of {scores.lesions.reference} lesions of 15 mm or more found"
