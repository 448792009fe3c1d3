"""A study's tables: rows of plain cells, for Markdown, CSV and HTML alike."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fedliver.evaluation.report import Cell
from fedliver.study.federated.comparison import ArmSummary, Difference, SiteGain, common_seeds, of_seeds
from fedliver.study.federated.measures import Measures, main_measures, measures, value_name
from fedliver.study.federated.results import ArmResult
from fedliver.study.federated.task import SHARED_STEPS, Arm, Privacy, Published, Task

_DIVISIONS = {
    "balanced": "equal sizes",
    "unbalanced": "unequal sizes",
    "sizes": "given sizes",
    "by-label": "unequal classes",
    "by-group": "divided by scanner",
}
_DIGITS = 4
MISSED = "missed"


@dataclass(frozen=True)
class Table:
    """Headers, rows, and what it is."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def words(arm: Arm) -> str:
    """An arm for people: "federated, 4 sites, equal sizes"."""
    if arm.way == "centralised":
        return "centralised"
    parts = ["each site alone" if arm.way == "alone" else "federated", f"{arm.clients} sites", _DIVISIONS[arm.division]]
    if arm.division == "sizes":
        parts[-1] = "sizes " + ":".join(f"{size:g}" for size in arm.sizes)
    if arm.division in ("unbalanced", "by-label") and arm.alpha != Arm.model_fields["alpha"].default:
        parts[-1] += f" (alpha {arm.alpha:g})"
    if arm.way == "federated" and arm.strategy.name != "fedavg":
        chosen = ", ".join(f"{key} {value:g}" for key, value in arm.strategy.model_dump(exclude={"name"}, exclude_defaults=True).items())
        parts.append(f"{arm.strategy.name}{f' ({chosen})' if chosen else ''}")
    parts += [f"{arm.active} at a time"] if arm.active else []
    parts += ["steps shared"] if arm.steps_shared else []
    parts += ["compressed"] if arm.compressed else []
    if arm.privacy:
        parts.append(f"updates clipped to {arm.privacy.norm_bound:g}")
        parts += [f"noise {arm.privacy.noise_multiplier:g}"] if arm.privacy.noise_multiplier else []
        parts += [f"delta {arm.privacy.delta:g}"] if arm.privacy.delta != Privacy.model_fields["delta"].default else []
    return ", ".join(parts)


def arms_table(task: Task, summaries: Sequence[ArmSummary], classes: Sequence[str]) -> Table:
    """The main table: what every arm scores, and how far it is from centralised."""
    names, value = main_measures(task), value_name(task)
    headers = ("arm", "seeds", *names, f"difference in {value}", "95 % interval", "p", "within target")
    rows = []
    for one in summaries:
        found = measures(task, one.results, classes)
        rows.append((words(one.arm), len(one.results), *(_shown(found, name) for name in names), *_difference_cells(one.difference), _yes(one)))
    over = "" if task.kind == "classification" else ", mean over structures"
    caption = f"Means over seeds and test patients. The difference is to centralised, of the same seeds{over}."
    if any(MISSED in str(cell) for row in rows for cell in row):
        caption += f" HD95 is of the cases in which a model found the structure; {MISSED}: of so many, in the mean, it found nothing of it."
    return Table(caption, headers, tuple(rows))


def _shown(found: Measures, name: str) -> Cell:
    """A distance with the number of cases that have none: arms that miss more are not better."""
    missed = found.get(f"without {name}", 0.0)
    return f"{text_cell(_rounded(found, name))} ({MISSED} {missed:.2g})" if missed else _rounded(found, name)


def measures_table(task: Task, summaries: Sequence[ArmSummary], classes: Sequence[str]) -> Table:
    """Every number of every arm, a row for each number: wide studies stay readable."""
    found = [measures(task, one.results, classes) for one in summaries]
    names = list({name: None for one in found for name in one})
    rows = tuple((name, *(_rounded(one, name) for one in found)) for name in names)
    return Table("Every measure, means over seeds.", ("measure", *(words(one.arm) for one in summaries)), rows)


def costs_table(summaries: Sequence[ArmSummary]) -> Table:
    """What the arms cost."""
    headers = (
        "arm",
        "rounds to 95 %",
        "MB to 95 %",
        "MB in all",
        "gradient steps, all sites",
        "processor s, all sites",
        "processor s, slowest site",
        "wall s here",
        "epsilon",
        "SD over seeds",
    )
    rows = []
    for one in summaries:
        federated, cost = one.arm.way == "federated", one.cost
        wall = sum(result.wall_seconds for result in one.results) / len(one.results)
        rows.append(
            (
                words(one.arm),
                None if cost.rounds_to_part is None else round(cost.rounds_to_part, 1),
                None if cost.megabytes_to_part is None or not federated else round(cost.megabytes_to_part, 1),
                round(cost.megabytes, 1) if federated else None,
                one.results[0].curve[-1].steps * (one.arm.active or one.arm.clients),
                round(cost.computed_seconds, 1),
                round(cost.side_by_side_seconds, 1),
                round(wall, 1),
                _epsilon(one.results),
                None if one.spread is None else round(one.spread, _DIGITS),
            )
        )
    caption = (
        "Rounds and megabytes (all sites, down and up) until the curve is at 95 % of where the centralised one of the same seed ends; a dash: not every seed."
    )
    return Table(caption, headers, tuple(rows))


