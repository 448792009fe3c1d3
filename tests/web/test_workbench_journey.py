"""A clinician's journey in a real browser: from the file to the federation and back, checked in the case store and in the page's words."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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
MIDDLE = 28  # a column of the scan, between the two strokes


def on_the_left(bench: Bench) -> tuple[tuple[float, float], tuple[float, float]]:
    return bench.at("Axial", 0.25, 0.45), bench.at("Axial", 0.28, 0.48)


def on_the_right(bench: Bench) -> tuple[tuple[float, float], tuple[float, float]]:
    return bench.at("Axial", 0.36, 0.42), bench.at("Axial", 0.38, 0.44)


@dataclass
class World:
    """Hospital A is the one with the browser; B takes part from the command line."""

    root: Path
    coordinator: Coordinator
    a: SiteHome
    b: SiteFederation

    @property
    def at_a(self) -> SiteFederation:
        return SiteFederation(self.a.path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a scan, the patients of hospital A, and a tiny teacher that finds the liver."""
    chromium(), workbench_program()
    root = tmp_path_factory.mktemp("journey")
    sitk.WriteImage(to_sitk(generate(SCAN)[0]), str(root / "ct.nii.gz"))
    approve_patients(root / "A", (1, 2, 8))
    first = load_bundle(tiny_bundle(root / "untrained"))
    settings = TRAINING.model_copy(update={"steps": 60, "learning_rate": 2e-2})
    outcome = train(first, SiteHome.open(root / "A").store().training_examples(), settings)
    save_bundle(outcome.network, first.plan, root / "teacher", name="tiny", version="1")
    return root


def _has_teacher(home: Path, teacher: Path) -> SiteHome:
    site = SiteHome.open(home)
    site.shelf().adopt(site.shelf().import_(teacher).version)
    return site


@pytest.fixture(scope="module")
def world(root: Path) -> Iterator[World]:
    a, b = _has_teacher(root / "A", root / "teacher"), SiteFederation(root / "B")
    approve_patients(root / "B", (3, 4, 5))
    # Learning so carefully that the new teacher is as good as the old one: whether it is better is not what this test is about.
    training = TRAINING.model_copy(update={"learning_rate": 1e-5})
    coordinator = Coordinator.create(
        root / "C",
        host="127.0.0.1",
        teacher=root / "teacher",
        policy=lambda policy: policy.model_copy(update={"deadline_seconds": 600.0, "gather_seconds": 60.0, "training": training}),
    )
    with contextlib.ExitStack() as at_the_end:
        for end in (coordinator.stop, b.leave, SiteFederation(a.path).leave):
            at_the_end.callback(end)
        coordinator.start()
        coordinator.invite("Hospital A", root / "A.json")
        coordinator.invite("Hospital B", root / "B.json")
        coordinator.approve(b.enrol(root / "B.json"))
        b.join()
        yield World(root, coordinator, a, b)


def test_from_the_file_to_the_federation_and_back(world: World) -> None:
    with open_workbench(world.a.path, world.root / "app.log") as door, open_chromium() as browser:
        bench = Bench.open(browser, door)
        bench.open_ct(world.root / "ct.nii.gz")
        proposal = bench.auto_segment()
        assert "ml" in proposal
        bench.reload()
        bench.wait_for(proposal)  # nothing is lost by it

        bench.choose_tool("Paint", "Tumour")
        bench.stroke(*on_the_left(bench))
        bench.undo()
        bench.stroke(*on_the_right(bench))
        _approve(bench)
        changed = _what_was_drawn(world.a)
        assert changed[:, 2].min() > MIDDLE, "the stroke that was undone was further to the left"

        _join(bench, world)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(world.coordinator.run, 1)
            bench.wait(lambda: running.done() or "ound 1" in bench.page.inner_text("#federation"), "the round is seen on the page")
            bench.wait(running.done, "the round is done")
            running.result()
        _adopt_and_leave(bench, world)
        assert bench.complaints == []
    assert processes_under(world.a.path) == []


def _approve(bench: Bench) -> None:
    bench.press("#approve")
    bench.wait(lambda: "Approved" in bench.status or bench.page.is_visible("#reason"), "approved, or asked why")
    if bench.page.is_visible("#reason"):
        bench.page.fill("#reason", "A test draws what no liver looks like.")
        bench.press("#approve")
    bench.wait(lambda: "Approved" in bench.status, "approved")


def _what_was_drawn(site: SiteHome) -> "np.ndarray":
    """Where (k, j, i) the approved labels of the scan differ from the teacher's proposal; checks what must hold of any stroke of tumour."""
    ct, store = generate(SCAN)[0], site.store()
    (case,) = (case for case in store.cases() if case.state is State.APPROVED and store.ct(case).array.shape == ct.array.shape)
    labels, before = store.labels(case).array, store.presegmentation(case)
    assert before is not None
    np.testing.assert_array_equal(store.ct(case).array, ct.array)
    changed = np.argwhere(labels != before.array)
    assert len(changed) > 3
    assert len(set(changed[:, 0])) == 1, "a stroke is on one slice"
    assert set(labels[tuple(changed.T)]) == {TUMOUR}
    assert set(before.array[tuple(changed.T)]) == {LIVER}, "kept inside the liver"
    return changed


