"""The journey: furnish three hospitals, federate, adopt, and segment a CT nobody trained on, before and after."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedliver.cases.teachers import Origin
from fedliver.coordinator.coordinator import Coordinator
from fedliver.coordinator.records import RoundRecord, RunEvent
from fedliver.ct_reader import read_ct
from fedliver.demo.hospitals import HOSPITALS, UNSEEN_PATIENT, Hospital, Site, furnish
from fedliver.evaluation.metrics import Scores, compare
from fedliver.files import check_replaceable, write_text
from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import read_segmentation, write_segmentation
from fedliver.site.adoption import AdoptionDecision, compare_and_adopt
from fedliver.site.federation import SiteFederation, joined
from fedliver.site.policy import Policy
from fedliver.site.progress import ProgressEvent
from fedliver.site.rules import changed_rules
from fedliver.slicer.scene_file import write_scene
from fedliver.teacher.bundle import STARTER, load_bundle
from fedliver.teacher.inference import Segmentation, segment
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings
from fedliver.watch import Watcher

_PROGRESS_POLL_SECONDS = 0.3
_OURS = "made-by-the-demo.txt"


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does. ``steps`` and ``minutes`` bound one site's training in one round, whichever ends first."""

    out: Path
    ct: Path | None = None
    reference: Path | None = None
    series: str | None = None
    teacher: Path = STARTER
    hospitals: tuple[Hospital, ...] = HOSPITALS
    unseen: PhantomSettings = UNSEEN_PATIENT
    rounds: int = 2
    steps: int = 30
    minutes: float = 1.5
    learning_rate: float = 3e-4


class Narrator(Protocol):
    """Seam to whoever shows the demo while it runs."""

    def phase(self, name: str) -> Watcher:
        """A new phase begins; its progress goes to the watcher."""

    def run_event(self, event: RunEvent) -> None:
        """Something happened in the run."""

    def site_progress(self, site: str, event: ProgressEvent) -> None:
        """Something happened at a site."""


@dataclass(frozen=True)
class Look:
    """One teacher's segmentation of the CT nobody trained on."""

    name: str
    segmentation: Segmentation
    scores: Scores | None


@dataclass
class Result:
    """Everything the report tells."""

    settings: DemoSettings
    plan: TeacherPlan
    sites: list[Site] = field(default_factory=list)
    rounds: tuple[RoundRecord, ...] = ()
    decisions: list[AdoptionDecision] = field(default_factory=list)
    progress: dict[str, list[ProgressEvent]] = field(default_factory=dict)
    ct: Volume | None = None
    ct_notes: tuple[str, ...] = ()
    reference: Volume | None = None
    looks: list[Look] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    scene: Path | None = None


def run(settings: DemoSettings, narrator: Narrator) -> Result:
    """Run the demo. Whatever happens, no process of ours is left."""
    work = _cleared(settings.out / "work")
    first = load_bundle(settings.teacher)
    result = Result(settings, first.plan)
    _read_unseen(result)
    with _timed(result, "Hospitals: generate, pre-segment, correct, approve"):
        for hospital in settings.hospitals:
            result.sites.append(furnish(hospital, work / _folder_name(hospital), settings.teacher, narrator.phase(f"Furnishing {hospital.name}")))
    coordinator = _make_coordinator(result, work, narrator)
    _federate(result, coordinator, narrator)
    with _timed(result, "Adoption: every site compares on its own held-out cases"):
        for site in result.sites:
            result.decisions.append(_adopt(site, result.rounds, narrator))
    with _timed(result, "Segmentation of the unseen CT, before and after"):
        _look(result, "Before: " + first.name, settings.teacher, narrator)
        _look(result, "After: federated teacher", coordinator.newest_teacher(), narrator)
    with _timed(result, "Files: segmentations and scene"):
        _save(result, narrator)
    return result


def _cleared(work: Path) -> Path:
    """Without what an earlier demo left there. Raises FedLiverError ``exists`` where the folder is not a demo's: nobody's own work is removed."""
    check_replaceable(work, _OURS)
    shutil.rmtree(work, ignore_errors=True)
    write_text(work / _OURS, "An earlier demo's folder: the next one removes it.\n")
    return work


def _read_unseen(result: Result) -> None:
    settings = result.settings
    if settings.ct is None:
        result.ct, result.reference = generate(settings.unseen)
        return
    scan = read_ct(settings.ct, settings.series)
    result.ct, result.ct_notes = scan.volume, scan.warnings
    if settings.reference:
        result.reference = read_segmentation(settings.reference, onto=scan.volume.geometry)


