"""Three generated hospitals. Their scanners and patients differ, as those of real hospitals do."""

from dataclasses import dataclass, replace
from pathlib import Path

from fedliver.cases.case import Case, TeacherProvenance
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome
from fedliver.teacher.bundle import STARTER, Teacher, load_bundle
from fedliver.teacher.inference import segment
from fedliver.watch import Watcher, report

UNSEEN_PATIENT = PhantomSettings(seed=977, spacing_mm=(1.4, 1.4, 3.0), oblique_degrees=6.0, lesions=3)
"""A patient no hospital has."""


@dataclass(frozen=True)
class Hospital:
    """A hospital's name, how it scans, and the seeds of its patients."""

    name: str
    scanner: PhantomSettings
    patients: tuple[int, ...]

    @property
    def words(self) -> str:
        """How it scans, for the report."""
        oblique = f", oblique by {self.scanner.oblique_degrees:g}°" if self.scanner.oblique_degrees else ""
        return f"{self.scanner.phase} phase, {self.scanner.spacing_mm[2]:g} mm slices, noise {self.scanner.noise_hu:g} HU{oblique}"


HOSPITALS = (
    Hospital("Harbour Hospital", PhantomSettings(spacing_mm=(1.8, 1.8, 3.0), phase="portal", noise_hu=10.0, patient_size=1.0), (11, 12, 13)),
    Hospital("Hill Clinic", PhantomSettings(spacing_mm=(1.6, 1.6, 5.0), phase="arterial", noise_hu=16.0, patient_size=0.92, fat_mm=10.0), (21, 22, 23)),
    Hospital(
        "River University",
        PhantomSettings(spacing_mm=(2.0, 2.0, 2.5), phase="portal", noise_hu=20.0, patient_size=1.1, fat_mm=28.0, oblique_degrees=8.0),
        (31, 32, 33),
    ),
)


@dataclass(frozen=True)
class Site:
    """A hospital with its home on disk and the cases its (simulated) clinician approved."""

    hospital: Hospital
    home: SiteHome
    cases: tuple[Case, ...]


def furnish(hospital: Hospital, folder: Path, first: Path, watcher: Watcher) -> Site:
    """Make the hospital's patients, let the teacher in the bundle ``first`` pre-segment each, correct and approve it.

    The clinician is simulated: the correction is the truth the generator knows.
    """
    home = SiteHome.open(folder)
    shelf, store = home.shelf(), home.store()
    if first != STARTER:
        shelf.adopt(shelf.import_(first).version)
    teacher = load_bundle(shelf.current().bundle)
    cases = []
    for number, seed in enumerate(hospital.patients):
        report(watcher, f"{hospital.name}: patient {number + 1} of {len(hospital.patients)}", number / len(hospital.patients))
        ct, truth = generate(replace(hospital.scanner, seed=seed))
        case = store.add(Ct(ct, _identity(hospital, seed), ()))
        proposal = segment(teacher, ct).labels
        store.attach(case, proposal, presegmentation=proposal, teacher=_provenance(teacher))
        store.attach(case, truth)
        cases.append(store.approve(case))
    report(watcher, f"{hospital.name}: ready", 1.0)
    return Site(hospital, home, tuple(cases))


def _identity(hospital: Hospital, seed: int) -> SourceIdentity:
    return SourceIdentity(patient=f"{hospital.name} {seed}", study="demo", series=str(seed))


def _provenance(teacher: Teacher) -> TeacherProvenance:
    return TeacherProvenance(name=teacher.name, version=teacher.version, sha256=teacher.sha256)
