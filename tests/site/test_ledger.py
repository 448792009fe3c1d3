"""The ledger: what was written stays, and whatever is done to it afterwards is found and named."""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from fedliver.errors import FedLiverError
from fedliver.site.ledger import FILE_NAME, HEAD_NAME, Ledger, ModelIn, NumbersOut, UpdateOut, content_hash

HASH = "ab" * 32


def model(number: int) -> ModelIn:
    return ModelIn(run=2**63, round=number, model=number - 1, content=HASH, bytes=1000)


def update(number: int, **changes: object) -> UpdateOut:
    facts = {"run": 1, "round": number, "content": HASH, "bytes": 20_000_000, "cases": 7, "patients": 6, "norm": 4.5, "sent_norm": 3.0, "norm_bound": 3.0}
    facts |= {"noise_multiplier": 0.0, "epsilon": None, "loss": 0.25, "dice": 0.9, "dice_cases": 3, "seconds": 12.0}
    return UpdateOut.model_validate(facts | changes)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    for number in (1, 2, 3):
        made.append(model(number))
        made.append(update(number))
    return made


def lines(folder: Path) -> list[bytes]:
    return (folder / FILE_NAME).read_bytes().splitlines(keepends=True)


def rewrite(folder: Path, changed: list[bytes]) -> None:
    (folder / FILE_NAME).write_bytes(b"".join(changed))


def test_what_was_appended_is_read_back_in_order_and_verified(ledger: Ledger) -> None:
    assert [(entry.kind, entry.round) for entry in ledger.entries()] == [("model", 1), ("update", 1), ("model", 2), ("update", 2), ("model", 3), ("update", 3)]
    found = ledger.verify()
    assert (found.lines, found.fault) == (6, "")
    assert found.head in found.sentence


