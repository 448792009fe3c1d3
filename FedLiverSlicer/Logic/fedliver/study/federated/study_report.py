"""A study's results as files: tables (CSV, Markdown), pictures, and one self-contained HTML page."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedliver.evaluation.markdown import markdown_table
from fedliver.evaluation.report import Cell, Page
from fedliver.files import write_file, write_text
from fedliver.study.federated.comparison import ArmSummary, SiteGain, gains, summarise
from fedliver.study.federated.plots import differences, learning_curves, score_by_clients, site_gains
from fedliver.study.federated.results import ArmResult, ResultFolder
from fedliver.study.federated.tables import (
    Table,
    arms_table,
    cases_table,
    costs_table,
    curves_table,
    gains_table,
    measures_table,
    published_table,
    sites_table,
    text_cell,
)
from fedliver.study.federated.task import Task
from fedliver.study.federated.verdict import verdict

_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class _Findings:
    """All that the report is made of."""

    task: Task
    results: Sequence[ArmResult]
    summaries: Sequence[ArmSummary]
    gains: Sequence[SiteGain]
    classes: Sequence[str]
    patients: int
    command: str

    @property
    def kind(self) -> str:
        return "real" if self.task.real else "generated"

    @property
    def lead(self) -> str:
        return f"{self.task.about} {'The images are of patients.' if self.task.real else 'All images are GENERATED: no patient is in them.'}"

    @property
    def missing(self) -> int:
        return sum(len(self.task.seeds_of(arm)) for arm in self.task.arms) - len(self.results)


def write_study(task: Task, out: Path, command: str) -> str:
    """Write ``study.md``, ``report.html``, CSV tables and PNGs into ``out`` from the results that are there; returns the Markdown.

    ``command`` is what gives the same study again; it is printed.
    """
    folder = ResultFolder(out, task)
    folder.check()
    results = folder.all()
    if not results:
        return f"{out} holds no results of this task yet.\n"
    subject = folder.subject()
    classes, patients = (subject.classes, subject.patients) if subject else ((), 0)
    found = _Findings(task, results, summarise(task, results), gains(task, results), classes, patients, command)
    pictures = _pictures(found)
    for name, png, _ in pictures:
        write_file(out / f"{name}.png", partial(_write_bytes, png))
    for name, table in _csv_tables(found).items():
        write_text(out / f"{name}.csv", _csv(table))
    _page(found, pictures).write(out / "report.html")
    text = _markdown(found, pictures)
    write_text(out / "study.md", text)
    return text


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _tables(found: _Findings) -> list[tuple[str, Table]]:
    task = found.task
    tables = [(f"Every arm ({found.kind} images)", arms_table(task, found.summaries, found.classes))]
    if found.gains:
        tables.append(("Against staying alone, site by site", gains_table(task, found.gains, task.arms)))
    tables.append(("What it costs", costs_table(found.summaries)))
    tables += [("Beside the paper", published_table(task, published, found.summaries, found.classes)) for published in task.published]
    tables.append(("Every measure", measures_table(task, found.summaries, found.classes)))
    return tables


def _csv_tables(found: _Findings) -> dict[str, Table]:
    task = found.task
    return {
        "arms": arms_table(task, found.summaries, found.classes),
        "measures": measures_table(task, found.summaries, found.classes),
        "gains": gains_table(task, found.gains, task.arms),
        "costs": costs_table(found.summaries),
        "curves": curves_table(found.results),
        "cases": cases_table(found.results),
        "sites": sites_table(found.results),
    }


def _pictures(found: _Findings) -> list[tuple[str, bytes, str]]:
    """Name, PNG and caption of those that can be drawn."""
    task, kind = found.task, f"({found.kind} images)"
    drawn = (
        (
            "differences",
            differences(task, found.summaries, shared=False),
            f"Against centralised {kind}, every site taking as many steps: 95 % intervals over test patients. Orange: each site alone.",
        ),
        (
            "differences-shared-steps",
            differences(task, found.summaries, shared=True),
            f"Against centralised {kind}, all sites together taking as many steps: the same budget, so each site trains for a part of it.",
        ),
        (
            "curves",
            learning_curves(task, found.summaries, shared=False),
            f"Learning curves {kind}, means over the seeds that all of them have, on a part of the test cases.",
        ),
        (
            "curves-shared-steps",
            learning_curves(task, found.summaries, shared=True),
            f"Learning curves {kind}, all sites together taking as many steps as the centralised one.",
        ),
        (
            "clients",
            score_by_clients(task, found.summaries, shared=False),
            f"More sites with fewer patients each {kind}: the same patients in all, and the same seeds in every point.",
        ),
        (
            "clients-shared-steps",
            score_by_clients(task, found.summaries, shared=True),
            f"More sites with fewer patients each {kind}, all together taking as many steps as the centralised one.",
        ),
        ("gains", site_gains(task, found.gains, task.arms), f"What every site gains over staying alone {kind}, with its 95 % interval over test patients."),
    )
    return [(name, png, caption) for name, png, caption in drawn if png is not None]


def _method(found: _Findings) -> list[str]:
    task, plan = found.task, found.task.training
    source = "generated images" if not task.real else "real images"
    network = (
        f"{task.network.kind} with {found.results[0].parameters:,} parameters; AdamW, learning rate {plan.learning_rate:g} falling as a cosine over the whole "
        "training. A federation's site begins every round with a fresh optimiser, as federated averaging was published (a site of the live federation "
        "keeps its own); the centralised and the lone site keep theirs."
    )
    division = (
        "Patients are divided, never images: each training patient is at exactly one site. Unequal sizes are drawn from a Dirichlet distribution "
        "(alpha 0.5 where nothing else is said), anew for every seed; so are unequal classes, for every class on its own."
    )
    statistics = (
        "Differences are paired: of every test patient the mean over seeds, less the same of the centralised arm. The interval is a bootstrap over test "
        "patients (10,000 draws; none for fewer than 6), p a paired permutation test (9,999 sign flips), two-sided, not corrected for the number of arms. "
        "Neither holds the variation between seeds, which stands in the costs table as SD"
        + (": here mostly that of the patients, for every seed tests others. " if task.data.folds > 1 else ". ")
        + "Strategies are compared on the test patients themselves: the best of several flatters itself."
    )
    measured = f"{found.patients} patients, {source}. {len(found.results)} runs of {len(found.summaries)} arms."
    if task.kind == "segmentation":
        measured += f" Scores are on the network's grid of {' x '.join(f'{side:g}' for side in task.data.spacing_mm)} mm."
    else:
        measured += f" The network sees them at {' x '.join(str(side) for side in task.data.size)} pixels."
    if task.data.margin_mm is not None:
        measured += f" Every scan is cut to the box around its annotated structures and {task.data.margin_mm:g} mm: where to look is given, not learnt."
    return [measured, _steps(found), network, division, statistics]


def _steps(found: _Findings) -> str:
    """Who takes how many gradient steps, of the arms that this task has."""
    plan, arms = found.task.training, [arm for arm in found.task.arms if arm.way != "centralised"]
    rounds = f"{plan.rounds} rounds of {plan.steps // plan.rounds}"
    said = [f"Every arm of a seed starts from the same weights and is scored on the same {_tested(found)}, which no arm of it trains on."]
    batches = f"{plan.steps} gradient steps in all, each on a batch of {plan.batch_size}"
    divide = "(whole steps a round, rounded down), so that all together take as many as the centralised one."
    if arms and all(arm.steps_shared for arm in arms):
        return " ".join([*said, f"The centralised site takes {batches} ({rounds}). The sites of every other arm divide the steps among them {divide}"])
    said += [
        f"Every site takes {batches}, in every arm: the centralised one, each site alone, and each site of a federation ({rounds}).",
        "So a federation of n sites computes n times as much as one site, each on its own machine; its model has seen more batches than the "
        "centralised one and may come out above it.",
    ]
    if any(arm.steps_shared for arm in arms):
        said.append(f"The arms with shared steps divide the steps among the sites instead {divide}")
    return " ".join(said)


def _tested(found: _Findings) -> str:
    """How many test images a seed has: "15 test images"; with folds, that other seeds have others."""
    by_seed = {result.seed: {case.case for case in result.models[0].cases} for result in found.results}
    counts = sorted({len(cases) for cases in by_seed.values()})
    images = f"{' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))} test images"
    if found.task.data.folds == 1:
        return images
    return f"{images}, every seed on others ({len(set().union(*by_seed.values()))} in all, {found.task.data.folds} folds)"


def _provenance(found: _Findings) -> list[str]:
    machines = sorted({result.machine for result in found.results})
    engines = sorted({result.engine for result in found.results})
    seeds = ", ".join(str(seed) for seed in sorted({result.seed for result in found.results}))
    return [
        f"Command: {found.command}",
        f"Seeds: {seeds} (first weights, division, batches). Engine: {', '.join(engines)}.",
        f"Measured on: {'; '.join(machines)}. Processor seconds do not count what else ran on the machine; wall seconds do.",
    ]


def _unfinished(found: _Findings) -> list[str]:
    missing = "1 run is" if found.missing == 1 else f"{found.missing} runs are"
    return [f"UNFINISHED: {missing} still missing. The same command goes on from there."] if found.missing else []


def _page(found: _Findings, pictures: Sequence[tuple[str, bytes, str]]) -> Page:
    page = Page(found.task.title, found.lead)
    page.section("What it says", *_unfinished(found), *found.task.cautions, *verdict(found.task, found.summaries, found.gains))
    for _, png, caption in pictures[:1]:
        page.picture(png, caption)
    tables = _tables(found)
    page.section(tables[0][0]).table(tables[0][1].headers, _kept_together(tables[0][1]), tables[0][1].caption)
    page.section("Pictures")
    for _, png, caption in pictures[1:]:
        page.picture(png, caption)
    for heading, table in tables[1:]:
        page.section(heading).table(table.headers, _kept_together(table), table.caption)
    return page.section("How it was done", *_method(found)).section("Where it comes from", *_provenance(found))


def _kept_together(table: Table) -> list[list[Cell]]:
    """Rows whose words break at commas only, so that narrow columns stay readable."""
    return [[", ".join(part.replace(" ", _NO_BREAK) for part in cell.split(", ")) if isinstance(cell, str) else cell for cell in row] for row in table.rows]


def _markdown(found: _Findings, pictures: Sequence[tuple[str, bytes, str]]) -> str:
    parts = [f"# {found.task.title}", found.lead]
    parts += [f"**{line}**" for line in (*_unfinished(found), *found.task.cautions)]
    parts += ["## What it says", "\n".join(f"- {line}" for line in verdict(found.task, found.summaries, found.gains))]
    for heading, table in _tables(found):
        rows = [[text_cell(cell) for cell in row] for row in table.rows]
        parts += [f"## {heading}", table.caption, markdown_table(table.headers, rows)]
    parts += ["## Pictures", *(f"![{caption}]({name}.png)" for name, _, caption in pictures)]
    parts += ["## How it was done", *_method(found), *_provenance(found)]
    return "\n\n".join(parts) + "\n"


def _csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.headers)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return stream.getvalue()
