"""What other looks, means of looks and finishes are worth at inference, on patients that the network was not trained on.

Every annotated image is looked at by the network of the fold that held it out, with the shipped plan; each look's probabilities are kept in ``--cache``,
so that means and finishes cost no network. Liver Dice is compared image by image with the plan as it was: one look at the network's own spacing.
What is chosen by its score is chosen nested: on the images of three folds, scored on the fourth. The table goes into docs/training.md.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import SimpleITK as sitk
import typer
from pydantic import BaseModel, ConfigDict
from records import Machine

from fedliver.datasets.layouts import DatasetImage, for_training, read_layout, with_tumours_as_liver
from fedliver.evaluation.markdown import markdown_table
from fedliver.evaluation.metrics import LESION_MM, compare
from fedliver.files import write_file, write_text
from fedliver.image import Geometry, Volume, resample
from fedliver.labels import TUMOUR
from fedliver.teacher.bundle import STARTER, Teacher, load_bundle
from fedliver.teacher.device import PROCESSOR
from fedliver.teacher.inference import paint_answer, where_to_look
from fedliver.teacher.plan import ONCE, TeacherPlan
from fedliver.teacher.preparation import ct_to_network_grid, scaled_grid
from fedliver.teacher.windows import Phase, Runner
from fedliver.training.card import judged_folds
from fedliver.training.mixtures import TrainingData
from fedliver.training.sources import of_a_stranger
from fedliver.watch import Silent

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "training.md"
BLOCK = re.compile(r"(<!-- inference variants -->\n)(.*?)(<!-- end -->)", re.DOTALL)
BASE = "as it is"
NEARLY_AS_GOOD = 0.001
Answer = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Look:
    """One pass of the fine network: where its grid lies (voxels), at what scale, turned by how much about the long axis, and what is done to the input."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    turn: float = 0.0
    hu: float = 0.0
    gamma: float = 1.0
    overlap: float | None = None
    patch: int | None = None
    mirrored: bool = False

    @property
    def work(self) -> float:
        """Voxels, of the plain look's."""
        return self.scale**-3

    def grid(self, plain: Geometry) -> Geometry:
        """Around the box of the plain look."""
        grid = plain if self.scale == 1 else scaled_grid(plain, self.scale)
        if any(self.shift):
            grid = replace(grid, origin=tuple(float(x) for x in (grid.affine_lps @ [*self.shift, 1.0])[:3]))
        return _turned(grid, self.turn) if self.turn else grid

    def of(self, prepared: np.ndarray, plan: TeacherPlan) -> np.ndarray:
        """What the network is shown; air stays air."""
        low, high = plan.window_hu
        changed = np.where(prepared > 0, prepared + self.hu / (high - low), prepared).clip(0, 1) ** self.gamma
        return np.ascontiguousarray(changed[:, :, ::-1] if self.mirrored else changed).astype(np.float32)


PLAIN = Look()
LOOKS: dict[str, Look] = {
    "base": PLAIN,
    "s111": Look(shift=(1, 1, 1)),
    "h555": Look(shift=(0.5, 0.5, 0.5)),
    "hm555": Look(shift=(-0.5, -0.5, -0.5)),
    "z125": Look(scale=1.25 / 1.5),
    "z135": Look(scale=0.9),
    "z142": Look(scale=1.42 / 1.5),
    "z165": Look(scale=1.1),
    "i+20": Look(hu=20),
    "i-20": Look(hu=-20),
    "g118": Look(gamma=1.18),
    "rz+": Look(turn=0.15),
    "rz-": Look(turn=-0.15),
    "o000": Look(overlap=0.0),
    "o060": Look(overlap=0.6),
    "p112": Look(patch=112),
    "p128": Look(patch=128),
    "p160": Look(patch=160),
    "fX": Look(mirrored=True),
}


