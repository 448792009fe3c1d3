"""The model card of a teacher, its numbers measured by the command that writes it. ``fedliver card`` runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from fedliver.datasets.evaluation import DatasetScores, TeacherSegmenter, score_images
from fedliver.datasets.evaluation_report import Picture, WorstPictures, estimate_texts
from fedliver.datasets.layouts import DatasetImage
from fedliver.evaluation.markdown import markdown_table
from fedliver.evaluation.summary import MEASURES, ImageScores
from fedliver.files import write_file, write_text
from fedliver.image import Volume
from fedliver.teacher.bundle import Teacher, load_bundle, set_calibration
from fedliver.teacher.inference import LOW_CONFIDENCE
from fedliver.teacher.plan import ONCE, StagePlan, TeacherPlan
from fedliver.training.ablation import WHOLE, Judged, ablation
from fedliver.training.mixtures import TrainingData
from fedliver.training.self_assessment import POOR_DICE, Assessed, assess, calibrated_by_others, fitted_calibration, self_knowledge
from fedliver.training.stages import fold_name, stages_of
from fedliver.watch import Watcher


@dataclass(frozen=True)
class CardText:
    """What no command can measure: words of whoever trained the teacher, Markdown."""

    trained_on: str
    recipe: str
    fails: str


@dataclass(frozen=True)
class CardNumbers:
    """Measured on patients that the scored network was not trained on. ``folds`` is None without stages to take fold networks from."""

    kept_back: DatasetScores | None
    folds: DatasetScores | None
    pictures: Sequence[Picture]
    steps: dict[str, DatasetScores]
    """The same images without one step after the network each; see :func:`~fedliver.training.ablation.ablation`."""
    assessed: Sequence[Assessed]
    """What is expected here is what the probabilities promise, without any calibration."""


def measure(bundle: Path, data: TrainingData, folds: int, kept_back: Sequence[DatasetImage], watcher: Watcher) -> CardNumbers:
    """Score the teacher on the images that were kept back, and every fold's network on its own fold."""
    worst = _WithoutScan()
    teacher = _uncalibrated(load_bundle(bundle))
    of_folds = judged_folds(teacher, stages_of(bundle), data, data.folds(folds))
    parts = [_scored(one, worst, watcher) for one in of_folds]
    shipped = Judged(teacher, kept_back)
    of_shipped = [_scored(shipped, worst, watcher)] if kept_back else []
    everyone = [one for one in (*of_folds, shipped) if one.images]
    return CardNumbers(
        kept_back=of_shipped[0] if of_shipped else None,
        folds=DatasetScores.joined("cross-validation", parts) if parts else None,
        pictures=worst.pictures,
        steps=ablation(everyone, DatasetScores.joined(WHOLE, [*parts, *of_shipped]), watcher),
        assessed=assess(everyone, watcher),
    )


def write_card(bundle: Path, numbers: CardNumbers, text: CardText) -> str:
    """Write the card and its pictures into the bundle's ``docs``, its calibration into its plan, and return the card."""
    set_calibration(bundle, fitted_calibration(numbers.assessed))
    docs = bundle / "docs"
    for old in docs.glob("worst-*.png"):
        old.unlink()
    for picture in numbers.pictures:
        png = _few_colours(picture.png)
        write_file(docs / _file_of(picture), lambda path, png=png: path.write_bytes(png))  # type: ignore[misc]
    card = card_text(load_bundle(bundle), numbers, text)
    write_text(docs / "README.md", card)
    return card


class _WithoutScan(WorstPictures):
    """Outlines only: a card is public, and a patient's scan is not."""

    def __call__(self, scored: ImageScores, ct: Volume | None, prediction: Volume, reference: Volume) -> None:
        super().__call__(scored, None, prediction, reference)


def judged_folds(teacher: Teacher, stages: Path, data: TrainingData, folds: int) -> list[Judged]:
    """Every fold's network with the plan of the teacher whose card it is: its rules may have been changed since the folds were trained."""
    there = {number: stages / fold_name(number) for number in range(folds) if (stages / fold_name(number)).is_dir()}
    return [Judged(replace(load_bundle(stage), plan=teacher.plan), data.fold(number, folds)) for number, stage in there.items()]


def _uncalibrated(teacher: Teacher) -> Teacher:
    return replace(teacher, plan=teacher.plan.model_copy(update={"calibration": TeacherPlan.model_fields["calibration"].default}))


