"""The demo's report: one self-contained page made from the :class:`~fedliver.demo.journey.Result`."""

from pathlib import Path

from fedliver import __version__
from fedliver.coordinator.records import RoundRecord, SiteUpdate
from fedliver.demo.journey import Result
from fedliver.evaluation.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILION, YELLOW, Outline, Series, crossing, lines, three_planes
from fedliver.evaluation.report import Page

_COLOURS = ((VERMILION, PURPLE), (BLUE, ORANGE))


def write_report(result: Result, target: Path) -> Path:
    """Write the page to ``target`` and return it."""
    page = Page(
        "FedLiverSlicer: the whole loop, once",
        "A CT goes in; clinicians correct and approve; hospitals train together on real Flower processes with TLS and node keys; "
        "a better teacher comes out. No image left its site. Research use only.",
    )
    _unseen(page, result)
    _hospitals(page, result)
    _rounds(page, result)
    _adoption(page, result)
    _what_left(page, result)
    _times(page, result)
    _files(page, result)
    page.write(target)
    return target


def _unseen(page: Page, result: Result) -> None:
    assert result.ct is not None  # noqa: S101 the journey reads it first
    real = result.settings.ct is not None
    whose = "The CT you gave" if real else "A generated CT that no site has"
    page.section("The CT nobody trained on", f"{whose}, segmented by the teacher before and after the federation.")
    if real:
        page.text(
            "The three hospitals of this demo train on generated patients only, and few of them. Do not expect the new teacher to be better on "
            "a real CT: this shows the way, not the gain."
        )
    page.text(*result.ct_notes)
    truth = [] if result.reference is None else [Outline(result.reference, "Reference", GREEN, "--", YELLOW)]
    where = crossing(result.reference or result.looks[-1].segmentation.labels)
    for look, (liver, tumour) in zip(result.looks, _COLOURS, strict=True):
        outline = Outline(look.segmentation.labels, look.name, liver, "-", tumour)
        picture = three_planes(result.ct, [*truth, outline], title=look.name, centre_mm=where)
        dice = f" Liver Dice {look.scores.liver.dice:.3f}." if look.scores else ""
        page.picture(picture, f"{look.name}. {look.segmentation.sentence}{dice} Axial, coronal and sagittal; the patient's right is on the left.")
    rows = []
    for look in result.looks:
        scores = look.scores
        rows.append(
            (
                look.name,
                round(look.segmentation.liver_ml),
                round(look.segmentation.tumour_ml, 1),
                scores.liver.dice if scores else None,
                round(scores.liver.hd95_mm, 1) if scores and scores.liver.hd95_mm is not None else None,
                scores.tumour.dice if scores else None,
                f"{scores.lesions.reference_found} of {scores.lesions.reference}" if scores else None,
                f"{look.segmentation.seconds:.1f} s",
            )
        )
    headers = ("Teacher", "Liver, ml", "Tumour, ml", "Liver Dice", "Liver HD95, mm", "Tumour Dice", "Lesions of 15 mm or more found", "Time")
    page.table(headers, rows, "Against the reference; a dash where there is none.")


def _hospitals(page: Page, result: Result) -> None:
    page.section(
        "The hospitals",
        "Generated patients. The teacher pre-segments each CT; the clinician is simulated and corrects it to the truth that the generator knows; "
        "the case store keeps what was changed. The second patient, and every fourth after, is held out: such a case judges teachers and never trains one.",
    )
    rows = []
    for site in result.sites:
        for case in site.cases:
            approval = case.approval
            change = approval.correction.liver if approval and approval.correction else None
            rows.append(
                (
                    site.hospital.name,
                    site.hospital.words,
                    case.pseudonym,
                    str(case.role or ""),
                    change.dice if change else None,
                    round(change.ml_added, 1) if change else None,
                    round(change.ml_removed, 1) if change else None,
                )
            )
    page.table(("Site", "Scanner", "Case", "Used for", "Liver Dice before correction", "Liver added, ml", "Liver removed, ml"), rows)