def _turned(grid: Geometry, angle: float) -> Geometry:
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    extent = np.asarray(grid.size) * np.asarray(grid.spacing)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * extent / 2
    size = np.ceil(2 * np.abs(corners @ turn).max(axis=0) / np.asarray(grid.spacing)).astype(int)
    centre = (grid.affine_lps @ [*((np.asarray(grid.size) - 1) / 2), 1.0])[:3]
    origin = centre - turn @ ((size - 1) / 2 * np.asarray(grid.spacing))
    return Geometry(tuple(int(n) for n in size), grid.spacing, tuple(float(x) for x in origin), tuple(float(x) for x in turn.ravel()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Variant:
    """The mean of looks, and what is done to it. Those that ``may_be_chosen`` stand to the nested choice."""

    what: str
    looks: tuple[str, ...] = ("base",)
    finish: Callable[[Answer], Answer] = lambda answer: answer
    logits: bool = False
    smooth_mask: bool = False
    may_be_chosen: bool = False

    @property
    def work(self) -> float:
        return sum(LOOKS[look].work for look in self.looks)


def at_threshold(threshold: float) -> Callable[[Answer], Answer]:
    """Odds multiplied so that ``threshold`` becomes a half; tumour's share of the liver stays."""

    def finish(answer: Answer) -> Answer:
        liver, tumour = answer
        sure = liver.clip(1e-6, 1 - 1e-6)
        odds = sure / (1 - sure) * (1 - threshold) / threshold
        return odds / (1 + odds), tumour * (odds / (1 + odds)) / np.maximum(liver, 1e-6)

    return finish


def smoothed(voxels: float) -> Callable[[Answer], Answer]:
    """Both probabilities, by a Gaussian."""

    def finish(answer: Answer) -> Answer:
        both = [sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(one), voxels)).clip(0, 1) for one in answer]
        return both[0], both[1]

    return finish


VARIANTS = (
    Variant(BASE, may_be_chosen=True),
    Variant("grid shifted by one voxel", ("s111",)),
    Variant("grid shifted by half a voxel", ("h555",)),
    Variant("1.25 mm", ("z125",), may_be_chosen=True),
    Variant("1.35 mm", ("z135",), may_be_chosen=True),
    Variant("1.65 mm", ("z165",)),
    Variant("20 HU brighter", ("i+20",)),
    Variant("gamma 1.18", ("g118",)),
    Variant("turned by 0.15 rad", ("rz+",)),
    Variant("patches do not overlap", ("o000",)),
    Variant("patches overlap by 0.6", ("o060",)),
    Variant("patches of 112", ("p112",)),
    Variant("patches of 128", ("p128",)),
    Variant("patches of 160", ("p160",)),
    Variant("mirrored, left for right", ("fX",)),
    Variant("mean: + shifted by one voxel", ("base", "s111"), may_be_chosen=True),
    Variant("mean: + shifted by one, by half, by minus half a voxel", ("base", "s111", "h555", "hm555"), may_be_chosen=True),
    Variant("mean: + 20 HU brighter + 20 HU darker", ("base", "i+20", "i-20"), may_be_chosen=True),
    Variant("mean: + turned both ways", ("base", "rz+", "rz-"), may_be_chosen=True),
    Variant("mean: + 1.35 mm", ("base", "z135"), may_be_chosen=True),
    Variant("mean: + 1.25 mm", ("base", "z125"), may_be_chosen=True),
    Variant("mean: + 1.35 + 1.65 mm", ("base", "z135", "z165"), may_be_chosen=True),
    Variant("mean: + 1.35 + 1.25 mm", ("base", "z135", "z125"), may_be_chosen=True),
    Variant("mean: + 1.42 + 1.35 + 1.25 mm", ("base", "z142", "z135", "z125"), may_be_chosen=True),
    Variant("mean: + 1.35 mm + turned both ways", ("base", "z135", "rz+", "rz-"), may_be_chosen=True),
    Variant("mean: + 1.35 mm, of the logits", ("base", "z135"), logits=True, may_be_chosen=True),
    Variant("threshold 0.4", finish=at_threshold(0.4), may_be_chosen=True),
    Variant("threshold 0.45", finish=at_threshold(0.45), may_be_chosen=True),
    Variant("threshold 0.55", finish=at_threshold(0.55), may_be_chosen=True),
    Variant("threshold 0.6", finish=at_threshold(0.6), may_be_chosen=True),
    Variant("probabilities smoothed by 0.7 voxels", finish=smoothed(0.7), may_be_chosen=True),
    Variant("probabilities smoothed by 1.2 voxels", finish=smoothed(1.2), may_be_chosen=True),
    Variant("median of the mask, 3 x 3 x 3", smooth_mask=True, may_be_chosen=True),
)


class Scored(BaseModel):
    """One variant on one image. ``tumour_dice`` is None without an annotated tumour of 15 mm; HD95 is asked of few variants."""

    model_config = ConfigDict(frozen=True)

    variant: str
    image: str
    fold: int
    liver_dice: float
    volume_error_percent: float
    tumour_dice: float | None
    hd95_mm: float | None = None


