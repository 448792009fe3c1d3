"""How long it takes to list 10,000 cases and to order them, by each strategy of the worklist.

python benchmarks/worklist.py          writes benchmarks/results/worklist.md; a minute
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

TARGET = Path(__file__).resolve().parent / "results" / "worklist.md"
CASES, REPEATS = 10_000, 5


def filled(home: Path) -> None:
    """A store as it lies on disk: one approved and one pre-segmented generated patient, copied under other pseudonyms; the copies' CTs are empty files."""
    from fedliver.cases.case import TeacherProvenance
    from fedliver.cases.store import CaseStore
    from fedliver.ct_reader import Ct, SourceIdentity
    from fedliver.phantom import PhantomSettings, generate

    store, records = CaseStore(home, bytes(32)), []
    for seed in (1, 2):
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0)))
        case = store.add(Ct(ct, SourceIdentity(f"p{seed}", f"s{seed}", f"e{seed}"), ()))
        case = store.attach(case, labels, labels, TeacherProvenance(name="t", version="1", sha256="a" * 64), expected_dice=0.9)
        case = store.approve(case) if seed == 1 else case
        records.append((case.pseudonym, case.model_dump_json(exclude_none=True)))
    for n in range(CASES - len(records)):
        name = "C-" + f"{n:04d}".translate(str.maketrans("0123456789", "ABCDEFGHIJ")).rjust(16, "Z")
        (home / "cases" / name).mkdir()
        (home / "cases" / name / "case.json").write_text(records[n % 2][1].replace(records[n % 2][0], name))
        (home / "cases" / name / "ct.nii.gz").touch()


def seconds(work: Callable[[], object]) -> float:
    """The median over a few repeats, of wall time."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def main() -> None:
    """Measure and write the table."""
    from records import Machine, load_average

    from fedliver.cases.store import CaseStore
    from fedliver.cases.worklist import next_case, strategies
    from fedliver.evaluation.markdown import markdown_table
    from fedliver.files import write_text

    machine = Machine.here()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        filled(home)
        rows = [("list", f"{seconds(lambda: CaseStore(home).look()):.2f}")]
        cases = CaseStore(home).cases()
        rows += [(f"next case, {name}", f"{seconds(lambda name=name: next_case(cases, name)):.2f}") for name in strategies()]
    machine = machine.model_copy(update={"load_after": load_average()})
    about = f"{machine.processor}, {machine.usable_cores} cores, Python {machine.python}, load {machine.load_before} before and {machine.load_after} after"
    text = f"# {CASES:,} cases\n\n{about}. Medians of {REPEATS}, wall time.\n\n"
    write_text(TARGET, text + markdown_table(("what", "seconds"), rows) + "\nWritten by `python benchmarks/worklist.py`.\n")
    sys.stdout.write(TARGET.read_text())


if __name__ == "__main__":
    main()
