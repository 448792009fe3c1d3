"""A small federation for tests: tiny network, generated patients, everything on loopback."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch

from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome
from fedliver.teacher.bundle import save_bundle
from fedliver.teacher.network import build_network
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings

TRAINING = TrainingSettings(steps=3, augment=False, learning_rate=1e-2)


def tiny_bundle(folder: Path) -> Path:
    """An untrained tiny teacher, the same every time."""
    torch.manual_seed(0)
    plan = TeacherPlan.tiny()
    save_bundle(build_network(plan), plan, folder, name="tiny", version="0")
    return folder


def approve_patients(home: Path, seeds: Sequence[int]) -> None:
    """Generated patients in the site's case store, approved. By the store's rule the second is held out."""
    store = SiteHome.open(home).store()
    for seed in seeds:
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
        case = store.add(Ct(ct, SourceIdentity(f"patient {seed}", f"study {seed}", f"series {seed}"), ()))
        store.approve(store.attach(case, labels))


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def processes_under(folder: Path) -> list[str]:
    """Every running process that works in, or was told of, anything under ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
                found.append(f"{process.pid} {' '.join(words[1:])[:200]}")
        except psutil.Error:
            continue
    return found
