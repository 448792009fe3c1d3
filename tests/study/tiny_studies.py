"""Studies small enough for tests: every kind of arm, in seconds."""

from pathlib import Path

import numpy as np

from fedliver.study.federated.task import Arm, DataSettings, Privacy, ResNetSettings, Structure, Task, TrainingPlan, UNetSettings

PRIVATE = Arm(way="federated", clients=3, privacy=Privacy(norm_bound=0.5, noise_multiplier=0.01))
EVERY_ARM = (
    Arm(way="centralised"),
    Arm(way="alone", clients=3),
    Arm(way="federated", clients=3),
    Arm(way="federated", clients=3, division="unbalanced"),
    Arm(way="federated", clients=3, division="sizes", sizes=(3, 2, 1)),
    Arm(way="federated", clients=3, division="by-group"),
    Arm.model_validate({"way": "federated", "clients": 3, "strategy": {"name": "fedprox", "mu": 1.0}}),
    Arm.model_validate({"way": "federated", "clients": 3, "strategy": {"name": "fedavgm"}}),
    Arm.model_validate({"way": "federated", "clients": 3, "strategy": {"name": "fedadam"}}),
    Arm.model_validate({"way": "federated", "clients": 3, "strategy": {"name": "trimmed-mean"}}),
    Arm(way="federated", clients=3, steps_shared=True),
    Arm(way="federated", clients=3, active=2),
    Arm(way="federated", clients=3, compressed=True),
    PRIVATE,
)


def hearts(arms: tuple[Arm, ...] = EVERY_ARM, seeds: int = 1, **plan: float) -> Task:
    """Eight generated hearts on a coarse grid, and a network of a few hundred weights."""
    return Task(
        name="tiny-hearts",
        title="Tiny hearts",
        kind="segmentation",
        real=False,
        about="Generated hearts.",
        seeds=seeds,
        data=DataSettings(reader="heart-phantom", generated=9, spacing_mm=(8.75, 8.75, 8.75), window=(-150, 450)),
        network=UNetSettings(kind="unet", channels=(4, 8), strides=(2,), residual_units=0),
        training=TrainingPlan.model_validate({"steps": 6, "rounds": 2, "batch_size": 1, "patch_size": (16, 16, 16), "curve_cases": 2} | plan),
        structures=(Structure(name="myocardium", labels=(1,)), Structure(name="left ventricle", labels=(2,))),
        arms=arms,
    )


def pictures(folder: Path, arms: tuple[Arm, ...], each: int = 12, **plan: float) -> Task:
    """Pictures that are brighter on the left or on the right, as PNG in a folder for every class."""
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    for kind in ("left", "right"):
        for number in range(each):
            image = rng.uniform(60, 110, (24, 24))
            image[:, slice(12) if kind == "left" else slice(12, 24)] += 90
            (folder / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.uint8)), str(folder / kind / f"{number:02d}.png"))
    return Task(
        name="tiny-pictures",
        title="Tiny pictures",
        kind="classification",
        real=False,
        about="Left and right.",
        seeds=1,
        data=DataSettings(reader="class-folders", path=folder, size=(24, 24)),
        network=ResNetSettings(kind="resnet18", width=0.0625, norm="group"),
        training=TrainingPlan.model_validate({"steps": 4, "rounds": 2, "batch_size": 8} | plan),
        arms=arms,
    )
