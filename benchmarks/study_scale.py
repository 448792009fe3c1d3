"""How the study of federated learning grows with the number of sites: time and memory of 8, 64 and 256 sites with 4 at work in a round.

    python benchmarks/study_scale.py          writes docs/studies/federated/scale.md; some minutes

Each federation runs in a process of its own, on the same generated hearts, which are prepared once.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "docs" / "studies" / "federated" / "scale.md"
CLIENTS = (8, 64, 256)
ACTIVE = (4, 4, 4)
MORE = ((256, 8), (256, 16))
TASK = """
base = "heart-small"
name = "scale"
seeds = 1
[data]
generated = 352
[training]
steps = 32
rounds = 4
"""


def measure(folder: str, clients: int, active: int) -> None:
    """Run one federation in this process and print what it took."""
    from fedliver.study.federated.engine import InProcess
    from fedliver.study.federated.prepared import prepare
    from fedliver.study.federated.reading import reader_of
    from fedliver.study.federated.run import PREPARED, run_job
    from fedliver.study.federated.task import Arm, read_task
    from fedliver.watch import Silent

    out = Path(folder)
    task = read_task(str(out / "scale.toml"))
    prepare(task, lambda: reader_of(task), out / PREPARED, Silent())
    if not clients:
        return
    started, before = time.monotonic(), time.process_time()
    run_job(task, out, (Arm(way="federated", clients=clients, active=active), 0), InProcess(), Silent())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"clients": clients, "active": active, "cpu": time.process_time() - before, "wall": time.monotonic() - started, "peak_mb": peak}))


def main() -> None:
    """Measure every size and write the table."""
    from fedliver.evaluation.markdown import markdown_table
    from fedliver.files import write_text
    from fedliver.study.machine import machine

    folder = Path(tempfile.mkdtemp())
    (folder / "scale.toml").write_text(TASK)
    try:
        _child(folder, 0, 0)
        rows = [json.loads(_child(folder, clients, active)) for clients, active in (*zip(CLIENTS, ACTIVE, strict=True), *MORE)]
    finally:
        shutil.rmtree(folder)
    cells = [[str(row["clients"]), str(row["active"]), f"{row['peak_mb']:.0f}", f"{row['cpu']:.1f}", f"{row['wall']:.1f}"] for row in rows]
    text = (
        "# The study with many sites\n\nFour rounds of 8 steps, generated hearts, the in-process engine, one thread. Peak memory of the whole process, with "
        "Python and PyTorch; processor and wall seconds of the federation with its scoring.\n\n"
        + markdown_table(("sites", "at work in a round", "peak MB", "processor s", "wall s"), cells)
        + f"\n\nMeasured by `python benchmarks/study_scale.py` on {machine()}.\n"
    )
    write_text(TARGET, text)
    print(text)


def _child(folder: Path, clients: int, active: int) -> str:
    command = [sys.executable, __file__, str(folder), str(clients), str(active)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
