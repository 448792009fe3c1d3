"""A clinician's journey in a real browser: from the file to the federation and back, checked in the case store and in the page's words."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("playwright")

from browser_kit import Bench, OpenDoor, chromium, open_chromium, open_workbench, workbench_program
from federation_kit import TRAINING, approve_patients, processes_under, tiny_bundle, wait_until

from fedliver.cases.case import State
from fedliver.coordinator.coordinator import Coordinator
from fedliver.image import to_sitk
from fedliver.labels import LIVER, TUMOUR
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.federation import SiteFederation
from fedliver.site.home import SiteHome
from fedliver.site.link import Link
from fedliver.teacher.bundle import load_bundle, save_bundle
from fedliver.training.student import train

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1800), pytest.mark.xdist_group("federation")]

SCAN = PhantomSettings(seed=21, spacing_mm=(4.0, 4.0, 6.0), lesions=1)
OTHER_SCAN = replace(SCAN, seed=22)
MIDDLE = 28  # a column of the scans, between the two strokes


def on_the_left(bench: Bench) -> tuple[tuple[float, float], tuple[float, float]]:
    return bench.at("Axial", 0.25, 0.45), bench.at("Axial", 0.28, 0.48)


def on_the_right(bench: Bench) -> tuple[tuple[float, float], tuple[float, float]]:
    return bench.at("Axial", 0.36, 0.42), bench.at("Axial", 0.38, 0.44)


@dataclass
class Desk:
    """The computer with the browser, at hospital A: one ``fedliver app`` and one Chromium for all tests, for their start is most of what they cost."""

    root: Path
    door: OpenDoor
    browser: Any
    first: Bench | None = None

    @property
    def site(self) -> SiteHome:
        return SiteHome.open(self.root / "A")

    @property
    def federation(self) -> SiteFederation:
        return SiteFederation(self.root / "A")

    def bench(self) -> Bench:
        """The first browser, which every test goes on with."""
        if self.first is None:
            self.first = Bench.open(self.browser, self.door)
        return self.first


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the scans, the patients of both hospitals, and a tiny teacher that finds the liver, which hospital A has."""
    chromium(), workbench_program()
    root = tmp_path_factory.mktemp("journey")
    for name, scan in (("ct", SCAN), ("other", OTHER_SCAN), ("third", replace(SCAN, seed=23)), ("scans/fourth", replace(SCAN, seed=24))):
        (root / name).parent.mkdir(exist_ok=True)
        sitk.WriteImage(to_sitk(generate(scan)[0]), str(root / f"{name}.nii.gz"))
    approve_patients(root / "A", (1, 2, 8))
    approve_patients(root / "B", (3, 4, 5))
    first = load_bundle(tiny_bundle(root / "untrained"))
    settings = TRAINING.model_copy(update={"steps": 60, "learning_rate": 2e-2})
    outcome = train(first, SiteHome.open(root / "A").store().training_examples(), settings)
    save_bundle(outcome.network, first.plan, root / "teacher", name="tiny", version="1")
    shelf = SiteHome.open(root / "A").shelf()
    shelf.adopt(shelf.import_(root / "teacher").version)
    return root


@pytest.fixture(scope="module")
def desk(root: Path) -> Iterator[Desk]:
    with open_workbench(root / "A", root / "app.log", "--data", root / "scans") as door, open_chromium() as browser:
        yield Desk(root, door, browser)
    assert processes_under(root / "A") == [], "Ctrl-C ends everything that the door started"
    assert list((root / "A" / "browser").iterdir()) == [], "no upload is left"


@pytest.fixture(scope="module")
def coordinator(desk: Desk) -> Iterator[Coordinator]:
    """With hospital B, which takes part from the command line, in its federation. They start while the first workbench does."""
    root, b = desk.root, SiteFederation(desk.root / "B")
    # Learning so carefully that the new teacher is as good as the old one: whether it is better is not what this test is about.
    training = TRAINING.model_copy(update={"learning_rate": 1e-5})
    coordinator = Coordinator.create(
        root / "C",
        host="127.0.0.1",
        teacher=root / "teacher",
        policy=lambda policy: policy.model_copy(update={"deadline_seconds": 600.0, "gather_seconds": 60.0, "training": training}),
    )
    with contextlib.ExitStack() as at_the_end:
        for end in (coordinator.stop, b.leave, desk.federation.leave):
            at_the_end.callback(end)
        coordinator.start()
        coordinator.invite("Hospital A", root / "A.json")
        coordinator.invite("Hospital B", root / "B.json")
        coordinator.approve(b.enrol(root / "B.json"))
        b.join()
        yield coordinator