def _rounds(page: Page, result: Result) -> None:
    page.section("The rounds", "Liver Dice on each site's own held-out case: of the first teacher, and of the global model after each round.")
    names = [site.hospital.name for site in result.sites]
    records = list(result.rounds)
    page.table(
        ("Site", "First teacher", *(f"After round {number}" for number in range(1, len(records)))),
        [(name, *(_update(record, name).dice for record in records)) for name in names],
        "Mean liver Dice on held-out cases",
    )
    series = [Series(name, list(range(len(records))), [_update(record, name).dice for record in records]) for name in names]
    page.picture(lines(series, title="Liver Dice on held-out cases", x_label="Rounds done"), "Liver Dice per site and round. 0 is the first teacher.")
    losses = []
    for name in names:
        loss = [event.loss for event in result.progress.get(name, []) if event.phase == "training" and event.loss is not None]
        losses.append(Series(name, list(range(1, len(loss) + 1)), loss))
    if any(line.x for line in losses):
        page.picture(
            lines(losses, title="Training loss", x_label="Step", y_label="Loss"), "Loss of every site's training, step by step, as its panel shows it."
        )


def _adoption(page: Page, result: Result) -> None:
    page.section("Adoption", "Each site compares the new teacher with its current one on its own held-out cases and adopts it only if it is not worse.")
    rows = [
        (site.hospital.name, decision.current_dice, decision.candidate_dice, decision.cases, "adopted" if decision.adopted else "kept the current one")
        for site, decision in zip(result.sites, result.decisions, strict=True)
    ]
    page.table(("Site", "Current teacher, Dice", "New teacher, Dice", "Held-out cases", "Decision"), rows)


def _what_left(page: Page, result: Result) -> None:
    page.section(
        "What left each site",
        "In every round: the weights of the network after training, and seven numbers "
        "(cases, scans without approval, loss, seconds, Dice, held-out cases, error code). "
        "No image, no segmentation, no pseudonym, no name, no path, no text.",
    )
    rows = []
    for record in result.rounds:
        label = f"Round {record.round}" if record.kind == "round" else "Delivery of the last model"
        for update in record.updates:
            outcome = update.refused or ("used" if record.kind == "round" else "delivered")
            rows.append(
                (
                    label,
                    update.site,
                    round(update.megabytes_up, 1),
                    round(update.megabytes_down, 1),
                    update.cases,
                    update.weight,
                    round(update.training_seconds),
                    round(update.seconds),
                    outcome,
                )
            )
    headers = ("Message", "Site", "MB out of the site", "MB into the site", "Cases", "Weight in the mean", "Training, s", "Training and transfer, s", "Outcome")
    page.table(headers, rows)
    up = sum(update.megabytes_up for record in result.rounds for update in record.updates)
    down = sum(update.megabytes_down for record in result.rounds for update in record.updates)
    page.text(f"Together {up:.1f} MB out of the sites and {down:.1f} MB into them, over TLS.")


def _times(page: Page, result: Result) -> None:
    page.section("Times")
    rows = [*result.seconds.items(), ("Together", sum(result.seconds.values()))]
    page.table(("Part", "Seconds"), [(name, round(seconds, 1)) for name, seconds in rows])


def _files(page: Page, result: Result) -> None:
    scene = result.scene.name if result.scene else ""
    page.section(
        "What lies beside this report",
        f"{scene}: a scene with the CT and both segmentations; drag it into 3D Slicer. before and after, as .seg.nrrd (3D Slicer "
        "segmentation, SNOMED terminology) and .nii.gz (label map). work: the homes of the sites and of the coordinator, as they would lie on four machines.",
        f"Written by fedliver {__version__}. Research use only: not a medical device.",
    )


def _update(record: RoundRecord, site: str) -> SiteUpdate:
    return next((update for update in record.updates if update.site == site), SiteUpdate(site=site))