def _scored(judged: Judged, onlooker: WorstPictures, watcher: Watcher) -> DatasetScores:
    results = score_images(judged.images, TeacherSegmenter(judged.teacher), watcher=watcher, onlooker=onlooker)
    return DatasetScores.of(f"{judged.teacher.name} {judged.teacher.version}", len(judged.images), results)


def card_text(teacher: Teacher, numbers: CardNumbers, text: CardText) -> str:
    """The card as Markdown."""
    return "\n\n".join(
        [
            f"# {teacher.name} {teacher.version}",
            "Liver and tumour in CT. **Research use only. A clinician must check every result.**",
            f"## What it is\n\n{_architecture(teacher)}",
            f"## What it was trained on\n\n{text.trained_on}\n\n{text.recipe}",
            *_scores("Measured on patients kept back", "The shipped network, on images that no stage of its training saw.", numbers.kept_back),
            *_scores(
                "Cross-validation",
                "Each patient scored by the network of a fold that was not trained on it. These networks were trained for a fraction of the time of the "
                "shipped one, which goes on from their mean; the finder, which only says where to look, saw all patients.",
                numbers.folds,
            ),
            *_steps(numbers.steps),
            *_self_knowledge(numbers.assessed, teacher.plan.calibration),
            *_worst(numbers.pictures),
            f"## Where it fails\n\n{text.fails}",
            "Made by `fedliver pretrain`; this card, its tables and its pictures by `fedliver card`. There is no patient's scan in it.\n",
        ]
    )


def _architecture(teacher: Teacher) -> str:
    plan = teacher.plan
    lines = []
    if plan.finder is not None:
        lines.append(f"- The **finder** looks for the liver in the whole scan: {_stage(plan.finder, teacher.network.finder)}.")
        lines.append(f"- The **fine** network sees the finder's box and {plan.margin_mm:g} mm around it: {_stage(plan, teacher.network.fine)}.")
    else:
        lines.append(f"- One network sees the whole scan: {_stage(plan, teacher.network)}.")
    if plan.scales != ONCE:
        looks = ", ".join(f"{scale * plan.spacing_mm[0]:.3g}" for scale in plan.scales)
        lines.append(f"- It looks {len(plan.scales)} times, at {looks} mm; what counts is the mean of the probabilities.")
    lines.append(
        f"- After it: the largest connected liver is kept, its holes are filled, tumour outside it or under {plan.minimum_tumour_ml:g} ml is dropped, "
        f'and less than {plan.minimum_liver_ml:g} ml of liver is called "no liver found".'
    )
    if plan.sure_of_part or plan.sure_of_whole:
        lines.append(
            f'- "No liver found" is also the answer where the probabilities promise a Dice under {plan.sure_of_part:g} of what has less than '
            f"{plan.whole_liver_ml:g} ml, or under {plan.sure_of_whole:g} of anything larger."
        )
    return "\n".join(lines)


def _stage(plan: StagePlan, network: "object") -> str:
    parameters = sum(parameter.numel() for parameter in network.parameters())  # type: ignore[attr-defined]
    folded = f", {plan.network.fold}-cubed voxels folded into channels" if plan.network.fold > 1 else ""
    spacing = " x ".join(f"{mm:g}" for mm in plan.spacing_mm)
    low, high = plan.window_hu
    return f"MONAI's residual 3D U-Net, {parameters / 1e6:.1f} M parameters{folded}, {spacing} mm, patches of {plan.patch_size[0]}, HU {low:g} to {high:g}"


def _scores(title: str, lead: str, scores: DatasetScores | None) -> list[str]:
    if scores is None:
        return []
    rows = []
    for one in MEASURES:
        estimate = getattr(scores.summary, one.field)
        if estimate is not None and one.field != "seconds":
            rows.append((one.title, *estimate_texts(one, estimate), estimate.worst_image, str(estimate.patients)))
    summary = markdown_table(("score", "mean", "95 % interval", "worst", "worst image", "patients"), rows)
    correlation = scores.summary.expected_dice_correlation
    said = [] if correlation is None else [f"The Dice that the teacher expects of itself correlates with the true one: r = {correlation:.2f}."]
    return [f"## {title}", lead, summary, _image_table(scores), *said]


