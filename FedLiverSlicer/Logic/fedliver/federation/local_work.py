"""What a site does with the global model: keep it as a candidate, score it on its held-out cases, train on its own cases. Runs inside the ClientApp."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Protocol

import numpy as np

from fedliver.cases.examples import Example
from fedliver.coordinator.checkpoints import Weights
from fedliver.errors import Cancelled, FedLiverError
from fedliver.federation.even_training import EvenTraining
from fedliver.federation.messages import Instructions, Numbers, OfRound
from fedliver.federation.networks import load_weights, weights_of
from fedliver.site.codes import ErrorCode
from fedliver.site.enrolment import accepted_invitation
from fedliver.site.federation import SiteFiles, by_round
from fedliver.site.policy import contract_of
from fedliver.site.progress import Phase, ProgressEvent, append_event
from fedliver.teacher.bundle import Teacher, save_bundle
from fedliver.teacher.network import build_network
from fedliver.training.savepoint import Savepoint, Standing
from fedliver.training.settings import TrainingSettings
from fedliver.training.student import TrainingOutcome, TrainingWatcher

CANDIDATE_NAME = "fedliver_federated"
_CANDIDATES_KEPT = 3
_STEP_EVENT_SECONDS = 0.5


class Trainer(Protocol):
    """Seam to the training."""

    def __call__(
        self, teacher: Teacher, examples: Sequence[Example], settings: TrainingSettings, watcher: TrainingWatcher, *, before: Standing | None
    ) -> TrainingOutcome: ...


@dataclass(frozen=True)
class SiteCases:
    """The site's approved cases, and the scans without approval that may teach."""

    training: Sequence[Example]
    held_out: Sequence[Example]
    unlabelled: Sequence[Example] = ()
    patient_of: Mapping[Path, str] = field(default_factory=dict)
    """By the scan's CT."""

    @classmethod
    def of(cls, home: Path) -> "SiteCases":
        """Those of the case store in ``home``."""
        from fedliver.site.home import SiteHome

        store = SiteHome.open(home).store()
        patient_of = {store.ct_path(case): case.patient for case in store.cases()}
        return cls(store.training_examples(), store.held_out_examples(), store.unlabelled_examples(), patient_of)


class SiteWatcher:
    """Writes the site's progress file and reads its stop file."""

    def __init__(self, files: SiteFiles, instructions: Instructions) -> None:
        self._files = files
        self._instructions = instructions
        self._last_step_event = 0.0

    def tell(
        self,
        phase: Phase,
        *,
        step: int = 0,
        total: int = 0,
        loss: float | None = None,
        dice: float | None = None,
        cases: int = 0,
        seconds: float = 0.0,
        code: int = 0,
    ) -> None:
        """Append one event."""
        numbers = self._instructions
        event = ProgressEvent(
            phase=phase, round=numbers.round, rounds=numbers.rounds, step=step, total=total, loss=loss, dice=dice, cases=cases, seconds=seconds, code=code
        )
        append_event(self._files.progress, event)

    def report(self, phase: str, fraction: float) -> None:
        pass

    def cancelled(self) -> bool:
        return self._files.stop.exists()

    def step(self, n: int, total: int, loss: float) -> None:
        now = time.monotonic()
        if n in (1, total) or now - self._last_step_event >= _STEP_EVENT_SECONDS:
            self._last_step_event = now
            self.tell("training", step=n, total=total, loss=loss)


