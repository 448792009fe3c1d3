"""Whether the work falls with the rounds: sites of a federation correct new patients, round after round, with the teacher of the round before.

Training, strategy, update and checkpointed standing are those of a round: :func:`fedliver.training.student.train` with what the site kept, as a ClientApp
calls it, and the coordinator's :class:`~fedliver.federation.strategies.Intake`. There is no network between them, no egress filter and no compression.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fedliver.cases.case import Effort
from fedliver.cases.effort import effort
from fedliver.coordinator.checkpoints import Weights, load_checkpoint, save_checkpoint
from fedliver.datasets.layouts import DatasetImage
from fedliver.errors import FedLiverError
from fedliver.evaluation.metrics import liver_dice
from fedliver.federation.codec import applied
from fedliver.federation.networks import load_weights, trained_tensors, weights_of
from fedliver.federation.strategies import Intake, server_step_of
from fedliver.files import write_text
from fedliver.image import Volume
from fedliver.site.policy import Policy, contract_of
from fedliver.site.strategy import FedAvg, Strategy
from fedliver.study.effort import GOAL, NOTHING, EffortRow, correct, counted_labels, read_pair
from fedliver.study.patients import drawn_patients
from fedliver.study.rows import KeptRows
from fedliver.study.simulated_site import SimulatedSite
from fedliver.teacher.bundle import Teacher, load_bundle, save_bundle
from fedliver.teacher.inference import segment
from fedliver.teacher.network import build_network
from fedliver.training.savepoint import Savepoint
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import TrainingWatcher, train
from fedliver.watch import report


class RoundsStudy(BaseModel):
    """What is played. Before every round each site gets ``cases_per_round`` patients whom no teacher has seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starter: str
    """Name, version and hash of the teacher that the first patients are corrected with."""
    sites: int = Field(3, ge=2, le=100)
    rounds: int = Field(3, ge=1, le=100)
    cases_per_round: int = Field(2, ge=1)
    test_share: float = Field(0.3, gt=0, lt=1)
    seed: int = 0
    goal: float = Field(GOAL, gt=0, le=1)
    strategy: Strategy = FedAvg()
    training: TrainingSettings


class RoundRow(BaseModel):
    """One patient corrected from the teacher of ``round`` (0: the starter). ``site`` is None for test patients, whom no site ever approves.

    ``dice`` is the liver's before the first correction; ``from_nothing`` is what the same patient costs without a teacher.
    """

    model_config = ConfigDict(frozen=True)

    round: int
    site: int | None
    image: str
    dice: float
    effort: Effort
    from_nothing: Effort


@dataclass(frozen=True)
class Dealt:
    """Who comes to which site in which round, ``arriving[round - 1][site]``, and who tests."""

    arriving: list[list[list[DatasetImage]]]
    test: list[DatasetImage]


def deal(images: Sequence[DatasetImage], study: RoundsStudy) -> Dealt:
    """By patient.

    Raises
    ------
    FedLiverError
        ``too-few-patients``.
    """
    order, test = drawn_patients(images, study.test_share, study.seed)
    needed = study.rounds * study.sites * study.cases_per_round
    if len(order) < needed:
        raise FedLiverError(
            "too-few-patients",
            f"{study.rounds} rounds of {study.sites} sites with {study.cases_per_round} new patients each need {needed} patients beside those that "
            f"test, here are {len(order)}: ask for fewer rounds or sites, or give more patients.",
        )
    groups = iter(order[n : n + study.cases_per_round] for n in range(0, needed, study.cases_per_round))
    arriving = [[[image for image in images if image.patient in group] for group in (next(groups) for _ in range(study.sites))] for _ in range(study.rounds)]
    return Dealt(arriving, [image for image in images if image.patient in test])


def run_rounds_study(images: Sequence[DatasetImage], starter: Teacher, study: RoundsStudy, folder: Path, watcher: TrainingWatcher) -> Iterator[RoundRow]:
    """Rows as they are ready. What ``folder`` holds of an earlier run of the same study is not run again; a round that was interrupted begins anew.

    The sites' case stores lie in ``folder``, with the patients' scans: a ``.gitignore`` keeps all of it out of a repository.
    """
    write_text(folder / ".gitignore", "*\n")
    yield from _Federation(images, starter, study, folder, watcher).run()