def test_from_the_file_to_the_federation_and_back(desk: Desk, coordinator: Coordinator) -> None:
    bench = desk.bench()
    bench.make_a_ct()
    assert "ml" in bench.auto_segment(), "a newcomer's two clicks"
    bench.open_ct(desk.root / "ct.nii.gz")
    bench.page.wait_for_selector("caption", state="detached")
    proposal = bench.auto_segment()
    assert "ml" in proposal
    bench.reload()
    bench.wait_for(proposal)  # nothing is lost by it

    bench.choose_tool("Paint", "Tumour")
    bench.stroke(*on_the_left(bench))
    bench.undo()
    bench.stroke(*on_the_right(bench))
    _approve(bench)
    changed = _what_was_drawn(desk.site, SCAN)
    assert changed[:, 2].min() > MIDDLE, "the stroke that was undone was further to the left"

    _join(bench, desk, coordinator)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(coordinator.run, 1)
        bench.wait(lambda: running.done() or "ound 1" in bench.page.inner_text("#federation"), "the round is seen on the page")
        bench.wait(running.done, "the round is done")
        running.result()
    _adopt_and_leave(bench, desk)
    assert bench.complaints == [], "the browser's console is silent"


def _approve(bench: Bench) -> None:
    bench.press("#approve")
    bench.wait(lambda: "Approved" in bench.status or bench.page.is_visible("#reason"), "approved, or asked why")
    if bench.page.is_visible("#reason"):
        bench.page.fill("#reason", "A test draws what no liver looks like.")
        bench.press("#approve")
    bench.wait(lambda: "Approved" in bench.status, "approved")


def _what_was_drawn(site: SiteHome, scan: PhantomSettings) -> "np.ndarray":
    """Where (k, j, i) the approved labels of a scan differ from the teacher's proposal; checks what must hold of any stroke of tumour."""
    ct, store = generate(scan)[0], site.store()
    approved = [case for case in store.cases() if case.state is State.APPROVED and store.ct(case).array.shape == ct.array.shape]
    (case,) = (case for case in approved if (store.ct(case).array == ct.array).all())
    labels, before = store.labels(case).array, store.presegmentation(case)
    assert before is not None
    changed = np.argwhere(labels != before.array)
    assert len(changed) > 3
    assert len(set(changed[:, 0])) == 1, "a stroke is on one slice"
    assert set(labels[tuple(changed.T)]) == {TUMOUR}
    assert set(before.array[tuple(changed.T)]) == {LIVER}, "kept inside the liver"
    return changed


def _join(bench: Bench, desk: Desk, coordinator: Coordinator) -> None:
    bench.show("#federation")
    bench.page.set_input_files("#invitation", str(desk.root / "A.json"))
    request = desk.federation.files.request
    bench.wait(request.is_file, "the enrolment request is written")
    coordinator.approve(request)
    bench.page.wait_for_selector("#opt-in:not([disabled])")
    assert bench.page.locator("#join").get_attribute("aria-disabled") == "true", "not before the clinician agreed"
    bench.page.check("#opt-in")
    bench.press("#join")
    bench.wait(lambda: desk.federation.status().link is Link.UP, "the site is in the federation")
    bench.page.wait_for_selector("#leave:not([aria-disabled=true])")
    assert len(processes_under(desk.federation.files.folder)) >= 2


def _adopt_and_leave(bench: Bench, desk: Desk) -> None:
    before = desk.site.shelf().current().version
    bench.press("#adopt")
    bench.wait(lambda: desk.site.shelf().current().version != before, "the new teacher is adopted")
    entries = desk.federation.ledger().entries()
    bench.wait(lambda: entries[-1].sentence in bench.text(), "the ledger is on the page")
    bench.press("#leave")
    bench.wait(lambda: not desk.federation.status().joined, "the site has left")
    wait_until(lambda: not _flower_of(desk), 30, "no process of Flower is left at A")


