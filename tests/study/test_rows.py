from pathlib import Path

import pytest
from pydantic import BaseModel

from fedliver.errors import FedLiverError
from fedliver.study.rows import KeptRows


class Study(BaseModel):
    seeds: int = 3
    steps: int = 100


class Row(BaseModel):
    seed: int
    dice: float


def test_rows_are_read_back_by_the_same_study_and_by_one_of_more_seeds(tmp_path: Path) -> None:
    KeptRows(tmp_path / "rows.json", Study(), Row).add([Row(seed=0, dice=0.9)])
    for seeds in (3, 6):
        assert KeptRows(tmp_path / "rows.json", Study(seeds=seeds), Row).rows == [Row(seed=0, dice=0.9)]


def test_rows_of_other_settings_are_refused_and_stay(tmp_path: Path) -> None:
    KeptRows(tmp_path / "rows.json", Study(), Row).add([Row(seed=0, dice=0.9)])
    with pytest.raises(FedLiverError) as caught:
        KeptRows(tmp_path / "rows.json", Study(steps=200), Row)
    assert caught.value.code == "other-study"
    assert KeptRows(tmp_path / "rows.json", Study(), Row).rows


@pytest.mark.parametrize("text", ["", "[]", '{"study": 3, "rows": []}', '{"rows": []}', '{"study": {}, "rows": [{}]}'])
def test_what_is_no_study_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(FedLiverError, match="take it away"):
        KeptRows(tmp_path / "rows.json", Study(), Row)