def gains_table(task: Task, gains: Sequence[SiteGain], arms: Sequence[Arm]) -> Table:
    """Site by site: alone and together."""
    of = {arm.name: words(arm) for arm in arms}
    headers = ("arm", "seed", "site", "images", "alone", "federated", "gain", "95 % interval", "p", "gains")
    rows = tuple(
        (
            of[one.arm],
            one.seed,
            one.site + 1,
            one.images,
            round(one.alone, _DIGITS),
            round(one.federated, _DIGITS),
            *_difference_cells(one.gain),
            "yes" if one.gain.mean > 0 else "no",
        )
        for one in gains
    )
    return Table(f"Mean {value_name(task)} of the common test patients.", headers, rows)


def published_table(task: Task, published: Published, summaries: Sequence[ArmSummary], classes: Sequence[str]) -> Table:
    """A paper's numbers beside ours, and each with its own gap to its own centralised arm."""
    ours = {one.arm.name: measures(task, one.results, classes) for one in summaries}
    gaps = _gaps(task, summaries, classes)
    of = {one.arm.name: words(one.arm) for one in summaries}
    pooled = {number.measure: number.value for number in published.numbers if number.arm == "centralised"}
    kind = "real" if task.real else "generated"
    rows = []
    for number, name in [(told, name) for told in published.numbers for name in _ours(told.arm, of.keys())]:
        mine, gap = ours.get(name, {}).get(number.measure), gaps.get(name, {}).get(number.measure)
        rows.append(
            (
                of.get(name, name),
                number.measure,
                number.value,
                None if number.arm == "centralised" or number.measure not in pooled else f"{number.value - pooled[number.measure]:+.3f}",
                None if mine is None else round(mine, _DIGITS),
                None if gap is None else f"{gap:+.4f}",
            )
        )
    headers = ("arm", "measure", "paper (real)", "paper: to centralised", f"ours ({kind})", "ours: to centralised")
    return Table(f"{published.source}. {published.about}".strip(), headers, tuple(rows))


def _ours(published: str, names: Collection[str]) -> list[str]:
    """Our arms that are a published one: papers do not say how they counted steps, so both ways stand beside it."""
    return [name for name in (published, f"{published}{SHARED_STEPS}") if name in names] or [published]


def _gaps(task: Task, summaries: Sequence[ArmSummary], classes: Sequence[str]) -> dict[str, Measures]:
    """Every federated arm's measures less those of the centralised arm with the same seeds."""
    pooled = next((one.results for one in summaries if one.arm.way == "centralised"), ())
    found = {}
    for one in summaries:
        seeds = common_seeds((one.results, pooled))
        if one.arm.way != "centralised" and seeds:
            ours, theirs = (measures(task, of_seeds(results, seeds), classes) for results in (one.results, pooled))
            found[one.arm.name] = {name: ours[name] - theirs[name] for name in ours.keys() & theirs.keys()}
    return found


def curves_table(results: Sequence[ArmResult]) -> Table:
    """Every point of every learning curve."""
    rows = tuple((one.arm, one.seed, point.round, point.steps, point.score, point.megabytes, point.seconds) for one in results for point in one.curve)
    return Table("Learning curves.", ("arm", "seed", "round", "steps_per_site", "score", "megabytes", "processor_seconds"), rows)


def cases_table(results: Sequence[ArmResult]) -> Table:
    """Every test case of every model; cases have numbers, no names."""
    rows: list[tuple[Cell, ...]] = []
    for one in results:
        for model in one.models:
            for case in model.cases:
                key = (one.arm, one.seed, None if model.site is None else model.site + 1, case.case)
                if case.label is not None:
                    rows.append((*key, "", case.value, None, None, None))
                rows += [(*key, name, found.dice, found.hd95_mm, found.sensitivity, found.specificity) for name, found in case.structures.items()]
    headers = ("arm", "seed", "site", "case", "structure", "dice_or_correct", "hd95_mm", "sensitivity", "specificity")
    return Table("Test cases.", headers, tuple(rows))


def sites_table(results: Sequence[ArmResult]) -> Table:
    """Who held what."""
    rows = tuple(
        (one.arm, one.seed, number, site.images, "; ".join(f"{kind} {count}" for kind, count in site.mixture.items()))
        for one in results
        for number, site in enumerate(one.sites, start=1)
    )
    return Table("Training images of the sites.", ("arm", "seed", "site", "images", "mixture"), rows)


def text_cell(cell: Cell) -> str:
    """A cell in Markdown."""
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) and abs(cell) >= 1 else f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def _difference_cells(difference: Difference | None) -> tuple[Cell, Cell, Cell]:
    if difference is None:
        return None, None, None
    interval = None if difference.low is None or difference.high is None else f"{difference.low:+.3f} to {difference.high:+.3f}"
    return f"{difference.mean:+.4f}", interval, None if difference.p is None else f"{difference.p:.4f}"


def _yes(one: ArmSummary) -> Cell:
    if one.within is None:
        return None
    return f"{'yes' if one.within else 'no'}, {one.target:g}"


def _rounded(found: Measures, name: str) -> Cell:
    return round(found[name], _DIGITS) if name in found else None


def _epsilon(results: Sequence[ArmResult]) -> Cell:
    spent = [result.epsilon for result in results if result.epsilon is not None]
    return f"{max(spent):.3g}" if spent else None