def _flower_of(desk: Desk) -> list[str]:
    return [line for line in processes_under(desk.root / "A") if "flower" in line or "flwr" in line]


def test_two_browsers_have_views_of_their_own_and_one_survives_its_network_and_what_it_is_sent(desk: Desk, tmp_path: Path) -> None:
    one, two = desk.bench(), Bench.open(desk.browser, desk.door)
    one.open_ct(desk.root / "other.nii.gz")
    one.page.wait_for_selector("caption", state="detached")
    proposal = one.auto_segment()
    assert proposal not in two.text()
    assert two.page.query_selector(".windows") is None, "the other browser shows nothing of it"
    _send_what_is_no_ct(two, tmp_path)
    _send_two_gigabytes(two, tmp_path, desk.door)
    _send_names_that_are_paths(two, desk.root)

    one.choose_tool("Paint", "Tumour")
    one.stroke(*on_the_left(one), let_go=False)
    one.page.wait_for_timeout(1000)  # so that the stroke has reached the workbench: what is lost on the way nobody can keep
    one.cut_connection()
    one.reload()
    one.wait(lambda: "approve the case" in one.status, "the case is open as it was; its volumes are not shown once it was drawn on")
    one.choose_tool("Paint", "Tumour")
    one.stroke(*on_the_right(one))
    _approve(one)
    drawn = _what_was_drawn(desk.site, OTHER_SCAN)[:, 2]
    assert drawn.min() < MIDDLE < drawn.max(), "the stroke before the connection broke, and the one after"
    assert proposal.partition(",")[0] not in two.text()
    stranger = desk.browser.new_context().new_page().goto(desk.door.home)
    assert stranger.status == 403
    two.page.context.close()


def test_the_scan_on_show_and_those_of_the_data_folder_become_cases_of_the_worklist(desk: Desk) -> None:
    bench = desk.bench()
    before = {case.pseudonym for case in desk.site.store().cases()}
    bench.open_ct(desk.root / "third.nii.gz")
    bench.press("#add-this")
    bench.wait_for("This scan is a case of the worklist now.")
    bench.press("#add-scans")
    bench.wait_for("1 case was added to the worklist")
    new = [case for case in desk.site.store().cases() if case.pseudonym not in before]
    assert [case.state for case in new] == [State.NEW, State.NEW]


def _send_what_is_no_ct(bench: Bench, folder: Path) -> None:
    (folder / "letter.nii.gz").write_text("Dear colleague, here is Mr Doe's CT.")
    bench.page.set_input_files("#files", str(folder / "letter.nii.gz"))
    bench.wait(lambda: "Problem" in bench.status, "the reader's sentence is shown")
    assert "Doe" not in bench.text()
    assert bench.page.query_selector(".windows") is None


def _send_two_gigabytes(bench: Bench, folder: Path, door: OpenDoor) -> None:
    """By the page's button; what is sent past the page is refused by the door, see test_door_in_chromium.py."""
    with (folder / "large.nii").open("wb") as large:
        large.truncate(2_100_000_000)
    before = door.memory_mb()
    bench.page.set_input_files("#files", str(folder / "large.nii"))
    bench.wait_for("more than 2 GB")
    assert door.memory_mb() < before + 50


def _send_names_that_are_paths(bench: Bench, root: Path) -> None:
    for name in ("../../../../evil.nii", "/tmp/evil.nii", "..\\..\\evil.nii", "evil\0.nii"):
        answer = bench.page.evaluate(_SEND, name)
        assert answer["status"] in (200, 400), answer
        assert answer["status"] == 200 or answer["sentence"]
    assert not list(root.rglob("*evil*"))


# What the page does to send a file, but with a name of our choice.
_SEND = """async name => {
    const form = new FormData();
    form.append("files", new Blob(["x"]), name);
    const answer = await fetch("/upload", {method: "POST", body: form});
    return {status: answer.status, ...await answer.json()};
}"""
