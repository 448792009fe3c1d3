"""A small site for tests: an untrained tiny teacher, generated patients."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from fedliver.cases.case import Case
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome
from fedliver.teacher.bundle import save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan


def tiny_bundle(folder: Path) -> Path:
    """An untrained tiny teacher, the same every time."""
    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, folder, name="tiny", version="0")
    return folder


def approve_patients(home: Path, seeds: Sequence[int]) -> None:
    """Generated patients in the site's case store, approved. By the store's rule the second is held out."""
    store = SiteHome.open(home).store()
    for case, labels in _added(home, seeds):
        store.approve(store.attach(case, labels))


def add_scans(home: Path, seeds: Sequence[int]) -> None:
    """Generated patients in the site's case store that nobody has looked at."""
    list(_added(home, seeds))


def _added(home: Path, seeds: Sequence[int]) -> Iterator[tuple[Case, Volume]]:
    store = SiteHome.open(home).store()
    for seed in seeds:
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
        yield store.add(Ct(ct, SourceIdentity(f"patient {seed}", f"study {seed}", f"series {seed}"), ())), labels