def _image_table(scores: DatasetScores) -> str:
    rows = []
    for one in scores.images:
        liver, lesions = one.scores.liver, one.scores.lesions
        tumour = f"{one.scores.tumour.dice:.3f}" if one.tumour_labelled and one.scores.tumour.reference_ml else "none there"
        found = f"{lesions.reference_found} of {lesions.reference}"
        if not one.tumour_labelled:
            tumour = found = "not annotated"
        volume = "–" if liver.volume_error_percent is None else f"{liver.volume_error_percent:+.1f}"
        distance = "–" if liver.hd95_mm is None else f"{liver.hd95_mm:.1f}"
        rows.append((one.name, f"{liver.dice:.3f}", distance, f"{liver.nsd:.3f}", volume, tumour, found, f"{one.scores.tumour.prediction_ml:.1f}"))
    return markdown_table(("image", "liver Dice", "HD95, mm", "NSD at 2 mm", "volume, %", "tumour Dice", "lesions of 15 mm found", "tumour called, ml"), rows)


def _steps(steps: dict[str, DatasetScores]) -> list[str]:
    if not steps:
        return []
    rows = []
    for name, scores in steps.items():
        cells = []
        for one in MEASURES:
            if one.field in ("liver_dice", "liver_hd95_mm", "tumour_dice", "made_up_tumour_ml"):
                estimate = getattr(scores.summary, one.field)
                cells.append("–" if estimate is None else f"{estimate_texts(one, estimate)[0]} ({estimate_texts(one, estimate)[2]})")
        rows.append((name, *cells))
    lead = "All images above (kept back and cross-validation), with one step left out at a time: mean (worst)."
    headers = ("", "liver Dice", "liver HD95, mm", "tumour Dice", "tumour made up, ml")
    return ["## What each step after the network is worth", lead, markdown_table(headers, rows)]


def _self_knowledge(raw: Sequence[Assessed], calibration: tuple[float, float]) -> list[str]:
    if not raw:
        return []
    assessed = calibrated_by_others(raw)
    known = self_knowledge(assessed)
    rows = []
    for name in dict.fromkeys(one.corruption for one in assessed):
        chosen = [one for one in assessed if one.corruption == name]
        warned = sum(one.expected < LOW_CONFIDENCE for one in chosen)
        means = (sum(getattr(one, field) for one in chosen) / len(chosen) for field in ("expected", "true"))
        rows.append((name, *(f"{mean:.3f}" for mean in means), f"{min(one.true for one in chosen):.3f}", f"{warned} of {len(chosen)}"))
    correlation = "not defined" if known.correlation is None else f"r = {known.correlation:.2f}"
    lead = (
        f"All images above, as they are and made worse on purpose: {known.answers} answers. The Dice of the liver that the teacher expects of itself against "
        f"the true one: {correlation}. Below an expected Dice of {LOW_CONFIDENCE:g} it says that it is unsure: so it did for {known.poor_warned} of the "
        f"{known.poor} answers with a true Dice under {POOR_DICE:g}, and for {known.good_warned} of the {known.answers - known.poor} others. "
        f"Networks are surer than they are right, so what the probabilities promise is put on a line first, fitted on these answers: "
        f"expected = {calibration[0]:g} + {calibration[1]:g} promised. For the numbers here, each image was left out of the line that it was judged by."
    )
    return ["## Does it know when it fails?", lead, markdown_table(("scan", "expected Dice", "true Dice", "worst true Dice", "said to be unsure"), rows)]


def _worst(pictures: Sequence[Picture]) -> list[str]:
    if not pictures:
        return []
    shown = "\n\n".join(
        f"![{one.scored.name}: reference dashed, prediction solid]({_file_of(one)})\n\n{one.scored.name}: liver Dice {one.scored.scores.liver.dice:.3f}."
        for one in pictures
    )
    return ["## The worst of all of these", "Outlines only: reference dashed, prediction solid. Lowest liver Dice first, then lowest tumour Dice.", shown]


def _file_of(picture: Picture) -> str:
    return f"worst-{picture.scored.name}.png"


def _few_colours(png: bytes) -> bytes:
    """The same picture in a third of the bytes: it travels in the bundle, and outlines have few colours.

    The octree keeps each of them; Pillow's default, the median cut, would give a thin line the colour of a thick one."""
    from PIL import Image

    out = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(64, Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()
