"""The benchmark: what it writes is what it measured, and a quick run goes through from the scan to the table."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from network_clock import network_time  # noqa: E402
from nnunet_environment import ENVIRONMENT  # noqa: E402
from records import NETWORK, WHOLE, Machine, Results, Scan, Timing  # noqa: E402

SCAN = Scan(size=(512, 512, 129), spacing_mm=(0.57, 0.57, 1.6), liver_ml=1030, source="phantom")


def _results(*timings: Timing, quick: bool = False, left_out: tuple[str, ...] = ()) -> Results:
    machine = Machine(processor="Some(R) CPU(TM) 9000 @ 3 GHz", cores=8, usable_cores=4, memory_gb=16, system="Linux", python="3.11", load_before=0.1)
    return Results(
        at=datetime(2026, 11, 22, tzinfo=UTC),
        quick=quick,
        machine=machine,
        threads=4,
        versions={"torch": "9.9"},
        teacher="t",
        scan=SCAN,
        long_scan=SCAN,
        timings=timings,
        left_out=left_out,
    )


def test_ratios_compare_whole_with_whole_and_network_with_network() -> None:
    ours = Timing(key=NETWORK, scope="network", what="ours", seconds=(2.0, 9.0, 4.0))
    theirs = Timing(key="x", scope="network", what="theirs", seconds=(400.0,), extrapolated=True, how="4 of 75 tiles")
    results = _results(Timing(key=WHOLE, scope="whole", what="all of ours", seconds=(10.0,)), ours, theirs)
    assert results.times_ours(theirs) == 100
    assert results.times_ours(ours) == 1
    table = results.markdown()
    assert "| theirs | 400.0, extrapolated | 100 | – | 4 of 75 tiles |" in table
    assert "| ours | 4.0 (2.0 to 9.0) | 1.00 | – |  |" in table


def test_the_table_names_machine_load_versions_and_what_was_left_out() -> None:
    table = _results(quick=True, left_out=("nnU-Net, since there is no network.",)).markdown()
    for expected in (
        "4 of 8 cores",
        "Load average 0.10 before",
        "torch 9.9",
        "nnU-Net, since there is no network.",
        "its numbers mean nothing",
        "512 x 512 x 129",
    ):
        assert expected in table
    assert _results().machine.slug == "some-9000-4-cores"


def test_results_read_back_as_they_were() -> None:
    results = _results(Timing(key=WHOLE, scope="whole", what="w", seconds=(1.0,)))
    assert Results.model_validate_json(results.model_dump_json()) == results


def test_the_clock_counts_the_outermost_network_once_and_nothing_outside_it() -> None:
    now = 0.0

    class TakesASecond(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += 1
            return x

    network = torch.nn.Sequential(TakesASecond(), TakesASecond())
    with network_time(lambda: now) as spent:
        network(torch.zeros(1))
        now += 100
        network(torch.zeros(1))
    network(torch.zeros(1))
    assert (spent.calls, spent.seconds) == (2, 4.0)


def test_the_long_scan_is_of_the_same_patient_and_twice_as_long(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(BENCHMARKS / "make_scans.py"), str(tmp_path), "--quick"], capture_output=True, text=True, check=True)
    short, longer = json.loads(done.stdout.splitlines()[-1])
    assert longer["size"] == [*short["size"][:2], 2 * short["size"][2]]
    assert longer["liver_ml"] == short["liver_ml"] > 500
    images = [sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("ct", "long")]
    middle = images[0].TransformContinuousIndexToPhysicalPoint([size / 2 for size in images[0].GetSize()])
    values = [image.EvaluateAtPhysicalPoint(middle) for image in images]
    assert values[0] == values[1]


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_a_quick_run_measures_ours_and_monai_and_writes_both_files(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "inference_speed.py"), "--quick", "--no-nnunet", "--repeats", "1", "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.json")
    results = Results.model_validate_json(path.read_bytes())
    assert path.stem.endswith("-quick")
    keys = {timing.key for timing in results.timings}
    assert {WHOLE, "fedliver-whole-long", "fedliver-second", NETWORK, "monai"} <= keys
    whole, network = results.timing(WHOLE), results.timing(NETWORK)
    assert whole
    assert network
    assert 0 < network.typical < whole.typical
    assert whole.peak_mb is None or whole.peak_mb > 100
    assert path.with_suffix(".md").read_text() == results.markdown()


@pytest.mark.processes
@pytest.mark.timeout(900)
def test_nnu_nets_predictor_runs_some_tiles_and_scales_them_up(tmp_path: Path) -> None:
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").is_file():
        pytest.skip("nnU-Net is not installed: `make bench` installs it")
    sitk.WriteImage(sitk.GetImageFromArray(torch.randint(-200, 200, (40, 80, 80), dtype=torch.int16).numpy()), str(tmp_path / "ct.nii.gz"))
    command = [str(python), str(BENCHMARKS / "nnunet_predictor.py"), str(tmp_path / "ct.nii.gz"), "1,1,1", "3", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["shape"] == [40, 80, 80]
    assert (found["tiles"], found["tiles_run"]) == (32, 3)
    assert 0 < found["seconds_without_mirroring"] < found["seconds"]
