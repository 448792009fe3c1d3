"""A process of its own, in nnU-Net's environment: its own predictor with random weights on a CT; prints seconds as JSON.

Usage: nnunet_predictor.py CT SPACING_MM TILES [--quick]

SPACING_MM is z,y,x; TILES is how many of the sliding window's tiles are run, spread evenly; 0 runs all. Timed is what nnU-Net's
predict_sliding_window_return_logits takes: not reading, resampling, nor exporting. Test-time mirroring is on, as nnU-Net does by default.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

DATASET = {"labels": {"background": 0, "liver": 1, "tumour": 2}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "numTraining": 1}
MIRRORED_PASSES = 8


def plans(spacing_mm: list[float], quick: bool) -> dict[str, Any]:
    """nnU-Net's default 3D plan for such images: patches of 128 cubed, six stages, 32 to 320 features."""
    features = [8, 16] if quick else [32, 64, 128, 256, 320, 320]
    stages = len(features)
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {"patch_size": [32] * 3 if quick else [128] * 3, "spacing": spacing_mm, "batch_size": 2, "architecture": architecture}
    return {"dataset_name": "benchmark", "plans_name": "nnUNetPlans", "label_manager": "LabelManager", "configurations": {"3d_fullres": configuration}}


class TimedPredictor(nnUNetPredictor):
    """nnU-Net's predictor, which runs some of the tiles only and takes the time of each."""

    def __init__(self, tiles: int) -> None:
        super().__init__(device=torch.device("cpu"), allow_tqdm=False)
        self._wanted = tiles
        self.tiles = 0
        self.seconds: list[float] = []

    def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> list[Any]:
        slicers = super()._internal_get_sliding_window_slicers(image_size)
        self.tiles = len(slicers)
        if not 0 < self._wanted < self.tiles:
            return slicers
        return [slicers[int(n)] for n in np.linspace(0, self.tiles - 1, self._wanted).round()]

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        prediction = super()._internal_maybe_mirror_and_predict(x)
        self.seconds.append(time.perf_counter() - started)
        return prediction


def read(ct: Path, spacing_mm: list[float]) -> torch.Tensor:
    """(1, z, y, x) float32 at the plan's spacing, normalised as nnU-Net normalises CT: the values do not matter here, the size does."""
    image = sitk.ReadImage(str(ct), sitk.sitkFloat32)
    spacing = spacing_mm[::-1]
    size = [max(1, round(n * old / new)) for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    resampled = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), -1024.0)
    array = np.clip(sitk.GetArrayFromImage(resampled), -17, 201)
    return torch.from_numpy((array - 99.4) / 39.4)[None].float()


def main(ct: Path, spacing_mm: list[float], tiles: int, quick: bool) -> None:
    import resource
    from importlib.metadata import version

    torch.manual_seed(0)
    manager = PlansManager(plans(spacing_mm, quick))
    configuration = manager.get_configuration("3d_fullres")
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        len(DATASET["labels"]),
        deep_supervision=False,
    )
    predictor = TimedPredictor(tiles)
    predictor.manual_initialization(network, manager, configuration, None, DATASET, "nnUNetTrainer", (0, 1, 2))
    image = read(ct, spacing_mm)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 1, *configuration.patch_size))  # the first pass prepares kernels: not timed, as nobody else's is
    started = time.perf_counter()
    predictor.predict_sliding_window_return_logits(image)
    whole = time.perf_counter() - started
    in_tiles, run = sum(predictor.seconds), len(predictor.seconds)
    result = {
        "spacing_mm": spacing_mm,
        "shape": list(image.shape[1:]),
        "patch_size": list(configuration.patch_size),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tiles": predictor.tiles,
        "tiles_run": run,
        "seconds": whole - in_tiles + in_tiles / run * predictor.tiles,
        "seconds_without_mirroring": whole - in_tiles + in_tiles / run * predictor.tiles / MIRRORED_PASSES,
        "threads": torch.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform.startswith("linux") else 1024**2),
        "versions": {name: version(name) for name in ("nnunetv2", "torch")},
    }
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [float(part) for part in sys.argv[2].split(",")], int(sys.argv[3]), "--quick" in sys.argv)
