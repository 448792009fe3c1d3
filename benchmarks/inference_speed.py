"""How fast the shipped teacher is beside others, on one CT, in one run. ``make bench`` runs it.

Everything runs in a process of its own, one after the other: ours as a person starts it (``fedliver segment``), ours again and again in one process,
MONAI's SlidingWindowInferer over the whole volume with the same network, and nnU-Net v2's own predictor. The results go to ``results/`` as JSON, and as
a Markdown table that is made from it.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from nnunet_environment import NotInstalled, python_with_nnunet
from records import NETWORK, WHOLE, Machine, Results, Scan, Timing, installed_versions, load_average, now
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PLANS = (("0.77 mm", (1.0, 0.77, 0.77), True), ("1.5 mm", (1.5, 1.5, 1.5), True), ("3 mm", (3.0, 3.0, 3.0), False))
"""Name, spacing z, y, x, and whether it is so slow that only some tiles are run: LiTS' plan, and the two that TotalSegmentator uses."""
console = Console(stderr=True)


def bench(
    quick: Annotated[bool, typer.Option(help="A small scan and tiny networks: to see that it works. The numbers mean nothing.")] = False,
    teacher: Annotated[Path | None, typer.Option(help="Another teacher bundle than the shipped one.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often ours and MONAI's are repeated.")] = 3,
    tiles: Annotated[int, typer.Option(min=0, help="How many tiles of nnU-Net's slow plans are run and scaled up; 0 runs all (half an hour and more).")] = 4,
    nnunet: Annotated[bool, typer.Option(help="Compare with nnU-Net, which is installed the first time.")] = True,
    out: Annotated[Path, typer.Option(help="Where the results are written.")] = HERE / "results",
) -> None:
    """Measure, print the table, write the results."""
    from fedliver.teacher.bundle import STARTER

    machine = Machine.here()
    if machine.load_before is not None and machine.load_before > 0.3 * machine.usable_cores:
        console.print(f"[yellow]The load average is {machine.load_before}: something else is running, and every time below will be too long.")
    with TemporaryDirectory() as folder:
        scan, long_scan = _make_scans(Path(folder), quick)
        bundle = teacher or (Path(folder) / "tiny" if quick else STARTER)
        worker, timings = _ours(bundle, Path(folder), repeats)
        timings += _monai(bundle, Path(folder), repeats)
        left_out: tuple[str, ...] = ()
        versions = installed_versions()
        if nnunet:
            try:
                found, theirs = _nnunet(Path(folder), tiles, quick)
                timings, versions = timings + found, versions | theirs
            except NotInstalled as error:
                left_out = (str(error),)
        else:
            left_out = ("nnU-Net, since it was not asked for.",)
    results = Results(
        at=now(),
        quick=quick,
        machine=machine.model_copy(update={"load_after": load_average()}),
        threads=worker["threads"],
        versions=versions,
        teacher=f"{worker['teacher']}, {worker['parameters'] / 1e6:.1f} M parameters, {worker['spacing_mm'][0]:g} mm",
        scan=scan,
        long_scan=long_scan,
        timings=tuple(timings),
        left_out=left_out,
    )
    _show(results)
    _write(results, out)


def _say(what: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {what}")


def _json_of(command: list[str]) -> Any:
    """What a worker prints as the last line."""
    unused = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), os.devnull)  # nnU-Net warns about folders that it does not need here
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=HERE, env=unused | os.environ)
    if done.returncode:
        raise SystemExit(f"The benchmark stopped: {Path(command[1]).name} ended with {done.returncode}; what it said is above.")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _make_scans(folder: Path, quick: bool) -> tuple[Scan, Scan]:
    _say("Generating the CT")
    scan, longer = _json_of([sys.executable, str(HERE / "make_scans.py"), str(folder), *(["--quick"] if quick else [])])
    return Scan.model_validate(scan), Scan.model_validate(longer)


def _ours(bundle: Path, folder: Path, repeats: int) -> tuple[dict[str, Any], list[Timing]]:
    _say("Ours, process after process")
    whole = [_segment(bundle, folder, "ct") for _ in range(repeats)]
    longer = [_segment(bundle, folder, "long") for _ in range(repeats)]
    _say("Ours, case after case in one process")
    worker = _json_of(
        [sys.executable, str(HERE / "in_one_process.py"), "ours", str(bundle), str(folder / "ct.nii.gz"), str(folder / "long.nii.gz"), str(repeats)]
    )

    def seconds(cases: str, part: str) -> tuple[float, ...]:
        return tuple(case[part] for case in worker[cases])

    def timing(key: str, scope: Any, what: str, values: tuple[float, ...], **more: Any) -> Timing:
        return Timing(key=key, scope=scope, what=what, seconds=values, **more)

    peak = worker["peak_mb"]
    timings = [
        timing(
            WHOLE, "whole", "ours: process start to saved file", tuple(t for t, _ in whole), peak_mb=_peak(whole), how="`fedliver segment`, .nii.gz to .nii.gz"
        ),
        timing(
            "fedliver-whole-long",
            "whole",
            "ours: a scan twice as long, process start to saved file",
            tuple(t for t, _ in longer),
            peak_mb=_peak(longer),
            how="the same patient, chest and pelvis too",
        ),
        timing(
            "fedliver-second",
            "whole",
            "ours: second case in a running process",
            seconds("again", "segment"),
            peak_mb=peak,
            how="CT in memory to labels in memory",
        ),
        timing("fedliver-second-saved", "whole", "ours: the same with reading and saving", seconds("again", "whole"), how="file to file"),
        timing("fedliver-second-long", "whole", "ours: second case, twice as long", seconds("long", "segment"), how="CT in memory to labels in memory"),
    ]
    if worker["again"][0]["calls"]:
        passes = int(worker["again"][0]["calls"])
        timings.append(timing(NETWORK, "network", "ours", seconds("again", "network"), peak_mb=peak, how=f"{passes} calls of the networks, second case"))
        long_passes = int(worker["long"][0]["calls"])
        timings.append(timing("fedliver-network-long", "network", "ours, a scan twice as long", seconds("long", "network"), how=f"{long_passes} calls"))
    return worker, timings


