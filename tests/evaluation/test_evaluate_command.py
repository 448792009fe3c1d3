"""``fedliver evaluate``: the scores on the screen and as JSON, and the sentence for grids that differ."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from fedliver.cli.evaluate import evaluate
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume
from fedliver.segmentation_file import write_segmentation

GRID = Geometry(size=(30, 28, 20), spacing=(2.0, 2.0, 3.0), origin=(0.0, 0.0, 0.0), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
app = typer.Typer()
app.command()(evaluate)


def _write(path: Path, shift: int, grid: Geometry = GRID) -> Path:
    array = np.zeros(grid.shape, np.uint8)
    array[4:16, 5:25, 5 + shift : 20 + shift] = 1
    array[6:12, 8:18, 8 + shift : 17 + shift] = 2
    write_segmentation(Volume(array, grid), path)
    return path


@pytest.mark.parametrize("name", ["prediction.nii.gz", "prediction.seg.nrrd"])
def test_json_holds_the_scores(tmp_path: Path, name: str):
    result = CliRunner().invoke(app, [str(_write(tmp_path / name, 3)), str(_write(tmp_path / "reference.nii.gz", 0)), "--json"])
    assert result.exit_code == 0, result.output
    scores = json.loads(result.output)
    assert scores["liver"]["dice"] == pytest.approx(0.8)
    assert scores["liver"]["hd95_mm"] == pytest.approx(6.0)
    assert scores["lesions"] == {"reference": 1, "reference_found": 1, "prediction": 1, "prediction_true": 1, "recall": 1.0, "precision": 1.0}


def test_the_screen_shows_the_scores_of_liver_and_tumour(tmp_path: Path):
    result = CliRunner().invoke(app, [str(_write(tmp_path / "a.nii.gz", 3)), str(_write(tmp_path / "b.nii.gz", 0))])
    assert result.exit_code == 0, result.output
    dice = next(line for line in result.output.splitlines() if line.startswith("Dice"))
    assert dice.split() == ["Dice", "0.800", "0.667"]
    assert "1 of 1 found" in result.output


def test_segmentations_on_other_grids_are_refused(tmp_path: Path):
    moved = replace(GRID, origin=(0.0, 0.0, 9.0))
    result = CliRunner().invoke(app, [str(_write(tmp_path / "a.nii.gz", 0, moved)), str(_write(tmp_path / "b.nii.gz", 0))])
    assert isinstance(result.exception, FedLiverError)
    assert result.exception.code == "different-grid"
