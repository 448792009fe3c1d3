"""How quick the workbench in the browser is to the eye: a real Chromium before a real door, on the benchmark's CT of 512 x 512 x 129 voxels.

Needs Chromium and the workbench's environment (``make setup-app``). Timed is what the browser shows: a script in the page looks at the view's pixels with
every frame that it draws. The results go to ``results/browser.json``, the table made of them to ``docs/browser.md``.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from browser_record import BrowserRun, BrowserSpeed, with_table
from records import Machine, Scan, installed_versions, load_average, now

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "web")]

from browser_kit import Bench, open_chromium, open_workbench  # noqa: E402

_WATCH = (HERE / "browser_watch.js").read_text()
_STROKES = 15
_SCROLL_SECONDS = 5


def bench(
    quick: Annotated[bool, typer.Option(help="A small scan, to see that it works; the numbers mean nothing.")] = False,
    repeat: Annotated[int, typer.Option(min=1, help="How often the page is opened anew.")] = 3,
    record: Annotated[Path, typer.Option(help="Where the numbers are written.")] = HERE / "results" / "browser.json",
    page: Annotated[Path, typer.Option(help="The document that gets the table.")] = HERE.parent / "docs" / "browser.md",
    page_only: Annotated[bool, typer.Option(help="Write the table anew from the record, and measure nothing.")] = False,
) -> None:
    """Open, scroll and paint as a person would, and write down what it took to be seen."""
    if not page_only:
        record.write_text(_measure(quick, repeat).model_dump_json(indent=2) + "\n")
    table = BrowserSpeed.model_validate_json(record.read_bytes()).markdown()
    if not quick:
        page.write_text(with_table(page.read_text(), table))
    typer.echo(table)


def _measure(quick: bool, repeat: int) -> BrowserSpeed:
    machine = Machine.here()
    with TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, str(HERE / "make_scans.py"), str(folder), *(["--quick"] if quick else [])]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        scan = Scan.model_validate(json.loads(said.splitlines()[-1])[0])
        runs = [_run(folder, number) for number in range(repeat)]
    return BrowserSpeed(
        at=now(),
        quick=quick,
        machine=machine.model_copy(update={"load_after": load_average()}),
        versions=installed_versions(),
        scan=scan,
        runs=tuple(runs),
    )


def _run(folder: Path, number: int) -> BrowserRun:
    with open_workbench(folder / f"site-{number}", folder / "app.log") as door, open_chromium() as browser:
        bench = Bench.open(browser, door)  # the workbench has started: that happens once a day, and is not the page
        page = bench.page
        page.reload()
        page.wait_for_selector(".workbench")
        page.evaluate(_WATCH)
        loaded = page.evaluate("performance.now()") / 1000
        started = page.evaluate("watch.begin('Axial')")
        page.set_input_files("#files", str(folder / "ct.nii.gz"))
        opened = (page.evaluate("watch.shown()") - started) / 1000
        page.wait_for_selector("#segment:not([aria-disabled=true])")
        rate = _scroll(page)
        strokes = _paint(bench)
        return BrowserRun(
            page_seconds=loaded,
            open_seconds=opened,
            pictures_per_second=rate,
            stroke_seconds=tuple(seen for seen, _kept in strokes),
            kept_seconds=tuple(kept for _seen, kept in strokes),
        )


def _scroll(page: Any) -> float:
    """Pictures a second while the wheel turns faster than that."""
    box = page.locator("[data-view=Axial]").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(1000)
    page.evaluate("watch.begin('Axial')")
    way, turned = 1, 0
    end = page.evaluate("performance.now()") + 1000 * _SCROLL_SECONDS
    while page.evaluate("performance.now()") < end:
        page.mouse.wheel(0, 100 * way)
        turned += 1
        if turned % 40 == 0:
            way = -way
        page.wait_for_timeout(20)
    return float(page.evaluate("watch.rate()"))


def _paint(bench: Bench) -> list[tuple[float, float]]:
    """From the press of the mouse to the colour under it; from letting go until the page knows that the stroke is in the segmentation."""
    page = bench.page
    bench.press("#segment")
    page.wait_for_selector("caption")
    bench.choose_tool("Paint", "Liver")
    found = []
    for number in range(_STROKES):
        x, y = bench.at("Axial", 0.62 + 0.02 * (number % 5), 0.4 + 0.06 * (number // 5))
        page.mouse.move(x, y)
        page.wait_for_timeout(700)  # the brush's circle comes to rest
        page.evaluate("([x, y]) => watch.beginAt('Axial', x, y)", [x, y])
        page.mouse.down()
        seen = page.evaluate("watch.coloured()")
        page.evaluate("watch.beginKept()")
        page.mouse.up()
        found.append((seen / 1000, page.evaluate("watch.kept()") / 1000))
        page.wait_for_timeout(300)
    return found


if __name__ == "__main__":
    typer.run(bench)