def _segment(bundle: Path, folder: Path, name: str) -> tuple[float, float | None]:
    """Seconds and peak memory in MB of one ``fedliver segment``, from the start of the process to its end."""
    program = Path(sys.executable).with_name("fedliver.exe" if sys.platform == "win32" else "fedliver")
    command = [str(program), "segment", str(folder / f"{name}.nii.gz"), str(folder / f"{name}-out.nii.gz"), "--teacher", str(bundle)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"FEDLIVER_HOME": str(folder / "home")})
    assert process.stderr is not None  # noqa: S101
    said = process.stderr.read()
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak: float | None = usage.ru_maxrss / (1024 if sys.platform.startswith("linux") else 1024**2)
    else:
        process.wait()
        peak = None
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"The benchmark stopped: fedliver segment ended with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    return seconds, peak


def _peak(runs: list[tuple[float, float | None]]) -> float | None:
    return max((peak for _, peak in runs if peak is not None), default=None)


def _monai(bundle: Path, folder: Path, repeats: int) -> list[Timing]:
    _say("MONAI's SlidingWindowInferer")
    ct = str(folder / "ct.nii.gz")
    found = _json_of([sys.executable, str(HERE / "in_one_process.py"), "monai", str(bundle), ct, ct, str(repeats)])
    shape = " x ".join(map(str, found["shape"]))
    how = f"{found['windows']} windows over {shape} voxels, the same fine network and precision"
    return [
        Timing(
            key="monai", scope="network", what="MONAI SlidingWindowInferer, whole volume", seconds=tuple(found["seconds"]), peak_mb=found["peak_mb"], how=how
        )
    ]


def _nnunet(folder: Path, tiles: int, quick: bool) -> tuple[list[Timing], dict[str, str]]:
    _say("nnU-Net's environment (some minutes the first time)")
    python = python_with_nnunet()
    timings, versions = [], {}
    for name, spacing, slow in PLANS:
        _say(f"nnU-Net at {name}")
        command = [str(python), str(HERE / "nnunet_predictor.py"), str(folder / "ct.nii.gz"), ",".join(map(str, spacing)), str(tiles if slow or quick else 0)]
        found = _json_of([*command, *(["--quick"] if quick else [])])
        versions = {"nnunetv2": found["versions"]["nnunetv2"]}
        run, total = found["tiles_run"], found["tiles"]
        what = f"nnU-Net v2, {found['parameters'] / 1e6:.1f} M parameters at {name}"
        part = f"{run} of {total} tiles run" if run < total else f"{total} tile{'s' if total > 1 else ''}"
        patch = " x ".join(map(str, found["patch_size"]))
        timings += [
            Timing(
                key=f"nnunet-{name}",
                scope="network",
                what=what,
                seconds=(found["seconds"],),
                peak_mb=found["peak_mb"],
                extrapolated=run < total,
                how=f"its own predictor, random weights, {part} of {patch}, mirrored 8 times as by default",
            ),
            Timing(
                key=f"nnunet-{name}-once",
                scope="network",
                what=f"{what}, without mirroring",
                seconds=(found["seconds_without_mirroring"],),
                extrapolated=True,
                how="an eighth of the tiles' time of the row above",
            ),
        ]
    return timings, versions


def _show(results: Results) -> None:
    output = Console()
    output = output if output.is_terminal else Console(width=200)  # a file has no width: do not fold there
    for scope, heading in (("whole", "From scan to segmentation"), ("network", "Networks alone")):
        table = Table("", "seconds", "times ours", "MB", "how", title=heading, title_justify="left")
        for row in results.rows(scope):  # type: ignore[arg-type]
            table.add_row(*row)
        output.print(table)
    for sentence in results.left_out:
        console.print(f"Left out: {sentence}")


def _write(results: Results, out: Path) -> None:
    from fedliver.files import write_text

    name = f"{results.at:%Y-%m-%d}-{results.machine.slug}{'-quick' if results.quick else ''}"
    write_text(out / f"{name}.json", results.model_dump_json(indent=2) + "\n")
    write_text(out / f"{name}.md", results.markdown())
    console.print(f"Written: {out / name}.json and .md")


if __name__ == "__main__":
    typer.run(bench)