class _Federation:
    def __init__(self, images: Sequence[DatasetImage], starter: Teacher, study: RoundsStudy, folder: Path, watcher: TrainingWatcher) -> None:
        self._study = study
        self._folder = folder
        self._watcher = watcher
        self._teacher = starter
        self._kept = KeptRows(folder / "rounds.json", study, RoundRow)
        self._dealt = deal(images, study)
        rng = np.random.default_rng(study.seed)
        self._sites = [SimulatedSite(folder / f"site-{number + 1}", secret=rng.bytes(32)) for number in range(study.sites)]

    def run(self) -> Iterator[RoundRow]:
        yield from self._test(0)
        for number, arriving in enumerate(self._dealt.arriving, 1):
            for index, images in enumerate(arriving):
                yield from self._work_through(number, index, images)
            if not self._bundle(number).is_dir():
                self._round(number)
            self._teacher = load_bundle(self._bundle(number))
            yield from self._test(number)

    def _bundle(self, number: int) -> Path:
        return self._folder / f"round-{number:03d}"

    def _memory(self, number: int, site: int) -> Savepoint:
        """What a site keeps of round ``number`` for its next one."""
        return Savepoint(self._folder / "standings" / f"round-{number:03d}-site-{site + 1}", f"{self._study.seed}")

    def _test(self, number: int) -> Iterator[RoundRow]:
        """Every test patient from the teacher of round ``number``."""
        for image in self._dealt.test:
            row = self._known(number, None, image)
            if row is None:
                self._tell(number, f"test patient {image.name}")
                ct, truth = read_pair(image)
                row = self._keep(number, None, image, counted_labels(segment(self._teacher, ct).labels, image), truth)
            yield row

    def _work_through(self, number: int, index: int, images: Sequence[DatasetImage]) -> Iterator[RoundRow]:
        """The patients that came to a site before round ``number``, corrected from the teacher of the round before, and approved."""
        site = self._sites[index]
        for image, case in zip(images, site.admit(images), strict=True):
            row = self._known(number - 1, index, image)
            if row is None or case.approval is None:
                self._tell(number, f"site {index + 1} corrects {image.name}")
                found, truth = counted_labels(site.presegment(case, self._teacher).labels, image), site.reference(case)
                site.approve(case, correct(found, truth, self._study.goal))
                row = row or self._keep(number - 1, index, image, found, truth)
            yield row

    def _round(self, number: int) -> None:
        """Every site trains on all that it has approved; the strategy makes one teacher of it."""
        study, plan = self._study, self._teacher.plan
        policy = Policy(contract=contract_of(plan), training=study.training, strategy=study.strategy, compression="none")
        kinds, before = trained_tensors(plan), weights_of(self._teacher.network)
        settings = study.training.model_copy(update={"seed": study.seed + number})
        intake = Intake(policy, kinds, self._folder / "scratch")
        try:
            for index, site in enumerate(self._sites):
                self._tell(number, f"site {index + 1} trains")
                outcome = train(self._teacher, site.examples, settings, self._watcher, before=self._memory(number - 1, index).read())
                after = weights_of(outcome.network)
                floating = [name for name, kind in kinds.items() if np.issubdtype(kind.dtype, np.floating)]
                intake.add(f"site {index + 1}", {name: after[name] - before[name] for name in floating}, len(site.examples))
                if outcome.standing is not None:
                    self._memory(number, index).write(outcome.standing)
            change = intake.result().change
        finally:
            intake.close()
        step, state = server_step_of(study.strategy).take(change, self._state(number - 1))
        if state:
            save_checkpoint(self._folder / "states", number, state)
        network = build_network(plan)
        load_weights(network, applied(step, before))
        save_bundle(network, plan, self._bundle(number), name="fedliver_study", version=f"round {number}")

    def _state(self, number: int) -> Weights:
        """The strategy's, after round ``number``."""
        path = self._folder / "states" / f"round-{number:03d}.npz"
        return load_checkpoint(path) if path.is_file() else {}

    def _known(self, number: int, site: int | None, image: DatasetImage) -> RoundRow | None:
        return next((row for row in self._kept.rows if (row.round, row.site, row.image) == (number, site, image.name)), None)

    def _keep(self, number: int, site: int | None, image: DatasetImage, found: Volume, truth: Volume) -> RoundRow:
        goal = self._study.goal
        nothing = truth.with_array(np.zeros_like(truth.array))
        row = RoundRow(
            round=number,
            site=site,
            image=image.name,
            dice=liver_dice(found.array, truth.array),
            effort=effort(found, correct(found, truth, goal)),
            from_nothing=effort(nothing, correct(nothing, truth, goal)),
        )
        self._kept.add([row])
        return row

    def _tell(self, number: int, what: str) -> None:
        report(self._watcher, f"round {number}, {what}", number / (self._study.rounds + 1))


def start_name(round_: int, starter: str) -> str:
    """What the start is called in tables."""
    return f"{starter}, before any round" if round_ == 0 else f"after round {round_}"


def as_efforts(rows: Sequence[RoundRow], starter: str) -> list[EffortRow]:
    """The rows as those of any study of the effort, each patient also from nothing."""
    nothing = [EffortRow(image=row.image, start=NOTHING, dice=0.0, effort=row.from_nothing) for row in {row.image: row for row in rows}.values()]
    return nothing + [EffortRow(image=row.image, start=start_name(row.round, starter), dice=row.dice, effort=row.effort) for row in rows]