def _make_coordinator(result: Result, work: Path, narrator: Narrator) -> Coordinator:
    settings = result.settings
    narrator.phase("Certificates, invitations, node keys")

    def rules(policy: Policy) -> Policy:
        training = TrainingSettings(steps=settings.steps, minutes=settings.minutes, learning_rate=settings.learning_rate, threads=1)
        return policy.model_copy(update={"rounds": settings.rounds, "quorum": 2, "deadline_seconds": 900.0, "training": training})

    with _timed(result, "Coordinator: CA, server certificate, invitations, node keys"):
        coordinator = Coordinator.create(work / "coordinator", host="127.0.0.1", name="Demo coordinator", teacher=settings.teacher, policy=rules)
        for site in result.sites:
            invitation = work / f"invitation-{site.home.path.name}.json"
            coordinator.invite(site.hospital.name, invitation)
            coordinator.approve(SiteFederation(site.home.path).enrol(invitation))
            changed_rules(site.home.path, minimum_metric_cases=1)  # made-up patients have nothing to hide, and each hospital holds out but one
    return coordinator


def _federate(result: Result, coordinator: Coordinator, narrator: Narrator) -> None:
    watcher = narrator.phase("Starting SuperLink and SuperNodes")
    with ExitStack() as stack:
        stack.callback(coordinator.stop)
        with _timed(result, "Start: SuperLink with TLS, one SuperNode per site"):
            coordinator.start()
            members = []
            for number, site in enumerate(result.sites):
                watcher.report(f"joining {site.hospital.name}", number / len(result.sites))
                members.append(stack.enter_context(joined(SiteFederation(site.home.path))))
        narrator.phase("Federated rounds")
        with _timed(result, f"Rounds: {result.settings.rounds} of training at {len(result.sites)} sites, aggregation, delivery"):
            stop = stack.enter_context(_followed(result, members, narrator))
            outcome = coordinator.run(on_event=narrator.run_event)
            stop.set()
        result.rounds = outcome.rounds


@contextmanager
def _followed(result: Result, members: list[SiteFederation], narrator: Narrator) -> Iterator[threading.Event]:
    """Tail every site's progress file in the background, as its panel does."""
    stop = threading.Event()
    tails = {site.hospital.name: member.progress() for site, member in zip(result.sites, members, strict=True)}

    def follow() -> None:
        while True:
            last_look = stop.wait(_PROGRESS_POLL_SECONDS)
            for name, tail in tails.items():
                for event in tail.read():
                    result.progress.setdefault(name, []).append(event)
                    narrator.site_progress(name, event)
            if last_look:
                return

    thread = threading.Thread(target=follow, name="site progress", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def _adopt(site: Site, rounds: tuple[RoundRecord, ...], narrator: Narrator) -> AdoptionDecision:
    candidate = SiteFederation(site.home.path).candidates()[-1]
    shelf = site.home.shelf()
    trained = [record for record in rounds if record.kind == "round" and record.aggregated]
    origin = Origin(
        source="federation", parent=shelf.current().version, round=trained[-1].round, cases=sum(update.cases for update in trained[-1].updates if update.weight)
    )
    return compare_and_adopt(shelf, site.home.store(), candidate, narrator.phase(f"{site.hospital.name} judges the new teacher"), origin=origin)


def _look(result: Result, name: str, bundle: Path, narrator: Narrator) -> None:
    assert result.ct is not None  # noqa: S101 read at the start
    segmentation = segment(load_bundle(bundle), result.ct, narrator.phase(f"Segmenting the unseen CT ({name.split(':')[0].lower()})"))
    scores = compare(segmentation.labels, result.reference) if result.reference is not None else None
    result.looks.append(Look(name, segmentation, scores))


def _save(result: Result, narrator: Narrator) -> None:
    assert result.ct is not None  # noqa: S101 read at the start
    watcher = narrator.phase("Writing segmentations and a scene for 3D Slicer")
    out = result.settings.out
    for name, look in zip(("before", "after"), result.looks, strict=True):
        for suffix in (".seg.nrrd", ".nii.gz"):
            watcher.report(name, 0.2)
            write_segmentation(look.segmentation.labels, out / f"{name}{suffix}")
    watcher.report("scene", 0.6)
    result.scene = write_scene(out / "scene.mrb", result.ct, {look.name: look.segmentation.labels for look in reversed(result.looks)})


@contextmanager
def _timed(result: Result, name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        result.seconds[name] = time.monotonic() - started


def _folder_name(hospital: Hospital) -> str:
    return "site-" + hospital.name.lower().replace(" ", "-")
