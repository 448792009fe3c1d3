"""Run by test_case_store_crashes: works on a store in processes that are killed, and looks at what is left.

SIGKILL is sent from an audit hook, just before the n-th making, renaming or removing of a file: every n there is.
"""

import importlib.util
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "FedLiverSlicer" / "Logic"))

from fedliver.cases.store import CaseStore

_specification = importlib.util.spec_from_file_location("patients", Path(__file__).with_name("conftest.py"))
assert _specification is not None
assert _specification.loader is not None
patients = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(patients)

STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.link"}


def changes_the_disk(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the disk is another one after this step. Taking the store's lock and making a folder that is there do not count."""
    if event == "open":
        return bool(int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and not str(arguments[0]).endswith("/cases/.lock")
    return event in STEPS and not (event == "os.mkdir" and os.path.isdir(arguments[0]))


def die_before_step(number: int, home: Path) -> None:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if (event == "open" or event in STEPS) and str(home) in str(arguments[0]) and changes_the_disk(event, arguments):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def prepare(home: Path) -> None:
    store = CaseStore(home, patients.SECRET)
    ct, labels = patients.make_patient(1)
    store.approve(store.attach(store.add(ct), labels))


def work(home: Path, told: int) -> None:
    """Add, attach, approve a new patient; correct and approve the old one again. ``told``: a pipe, a letter for all that is done."""
    store = CaseStore(home, patients.SECRET)
    ct, labels = patients.make_patient(2)
    case = store.add(ct)
    os.write(told, b"a")
    case = store.attach(case, labels, presegmentation=labels)
    os.write(told, b"s")
    store.approve(case)
    os.write(told, b"A")
    old_ct, old_labels = patients.make_patient(1)
    old = store.attach(store.add(old_ct), old_labels.with_array((old_labels.array > 0).astype("uint8")))
    os.write(told, b"r")
    store.approve(old)
    os.write(told, b"R")


def look(home: Path, told: bytes) -> None:
    store = CaseStore(home, patients.SECRET)
    cases = {case.pseudonym: case for case in store.cases()}
    assert store.damaged() == [], "a half-written case"
    assert list((home / "cases" / ".staging").iterdir()) == [], "leftovers"
    for case in cases.values():
        store.ct(case)
        if case.draft or case.approval:
            store.labels(case)
            store.presegmentation(case)
    old_ct, _ = patients.make_patient(1)
    new_ct, new_labels = patients.make_patient(2)
    old, new = store.add(old_ct), store.add(new_ct)
    assert old.approval is not None, "the old approval is lost"
    assert old.pseudonym in cases
    assert (b"a" not in told) or new.pseudonym in cases, "an added case is lost"
    assert (b"s" not in told) or new.draft or new.approval, "a segmentation is lost"
    assert (b"A" not in told) or new.approval, "an approval is lost"
    assert (b"R" not in told) or (not old.draft and old.approval.segmentation.labels_file == "labels-2.nii.gz"), "a new approval is lost"
    assert all(example.labels.is_file() for example in store.training_examples() + store.held_out_examples())
    store.approve(store.attach(new, new_labels))
    store.approve(old)
    assert [case.role for case in (store.case(old.pseudonym), store.case(new.pseudonym))] == ["training", "held-out"]


def in_child(function, *arguments) -> int:
    """Run in a fork, since a library's threads do not survive one: this process itself never works on an image."""
    pid = os.fork()
    if pid == 0:
        try:
            function(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def every_step(root: Path, share: int, shares: int) -> None:
    """Kill before steps ``share``, ``share + shares``, ... so that the test can be spread over cores."""
    number = share - shares
    assert in_child(prepare, root / "prepared") == 0
    while True:
        number += shares
        home = root / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(root / "prepared", home)
        read_end, write_end = os.pipe()

        def doomed(home: Path = home, write_end: int = write_end, number: int = number) -> None:
            die_before_step(number, home)
            work(home, write_end)

        status = in_child(doomed)
        os.close(write_end)
        told = os.read(read_end, 100)
        os.close(read_end)
        assert status in (0, -signal.SIGKILL), f"step {number}: exit {status}"
        assert in_child(look, home, told) == 0, f"after a kill before step {number} ({told!r})"
        if status == 0:
            break
    print(number)


def keep_working(home: Path, start: int, count: int = 1000) -> None:
    store = CaseStore(home, patients.SECRET, wait_seconds=60)
    print("ready", flush=True)
    for seed in range(start, start + count):
        ct, labels = patients.make_patient(seed)
        print(store.approve(store.attach(store.add(ct), labels, presegmentation=labels)).pseudonym, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "every-step":
        every_step(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        keep_working(Path(sys.argv[2]), int(sys.argv[3]), count=4 if sys.argv[1] == "some" else 1000)
