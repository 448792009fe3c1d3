"""A process of its own: our teacher on case after case, or MONAI's inferer over a whole volume; prints seconds as JSON.

Usage: in_one_process.py ours|monai TEACHER CT LONG_CT REPEATS
"""

import json
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from network_clock import network_time

from fedliver.ct_reader import read_ct
from fedliver.segmentation_file import write_segmentation
from fedliver.teacher.bundle import Teacher, load_bundle
from fedliver.teacher.inference import segment


def ours(teacher: Teacher, ct: Path, long: Path, repeats: int) -> dict[str, Any]:
    """The first case warms the process up; then each is read, segmented and saved."""
    with TemporaryDirectory() as folder:
        first = _case(teacher, ct, Path(folder))
        again = [_case(teacher, ct, Path(folder)) for _ in range(repeats)]
        longer = [_case(teacher, long, Path(folder)) for _ in range(repeats)]
    return {"first": first, "again": again, "long": longer}


def _case(teacher: Teacher, ct: Path, folder: Path) -> dict[str, float]:
    started = time.perf_counter()
    scan = read_ct(ct).volume
    read = time.perf_counter()
    with network_time() as network:
        labels = segment(teacher, scan).labels
    segmented = time.perf_counter()
    write_segmentation(labels, folder / "out.nii.gz")
    return {
        "whole": time.perf_counter() - started,
        "segment": segmented - read,
        "network": network.seconds,
        "calls": network.calls,
    }


def monai(teacher: Teacher, ct: Path, repeats: int) -> dict[str, Any]:
    """The fine network over the whole volume, as MONAI's own inferer does it: no looking for the liver first, no tile of air left out."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from fedliver.teacher.precision import inference_precision
    from fedliver.teacher.preparation import ct_to_network_grid, to_tensor

    plan = teacher.plan
    image = to_tensor(ct_to_network_grid(read_ct(ct).volume, plan))[None]
    inferer = SlidingWindowInferer(plan.patch_size, overlap=plan.overlap, mode="gaussian", padding_mode="constant", cval=plan.padding_value)
    seconds, windows = [], 0
    with torch.inference_mode():
        with inference_precision():
            teacher.network(torch.zeros(1, 1, *plan.patch_size))  # prepares kernels: not timed, as nobody else's is
        for _ in range(repeats):
            started = time.perf_counter()
            with inference_precision(), network_time() as network:
                inferer(image, teacher.network)
            seconds.append(time.perf_counter() - started)
            windows = network.calls
    return {"seconds": seconds, "windows": windows, "shape": list(image.shape[2:])}


def main(what: str, teacher: Path, ct: Path, long: Path, repeats: int) -> None:
    import torch

    bundle = load_bundle(teacher)
    found = ours(bundle, ct, long, repeats) if what == "ours" else monai(bundle, ct, repeats)
    found |= {
        "teacher": f"{bundle.name} {bundle.version}",
        "spacing_mm": bundle.plan.spacing_mm,
        "parameters": sum(parameter.numel() for parameter in bundle.network.parameters()),
        "threads": torch.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform.startswith("linux") else 1024**2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
