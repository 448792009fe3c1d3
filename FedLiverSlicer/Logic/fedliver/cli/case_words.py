"""Cases in words and columns for the terminal. Plain text: ten thousand rows take rich many seconds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedliver.cases.case import Approval, Attached, Case

_HEADINGS = ("Case", "State", "Role", "Added", "Size", "Spacing (mm)", "Teacher", "Expected Dice", "Dice to teacher")


def table(cases: "Sequence[Case]") -> str:
    """A row per case, in aligned columns."""
    rows = [_HEADINGS, *(_row(case) for case in cases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(case: "Case") -> tuple[str, ...]:
    attached = _newest(case)
    correction = case.approval.correction if case.approval else None
    return (
        case.pseudonym,
        _state(case),
        _role(case) or "-",
        f"{case.added_at:%Y-%m-%d %H:%M}",
        " x ".join(map(str, case.grid.size)),
        " x ".join(f"{mm:.2f}" for mm in case.grid.spacing),
        attached.teacher.version if attached and attached.teacher else "-",
        f"{attached.expected_dice:.2f}" if attached and attached.expected_dice is not None else "-",
        f"{correction.liver.dice:.3f}" if correction else "-",
    )


def _role(case: "Case") -> str:
    """What the case does; empty unless it is approved. The record keeps the role of a case that was excluded, or that waits to be approved again."""
    from fedliver.cases.case import State

    return case.role.value if case.role and case.state is State.APPROVED else ""


def _newest(case: "Case") -> "Attached | None":
    return case.draft or (case.approval.segmentation if case.approval else None)


def _state(case: "Case") -> str:
    return case.state.value + (", corrected again" if case.approval and case.draft else "")


def description(case: "Case") -> str:
    """All that a person may want to know of one case, a line each."""
    lines = [
        f"{case.pseudonym}: {_state(case)}" + (f" ({case.exclusion_reason})" if case.exclusion_reason else ""),
        f"  added {case.added_at:%Y-%m-%d %H:%M} UTC; patient {case.patient}",
        f"  {' x '.join(map(str, case.grid.size))} voxels of {' x '.join(f'{mm:.2f}' for mm in case.grid.spacing)} mm",
    ]
    if role := _role(case):
        lines.append(f"  {'held out: it judges new teachers' if role == 'held-out' else 'it trains'}")
    attached = _newest(case)
    if attached and attached.teacher:
        expected = f", which expects Dice {attached.expected_dice:.2f} of it" if attached.expected_dice is not None else ""
        lines.append(f"  pre-segmented by {attached.teacher.name} {attached.teacher.version}{expected}")
    if case.approval:
        lines.append(f"  approved {case.approval.approved_at:%Y-%m-%d %H:%M} UTC")
        if case.approval.overridden:
            lines.append(f"  in spite of: {', '.join(case.approval.overridden)} ({case.approval.override_reason})")
        lines += correction_words(case.approval).splitlines()
    if case.earlier:
        lines.append(f"  {len(case.earlier)} earlier approval{'s' if len(case.earlier) > 1 else ''} kept")
    return "\n".join(lines)


def correction_words(approval: "Approval") -> str:
    """What a person changed, and how long it took; empty where nothing is known of it."""
    lines = []
    if correction := approval.correction:
        for structure, change in (("liver", correction.liver), ("tumour", correction.tumour)):
            lines.append(f"  {structure}: Dice {change.dice:.3f} against the teacher, {change.ml_added:.1f} ml added, {change.ml_removed:.1f} ml removed")
        if effort := correction.effort:
            drawn = f"{effort.added_path_length_mm / 10:.0f} cm of contour drawn anew"
            lines.append(f"  correction: {effort.slices_touched} of {effort.slices} slices, {effort.ml_changed:.1f} ml changed, {drawn}")
    if approval.segmentation.seconds_spent is not None:
        lines.append(f"  time: {approval.segmentation.seconds_spent / 60:.1f} min")
    return "\n".join(lines)


def next_words(case: "Case | None", cases: "Sequence[Case]") -> str:
    """The next case, how far it is, and what to do with it."""
    from fedliver.cases.case import State

    if case is None:
        return "No other case waits to be annotated."
    waiting = sum(one.state in (State.NEW, State.PRE_SEGMENTED, State.IN_CORRECTION) for one in cases)
    draft = case.draft
    expected = f", expected Dice {draft.expected_dice:.2f}" if draft and draft.expected_dice is not None else ""
    do = "segment" if case.state is State.NEW else "show"
    return (
        f"{case.pseudonym}: {case.state.value}{expected}; {waiting} wait in all. Open it in 3D Slicer with *Next case*, or: fedliver case {do} {case.pseudonym}"
    )