class Results(BaseModel):
    schema_version: Literal[1] = 1
    teacher: str
    machine: Machine
    scored: tuple[Scored, ...]

    def of(self, variant: str, but_fold: int | None = None) -> list[Scored]:
        return [one for one in self.scored if one.variant == variant and one.fold != but_fold]

    def mean(self, variant: str, but_fold: int | None = None) -> float:
        return float(np.mean([one.liver_dice for one in self.of(variant, but_fold)]))


class Patient:
    """An image with what the network of its fold answers, look by look."""

    def __init__(self, image: DatasetImage, fold: int, teacher: Teacher, cache: Path) -> None:
        self.name, self.fold, self._teacher, self._cache = image.name, fold, teacher, cache
        self._ct, self.truth = of_a_stranger(image.example)
        self._tumour_labelled = image.example.tumour_labelled
        found = where_to_look(teacher, self._ct, Silent(), PROCESSOR)
        if found is None:
            raise SystemExit(f"The finder finds no liver in {image.name}.")
        self._grid = found
        lesions = compare(self.truth, self.truth).lesions.reference
        self._has_tumour = self._tumour_labelled and lesions > 0

    def look(self, name: str) -> Answer:
        file = self._cache / f"{self.name}-{name}.npz"
        if not file.is_file():
            answer = self._looked(LOOKS[name])
            self._cache.mkdir(parents=True, exist_ok=True)
            write_file(file, lambda path: np.savez(path.open("wb"), l=answer[0].astype(np.float16), t=answer[1].astype(np.float16)))
        kept = np.load(file)
        return kept["l"].astype(np.float32), kept["t"].astype(np.float32)

    def _looked(self, look: Look) -> Answer:
        plan, grid = self._teacher.plan, look.grid(self._grid)
        changes = {"overlap": look.overlap, "patch_size": (look.patch,) * 3 if look.patch else None}
        plan = plan.model_copy(update={name: value for name, value in changes.items() if value is not None})
        prepared = ct_to_network_grid(self._ct, plan, grid)
        shown = prepared.with_array(look.of(prepared.array, plan))
        answer = Runner(PROCESSOR).probabilities(self._teacher.network, plan, shown, Phase(Silent(), "", 0, 1))
        back = [np.ascontiguousarray(one[:, :, ::-1]) if look.mirrored else one for one in answer]
        if grid != self._grid:
            back = [resample(Volume(one, grid), self._grid, order=1, outside=0.0, extend_edges=True).array for one in back]
        return back[0], back[1]

    def score(self, variant: Variant, with_surface: bool) -> Scored:
        liver, tumour = variant.finish(self._mean(variant))
        labels = np.zeros(self.truth.geometry.shape, np.uint8)
        paint_answer(labels, self.truth.geometry, self._teacher.plan, Volume(liver.astype(np.float32), self._grid), tumour.astype(np.float32))
        if variant.smooth_mask:
            smooth = sitk.GetArrayFromImage(sitk.BinaryMedian(sitk.GetImageFromArray((labels > 0).astype(np.uint8)), [1, 1, 1]))
            labels = np.where(smooth > 0, np.maximum(labels, 1), 0).astype(np.uint8)
        found, there = labels > 0, self.truth.array > 0
        return Scored(
            variant=variant.what,
            image=self.name,
            fold=self.fold,
            liver_dice=_dice(found, there),
            volume_error_percent=100 * float(found.sum() / there.sum() - 1),
            tumour_dice=_dice(labels == TUMOUR, self.truth.array == TUMOUR) if self._has_tumour else None,
            hd95_mm=compare(self.truth.with_array(labels), self.truth).liver.hd95_mm if with_surface else None,
        )

    def _mean(self, variant: Variant) -> Answer:
        answers = [self.look(name) for name in variant.looks]
        if not variant.logits:
            return tuple(np.mean([answer[part] for answer in answers], axis=0) for part in (0, 1))  # type: ignore[return-value]
        sure = [answer[0].clip(1e-4, 1 - 1e-4) for answer in answers]
        liver = 1 / (1 + np.exp(-np.mean([np.log(one / (1 - one)) for one in sure], axis=0)))
        return liver, liver * np.mean([answer[1] / np.maximum(answer[0], 1e-6) for answer in answers], axis=0).clip(0, 1)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def chosen(results: Results, but_fold: int | None, nearly: float) -> str:
    """The variant that the other folds speak for: the best mean, or the one of the least work within ``nearly`` of it."""
    among = [one for one in VARIANTS if one.may_be_chosen]
    best = max(results.mean(one.what, but_fold) for one in among)
    return min((one for one in among if results.mean(one.what, but_fold) >= best - nearly), key=lambda one: (one.work, -results.mean(one.what, but_fold))).what