class LocalWork:
    """One message's work at one site.

    Raises (from its methods)
    -------------------------
    FedLiverError
        ``other-contract`` if the plan is not the one this site enrolled for, ``no-approved-case``, and what training raises.
    Cancelled
        The stop file is there.
    """

    def __init__(self, home: Path, instructions: Instructions, trainer: Trainer | None = None, cases: Callable[[Path], SiteCases] = SiteCases.of) -> None:
        self._files = SiteFiles(home)
        self._instructions = instructions
        self._cases = cases(home)
        even = EvenTraining(self._cases.patient_of)
        self._trainer: Trainer = trainer or even
        self._even = even if trainer is None else None
        self.watcher = SiteWatcher(self._files, instructions)
        self._accepted = accepted_invitation(self._files.invitation).policy
        self._check_contract()
        self._network = build_network(instructions.plan)

    @property
    def like(self) -> Weights:
        """The tensors that the received weights must match."""
        return weights_of(self._network)

    @property
    def patients(self) -> int | None:
        """How many really trained the last update; None where another trainer was handed in, which does not say."""
        return self._even.patients if self._even is not None else None

    @property
    def _learns_from_unlabelled(self) -> bool:
        """Only if the coordinator asks for it and this site agreed to it when it enrolled."""
        return self._instructions.training.consistency is not None and self._accepted.learns_from_unlabelled

    def train(self, received: Weights) -> tuple[Numbers, Weights]:
        """Keep, score and train; the numbers and the new weights."""
        unlabelled = self._cases.unlabelled if self._learns_from_unlabelled else ()
        if not self._cases.training and not unlabelled:
            raise FedLiverError("no-approved-case", "There is no approved case to train on.")
        self.watcher.tell("received")
        teacher = self._keep(received)
        dice = self._score(teacher)
        settings = self._instructions.training
        settings = settings.model_copy(update={"seed": settings.seed + self._instructions.round})
        memory = Savepoint(self._files.student, self._accepted.contract)
        outcome = self._trainer(teacher, [*self._cases.training, *unlabelled], settings, self.watcher, before=memory.read())
        weights = weights_of(outcome.network)
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise FedLiverError("training-diverged", "The trained weights are not finite.")
        if outcome.standing is not None:
            memory.write(outcome.standing)
        numbers = Numbers(
            cases=len(self._cases.training),
            unlabelled=len(unlabelled),
            loss=outcome.loss,
            seconds=outcome.seconds,
            dice=dice or 0.0,
            dice_cases=len(self._cases.held_out),
        )
        self.watcher.tell(
            "sending", step=outcome.steps, total=outcome.steps, loss=outcome.loss, dice=dice, cases=len(self._cases.held_out), seconds=outcome.seconds
        )
        return numbers, weights

    def receive(self, received: Weights) -> Numbers:
        """Keep and score the last aggregate."""
        teacher = self._keep(received)
        dice = self._score(teacher)
        self.watcher.tell("delivered", dice=dice, cases=len(self._cases.held_out))
        return Numbers(dice=dice or 0.0, dice_cases=len(self._cases.held_out))

    def _check_contract(self) -> None:
        if contract_of(self._instructions.plan) != self._accepted.contract:
            raise FedLiverError("other-contract", "The coordinator asks for another network than this site agreed to.")

    def _keep(self, received: Weights) -> Teacher:
        """Write the received model as a bundle, so that the site can judge and adopt it; the oldest candidates make room."""
        load_weights(self._network, received)
        number = self._instructions.model
        target = self._files.candidates / f"round-{number:03d}"
        teacher = save_bundle(self._network, self._instructions.plan, target, name=CANDIDATE_NAME, version=f"round-{number}")
        for old in by_round(self._files.candidates)[:-_CANDIDATES_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return teacher

    def _score(self, teacher: Teacher) -> float | None:
        """Mean liver Dice on the held-out cases; None where there is none."""
        from fedliver.cases.case_files import read_volume
        from fedliver.evaluation.metrics import dice
        from fedliver.labels import BACKGROUND
        from fedliver.teacher.inference import segment

        scores = []
        for example in self._cases.held_out:
            if self.watcher.cancelled():
                raise Cancelled("scoring")
            self.watcher.tell("evaluating", cases=len(self._cases.held_out))
            assert example.labels is not None  # noqa: S101 held-out cases are approved
            reference = read_volume(example.labels, example.ct.parent.name)
            found = segment(teacher, read_volume(example.ct, example.ct.parent.name), self.watcher).labels
            scores.append(dice(found.array != BACKGROUND, reference.array != BACKGROUND))
        return fmean(scores) if scores else None


def tell_failure(home: Path, instructions: OfRound | None, code: ErrorCode) -> None:
    """Write a failed or stopped round into the progress file; the site's own screen says it in words."""
    event = ProgressEvent(
        phase="stopped" if code is ErrorCode.STOPPED else "failed",
        round=instructions.round if instructions else 0,
        rounds=instructions.rounds if instructions else 0,
        code=int(code),
    )
    append_event(SiteFiles(home).progress, event)