def _join(bench: Bench, world: World) -> None:
    bench.show("#federation")
    bench.page.set_input_files("#invitation", str(world.root / "A.json"))
    request = world.at_a.files.request
    bench.wait(request.is_file, "the enrolment request is written")
    world.coordinator.approve(request)
    bench.page.wait_for_selector("#opt-in:not([disabled])")
    assert bench.page.locator("#join").get_attribute("aria-disabled") == "true", "not before the clinician agreed"
    bench.page.check("#opt-in")
    bench.press("#join")
    bench.wait(lambda: world.at_a.status().link is Link.UP, "the site is in the federation")
    bench.page.wait_for_selector("#leave:not([aria-disabled=true])")
    assert len(processes_under(world.at_a.files.folder)) >= 2


def _adopt_and_leave(bench: Bench, world: World) -> None:
    before = world.a.shelf().current().version
    bench.press("#adopt")
    bench.wait(lambda: world.a.shelf().current().version != before, "the new teacher is adopted")
    entries = world.at_a.ledger().entries()
    bench.wait(lambda: entries[-1].sentence in bench.text(), "the ledger is on the page")
    bench.press("#leave")
    bench.wait(lambda: not world.at_a.status().joined, "the site has left")
    wait_until(lambda: not _flower_of(world), 30, "no process of Flower is left at A")


def _flower_of(world: World) -> list[str]:
    return [line for line in processes_under(world.a.path) if "flower" in line or "flwr" in line]


def test_two_browsers_have_views_of_their_own_and_one_survives_its_network_and_what_it_is_sent(root: Path, tmp_path: Path) -> None:
    site = _has_teacher(tmp_path / "site", root / "teacher")
    with open_workbench(site.path, tmp_path / "app.log") as door, open_chromium() as browser:
        one, two = Bench.open(browser, door), Bench.open(browser, door)
        one.open_ct(root / "ct.nii.gz")
        proposal = one.auto_segment()
        assert proposal not in two.text()
        assert two.page.query_selector(".windows") is None, "the other browser shows nothing of it"
        _send_what_is_no_ct(two, tmp_path)
        _send_two_gigabytes(two, tmp_path, door)
        _send_names_that_are_paths(two, tmp_path)

        one.choose_tool("Paint", "Tumour")
        one.stroke(*on_the_left(one), let_go=False)
        one.page.wait_for_timeout(1000)  # so that the stroke has reached the workbench: what is lost on the way nobody can keep
        one.cut_connection()
        one.reload()
        one.wait(lambda: "approve the case" in one.status, "the case is open as it was; its volumes are not shown once it was drawn on")
        one.choose_tool("Paint", "Tumour")
        one.stroke(*on_the_right(one))
        _approve(one)
        drawn = _what_was_drawn(site)[:, 2]
        assert drawn.min() < MIDDLE < drawn.max(), "the stroke before the connection broke, and the one after"
        assert proposal.partition(",")[0] not in two.text()
        stranger = browser.new_context().new_page().goto(door.home)
        assert stranger.status == 403
    assert processes_under(tmp_path) == []
    assert list((site.path / "browser").iterdir()) == [], "no upload is left"


def _send_what_is_no_ct(bench: Bench, folder: Path) -> None:
    (folder / "letter.nii.gz").write_text("Dear colleague, here is Mr Doe's CT.")
    bench.page.set_input_files("#files", str(folder / "letter.nii.gz"))
    bench.wait(lambda: "Problem" in bench.status, "the reader's sentence is shown")
    assert "Doe" not in bench.text()
    assert bench.page.query_selector(".windows") is None


def _send_two_gigabytes(bench: Bench, folder: Path, door: OpenDoor) -> None:
    """By the page's button, and past the page, as somebody with a cookie might."""
    with (folder / "large.nii").open("wb") as large:
        large.truncate(2_100_000_000)
    before = door.memory_mb()
    bench.page.set_input_files("#files", str(folder / "large.nii"))
    bench.wait_for("more than 2 GB")
    bench.page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'past-the-page'}))")
    bench.page.set_input_files("#past-the-page", str(folder / "large.nii"))
    answer = bench.page.evaluate(_SEND, [bench.page.query_selector("#past-the-page"), "ct.nii"])
    assert answer["status"] == 413
    assert "more than 2 GB" in answer["sentence"]
    assert door.memory_mb() < before + 50


def _send_names_that_are_paths(bench: Bench, folder: Path) -> None:
    before = {path for path in folder.rglob("*") if "browser" not in path.parts}
    for name in ("../../../../evil.nii", "/tmp/evil.nii", "..\\..\\evil.nii", "evil\0.nii"):
        answer = bench.page.evaluate(_SEND, [None, name])
        assert answer["status"] in (200, 400), answer
        assert answer["status"] == 200 or answer["sentence"]
    assert {path for path in folder.rglob("*") if "browser" not in path.parts} == before
    assert not list(folder.rglob("*evil*"))


# What the page does to send a file, but with a name of our choice; without an input it sends one byte.
_SEND = """async ([input, name]) => {
    const form = new FormData();
    form.append("files", input ? input.files[0] : new Blob(["x"]), name);
    const answer = await fetch("/upload", {method: "POST", body: form});
    return {status: answer.status, ...await answer.json()};
}"""
