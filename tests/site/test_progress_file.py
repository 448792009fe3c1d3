"""The progress file is read while it is written."""

from pathlib import Path

from fedliver.site.codes import ErrorCode, code_of, sentence_of
from fedliver.site.progress import ProgressEvent, ProgressTail, append_event


def event(step: int) -> ProgressEvent:
    return ProgressEvent(phase="training", round=1, rounds=2, step=step, total=9, loss=0.5)


def test_the_tail_gives_each_event_once(tmp_path: Path) -> None:
    path = tmp_path / "federation" / "progress.jsonl"
    tail = ProgressTail(path)
    assert tail.read() == []
    append_event(path, event(1))
    append_event(path, event(2))
    assert [found.step for found in tail.read()] == [1, 2]
    assert tail.read() == []
    append_event(path, event(3))
    assert [found.step for found in tail.read()] == [3]


def test_a_half_written_line_is_waited_for_and_a_damaged_one_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    line = event(4).model_dump_json().encode()
    path.write_bytes(b"not json\n" + line[:20])
    tail = ProgressTail(path)
    assert tail.read() == []
    with path.open("ab") as stream:
        stream.write(line[20:] + b"\n")
    assert [found.step for found in tail.read()] == [4]


def test_a_file_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = ProgressTail(path)
    append_event(path, event(1))
    tail.read()
    path.unlink()
    append_event(path, event(7))
    assert [found.step for found in tail.read()] == [7]


def test_every_code_has_a_sentence_and_an_exception_gives_no_text_away() -> None:
    assert len({sentence_of(code) for code in ErrorCode}) == len(ErrorCode)
    assert sentence_of(12345) == sentence_of(ErrorCode.UNEXPECTED)
    assert code_of(RuntimeError("/data/DOE^JOHN")) is ErrorCode.UNEXPECTED
    assert "step 3 of 9" in event(3).sentence