def nested(results: Results, nearly: float) -> str:
    """A sentence: what each fold was scored with, and what came of it."""
    names = {fold: chosen(results, fold, nearly) for fold in sorted({one.fold for one in results.scored})}
    dices = [one.liver_dice for fold, name in names.items() for one in results.of(name) if one.fold == fold]
    told = ", ".join(f"“{name}” {list(names.values()).count(name)} times" for name in dict.fromkeys(names.values()))
    return f"mean {np.mean(dices):.4f}, worst {min(dices):.4f} ({told})"


def table(results: Results) -> str:
    plain = {one.image: one.liver_dice for one in results.of(BASE)}
    rows = []
    for variant in VARIANTS:
        here = results.of(variant.what)
        gains = [one.liver_dice - plain[one.image] for one in here]
        tumours = [one.tumour_dice for one in here if one.tumour_dice is not None]
        surfaces = [one.hd95_mm for one in here if one.hd95_mm is not None]
        rows.append(
            (
                variant.what,
                f"{np.mean([one.liver_dice for one in here]):.4f}",
                "" if variant.what == BASE else f"{np.mean(gains):+.4f}",
                "" if variant.what == BASE else f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
                f"{min(one.liver_dice for one in here):.4f}",
                f"{np.mean([abs(one.volume_error_percent) for one in here]):.1f}",
                f"{np.mean(tumours):.3f}",
                f"{np.mean(surfaces):.1f}" if len(surfaces) == len(here) else "",
                f"{variant.work:.1f}",
            )
        )
    head = ("", "liver Dice", "gain", "better in", "worst", "volume, %", f"tumour Dice (from {LESION_MM:g} mm)", "HD95, mm", "network's work")
    return "\n\n".join(
        [
            f"{results.teacher}, fold networks, {len(plain)} images; Dice over images, network's work in plain looks by voxels.",
            markdown_table(head, rows),
            f"Chosen on three folds and scored on the fourth: the best mean gives {nested(results, 0.0)}; the least work within {NEARLY_AS_GOOD:g} of it gives "
            f"{nested(results, NEARLY_AS_GOOD)}. One look gives mean {results.mean(BASE):.4f}, worst {min(plain.values()):.4f}.",
        ]
    )


def main(
    data: Annotated[Path, typer.Option(help="The annotated images.")],
    target: Annotated[Path, typer.Option(help="The bundle whose folds lie beside it, in TARGET-stages.")],
    cache: Annotated[Path, typer.Option(help="Where the probabilities are kept: 20 MB for each look at an image.")],
    keep_back: Annotated[list[str] | None, typer.Option(help="Images that are no part of the folds.")] = None,
    tumours_as_liver: Annotated[list[str] | None, typer.Option(help="Images whose tumours are annotated as liver.")] = None,
    folds: int = 4,
    out: Path = HERE / "results" / "inference_variants.json",
    page_only: Annotated[bool, typer.Option(help="Write the table from the results that are there.")] = False,
) -> None:
    """Score every variant on every image, write the results and the table."""
    if not page_only:
        write_text(out, _measured(data, target, cache, keep_back or (), tumours_as_liver or (), folds).model_dump_json(indent=1) + "\n")
    text = table(Results.model_validate_json(out.read_text()))
    write_text(DOCUMENT, BLOCK.sub(lambda found: f"{found[1]}\n{text}\n\n{found[3]}", DOCUMENT.read_text()))
    typer.echo(text)


def _measured(data: Path, target: Path, cache: Path, keep_back: Sequence[str], as_liver: Sequence[str], folds: int) -> Results:
    images = [image for image in with_tumours_as_liver(for_training(read_layout(data)), as_liver) if image.name not in keep_back]
    shipped = load_bundle(STARTER)
    shipped = replace(shipped, plan=shipped.plan.model_copy(update={"scales": ONCE}))
    surface_of = {BASE, "mean: + 1.35 mm", "mean: + 1.35 + 1.25 mm"}
    scored = []
    for number, judged in enumerate(judged_folds(shipped, target.with_name(f"{target.name}-stages"), TrainingData(tuple(images)), folds)):
        for image in judged.images:
            started = time.monotonic()
            patient = Patient(image, number, judged.teacher, cache)
            scored += [patient.score(variant, variant.what in surface_of) for variant in VARIANTS]
            typer.echo(f"{image.name}: {time.monotonic() - started:.0f} s", err=True)
    return Results(teacher=f"{shipped.name} {shipped.version}", machine=Machine.here(), scored=tuple(scored))


if __name__ == "__main__":
    typer.run(main)