def test_a_site_that_has_sent_nothing_has_an_empty_ledger(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none").verify().fault == ""
    assert Ledger(tmp_path / "none").entries() == []


@pytest.mark.parametrize("number", [1, 3, 6])
def test_a_changed_line_is_found_and_named(ledger: Ledger, tmp_path: Path, number: int) -> None:
    changed = lines(tmp_path)
    changed[number - 1] = changed[number - 1].replace(b'"round":', b'"round":1')
    rewrite(tmp_path, changed)
    assert ledger.verify().fault == f"line {number} was changed."


def test_a_changed_line_with_its_seal_made_anew_is_found_by_the_next(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other")
    other.append(model(1))
    other.append(update(1, cases=1))
    changed = lines(tmp_path)
    forged = json.loads(lines(tmp_path / "other")[1]) | {"before": json.loads(changed[0])["seal"]}
    from fedliver.site.ledger import _canonical, _seal

    forged["seal"] = _seal({key: value for key, value in forged.items() if key != "seal"})
    changed[1] = _canonical(forged) + b"\n"
    rewrite(tmp_path, changed)
    assert ledger.verify().fault.startswith("line 3 does not follow from the one before it")


def test_a_last_line_with_its_seal_made_anew_is_found_by_the_head(ledger: Ledger, tmp_path: Path) -> None:
    from fedliver.site.ledger import _canonical, _seal

    changed = lines(tmp_path)
    forged = json.loads(changed[-1])
    forged["entry"]["cases"] = 1
    forged["seal"] = _seal({key: value for key, value in forged.items() if key != "seal"})
    changed[-1] = _canonical(forged) + b"\n"
    rewrite(tmp_path, changed)
    assert ledger.verify().fault == f"line 6 is not the one that {HEAD_NAME} remembers."


def test_missing_lines_are_found_and_counted(ledger: Ledger, tmp_path: Path) -> None:
    whole = lines(tmp_path)
    rewrite(tmp_path, whole[:-1])
    assert ledger.verify().fault == "1 line(s) are missing at the end: 6 were written, 5 are there."
    rewrite(tmp_path, [])
    assert "6 line(s) are missing" in ledger.verify().fault
    (tmp_path / FILE_NAME).unlink()
    assert "6 line(s) are missing" in ledger.verify().fault
    rewrite(tmp_path, whole[1:])
    assert ledger.verify().fault.startswith("line 1 is the one that was written as number 2")
    rewrite(tmp_path, [*whole[:2], *whole[3:]])
    assert ledger.verify().fault.startswith("line 3 is the one that was written as number 4")


def test_lines_in_another_order_and_doubled_lines_are_found(ledger: Ledger, tmp_path: Path) -> None:
    whole = lines(tmp_path)
    rewrite(tmp_path, [whole[0], whole[2], whole[1], *whole[3:]])
    assert ledger.verify().fault.startswith("line 2 is the one that was written as number 3")
    rewrite(tmp_path, [*whole, whole[-1]])
    assert ledger.verify().fault.startswith("line 7 is the one that was written as number 6")


def test_lines_that_something_else_added_are_found(ledger: Ledger, tmp_path: Path) -> None:
    head = (tmp_path / HEAD_NAME).read_bytes()
    ledger.append(model(4))
    ledger.append(model(5))
    (tmp_path / HEAD_NAME).write_bytes(head)
    assert ledger.verify().fault == "2 lines were added at the end by something else than this program."


def test_a_head_that_is_missing_is_said(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / HEAD_NAME).unlink()
    assert "is missing or cannot be read" in ledger.verify().fault


def test_a_ledger_written_anew_does_not_have_the_head_that_was_noted(ledger: Ledger, tmp_path: Path) -> None:
    noted = ledger.verify().head
    ledger.append(model(4))
    assert ledger.verify(noted).fault == ""
    anew = Ledger(tmp_path / "anew")
    anew.append(model(1))
    assert anew.verify().fault == ""
    assert "written anew" in anew.verify(noted).fault


@pytest.mark.parametrize("damage", ["cut", "change", "no head"])
def test_nothing_is_appended_to_a_ledger_whose_end_was_changed(ledger: Ledger, tmp_path: Path, damage: str) -> None:
    whole = lines(tmp_path)
    if damage == "cut":
        rewrite(tmp_path, whole[:-1])
    elif damage == "change":
        rewrite(tmp_path, [*whole[:-1], whole[-1].replace(b'"cases":7', b'"cases":8')])
    else:
        (tmp_path / HEAD_NAME).unlink()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(FedLiverError, match="ledger verify") as caught:
        ledger.append(model(4))
    assert caught.value.code == "ledger-damaged"
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_line_that_a_crash_left_half_written_is_no_damage_and_makes_room(ledger: Ledger, tmp_path: Path) -> None:
    with (tmp_path / FILE_NAME).open("ab") as stream:
        stream.write(lines(tmp_path)[-1][:100])
    assert ledger.verify().fault == ""
    ledger.append(model(4))
    found = ledger.verify()
    assert (found.lines, found.fault) == (7, "")


def test_a_crash_between_a_line_and_its_head_is_no_damage(ledger: Ledger, tmp_path: Path) -> None:
    head = (tmp_path / HEAD_NAME).read_bytes()
    ledger.append(model(4))
    (tmp_path / HEAD_NAME).write_bytes(head)
    assert ledger.verify().fault == ""
    ledger.append(update(4))
    assert (ledger.verify().lines, ledger.verify().fault) == (8, "")


def test_two_crashes_in_a_row_between_a_line_and_its_head_are_no_damage(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Ledger._write_head

    def crash(self: Ledger, lines: int, seal: str) -> None:
        if lines == count:
            raise KeyboardInterrupt
        write(self, lines, seal)

    monkeypatch.setattr(Ledger, "_write_head", crash)
    for count in (7, 8):
        with pytest.raises(KeyboardInterrupt):
            ledger.append(model(4))
        assert (ledger.verify().lines, ledger.verify().fault) == (count, "")


def test_a_crash_within_the_very_first_line_is_no_damage(tmp_path: Path) -> None:
    made = Ledger(tmp_path)
    made.append(model(1))
    first = lines(tmp_path)[0]
    (tmp_path / HEAD_NAME).write_text('{"lines":0,"seal":"' + "0" * 64 + '"}')
    rewrite(tmp_path, [first[:50]])
    made.append(model(1))
    assert (made.verify().lines, made.verify().fault) == (1, "")


def _append_for_ever(folder: str) -> None:
    while True:
        Ledger(Path(folder)).append(model(1))


@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are POSIX")
def test_a_writer_killed_at_any_moment_leaves_a_whole_ledger(tmp_path: Path) -> None:
    """Two writers at once, killed eight times in the midst of it."""
    context = multiprocessing.get_context("fork")
    written = 0
    for _ in range(8):
        writers = [context.Process(target=_append_for_ever, args=(str(tmp_path),)) for _ in range(2)]
        for writer in writers:
            writer.start()
        while len(Ledger(tmp_path).entries()) < written + 3:
            assert all(writer.is_alive() for writer in writers)
        for writer in writers:
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
        found = Ledger(tmp_path).verify()
        assert found.fault == ""
        written = found.lines
    Ledger(tmp_path).append(model(1))
    assert Ledger(tmp_path).verify().lines == written + 1


@pytest.mark.parametrize("in_the_way", ["folder", "lock", "lines", "head"])
def test_a_ledger_that_cannot_be_written_says_so_in_our_own_words_whatever_is_in_the_way(tmp_path: Path, in_the_way: str) -> None:
    """For root, too, to whom every file is writable: a file is in a folder's place, or the other way round."""
    folder = tmp_path / "ledger"
    if in_the_way == "folder":
        folder.write_text("")
    else:
        (folder / {"lock": "ledger.lock", "lines": FILE_NAME, "head": HEAD_NAME}[in_the_way]).mkdir(parents=True)
    with pytest.raises(FedLiverError) as caught:
        Ledger(folder).append(model(1))
    assert caught.value.code in ("not-writable", "bad-name")


def test_the_ledger_is_for_the_owner_only(ledger: Ledger, tmp_path: Path) -> None:
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def test_the_hash_tells_names_shapes_types_and_values_apart() -> None:
    one = {"a": np.zeros((2, 3), np.float32), "b": np.array(1)}
    others = [
        {**one, "a": np.zeros((3, 2), np.float32)},
        {**one, "a": np.zeros((2, 3), np.int32)},
        {**one, "b": np.array(2)},
        {"c": one["a"], "b": one["b"]},
    ]
    assert len({content_hash(weights) for weights in (one, *others)}) == 5
    assert content_hash(dict(reversed(one.items()))) == content_hash(one)


def test_every_line_says_itself_in_words() -> None:
    assert update(3).sentence == (
        "Round 3: an update of 7 cases left, 20.0 MB, norm 3, shortened from 4.5, no noise, loss 0.2500, Dice 0.9000 over 3 held-out cases, 12 s of training."
    )
    assert "epsilon 2.5 spent so far" in update(3, noise_multiplier=1.0, epsilon=2.5).sentence
    assert model(2).sentence == "Round 2: the model of round 1 came in, 0.0 MB."
    assert "only the error number 12 (the site's privacy budget is spent)" in NumbersOut(run=1, round=2, error=12, dice=None, dice_cases=0).sentence
    assert "Dice 0.9000 over 3" in NumbersOut(run=1, round=2, error=0, dice=0.9, dice_cases=3).sentence
