"""A teacher on disk: a MONAI bundle, read without executing anything that is in it.

MONAI's own loader evaluates expressions in a bundle's configuration. A bundle may come from outside, so this reader takes
from it only the plan (validated JSON) and the weights (``torch.load(weights_only=True)``), and builds the network
itself. Other MONAI tools open the same folder through ``configs/inference.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedliver import __version__
from fedliver.errors import FedLiverError
from fedliver.files import check_replaceable, sha256_of, write_folder, write_text
from fedliver.teacher.network import build_network, unet_arguments
from fedliver.teacher.plan import NetworkPlan, StagePlan, TeacherPlan

if TYPE_CHECKING:
    import torch

_MODELS = (Path(__file__).resolve().parents[3] / "Resources" / "Models", Path(__file__).resolve().parents[1] / "models")
"""Where the shipped teacher lies: in the extension's resources; in the package, when it was installed as a wheel."""
STARTER = next((folder for folder in _MODELS if folder.is_dir()), _MODELS[0]) / "fedliver_starter"
_METADATA = Path("configs/metadata.json")
_INFERENCE = Path("configs/inference.json")
_WEIGHTS = Path("models/model.pt")
_FINDER_WEIGHTS = Path("models/finder.pt")
_CARD = Path("docs/README.md")
_METADATA_LIMIT = 1 << 20
_WEIGHTS_LIMIT = 1 << 30
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Teacher:
    """A network with the plan that says how to use it. ``sha256`` is of the bundle folder it came from."""

    network: "torch.nn.Module"
    plan: TeacherPlan
    name: str
    version: str
    sha256: str


def load_bundle(path: Path) -> Teacher:
    """Read a bundle folder.

    Raises
    ------
    FedLiverError
        ``not-a-bundle``, ``bundle-plan``, ``weights-unsafe`` (not a plain weight file) or ``weights-do-not-fit``.
    """
    if not (path / _METADATA).is_file() or not (path / _WEIGHTS).is_file():
        raise FedLiverError("not-a-bundle", f"{path} is not a teacher bundle: it must be a folder with {_METADATA} and {_WEIGHTS}.")
    metadata = _read_metadata(path)
    try:
        plan = TeacherPlan.model_validate(metadata.get("fedliver_plan"))
    except ValueError as error:
        raise FedLiverError(
            "bundle-plan",
            f"The bundle {path.name} has no usable plan (fedliver_plan in {_METADATA}): export it again with fedliver {__version__}.",
        ) from error
    network = build_network(plan)
    for part, file in _parts(network, plan).items():
        _load_weights(part, path / file)
    return Teacher(network.eval(), plan, _word(metadata.get("name", path.name)), _word(metadata.get("version", "unknown")), sha256_of(path))


def _word(said: object) -> str:
    """A name from outside as it may be shown: short, and nothing in it that steers a terminal."""
    return "".join(letter for letter in str(said)[:_LONGEST_NAME] if letter.isprintable())


def _read_metadata(path: Path) -> dict[str, Any]:
    file = path / _METADATA
    try:
        if file.stat().st_size > _METADATA_LIMIT:
            raise ValueError("too large")
        metadata = json.loads(file.read_text())
        if not isinstance(metadata, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise FedLiverError("bundle-plan", f"The bundle {path.name} has an unreadable {_METADATA}: get the bundle again.") from error
    return metadata


def _parts(network: "torch.nn.Module", plan: TeacherPlan) -> "dict[torch.nn.Module, Path]":
    """The networks inside ``network`` and the weight file of each: other MONAI tools open the fine one by itself."""
    return {network: _WEIGHTS} if plan.finder is None else {network.fine: _WEIGHTS, network.finder: _FINDER_WEIGHTS}  # type: ignore[dict-item]


def _load_weights(network: "torch.nn.Module", file: Path) -> None:
    import pickle

    import torch

    name = file.parents[1].name
    if not file.is_file():
        raise FedLiverError("not-a-bundle", f"{name} is not a whole teacher bundle: models/{file.name} is missing; get the bundle again.")
    if file.stat().st_size > _WEIGHTS_LIMIT:
        raise FedLiverError("weights-do-not-fit", f"The weights of {name} are larger than 1 GB: this is not a teacher of ours.")
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FedLiverError(
            "weights-unsafe",
            f"The weights of {name} are not a plain weight file, so they were not opened: get the bundle again from a source you trust.",
        ) from error
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise FedLiverError(
            "weights-do-not-fit", f"The weights of {name} do not fit the network its plan describes: the bundle is damaged or mixed up; get it again."
        ) from error


def save_bundle(network: "torch.nn.Module", plan: TeacherPlan, target: Path, *, name: str, version: str, card: str = "") -> Teacher:
    """Write ``network`` as a MONAI bundle folder, whole or not at all, and return it as the teacher that :func:`load_bundle` would give."""
    import torch

    def fill(folder: Path) -> None:
        for file in (_METADATA, _WEIGHTS, _CARD):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / _METADATA).write_text(json.dumps(_metadata(plan, name, version), indent=2) + "\n")
        (folder / _INFERENCE).write_text(json.dumps(_inference_configuration(plan), indent=2) + "\n")
        for part, file in _parts(network, plan).items():
            torch.save({key: value.detach().to("cpu").contiguous() for key, value in part.state_dict().items()}, folder / file)
        (folder / _CARD).write_text(card or f"# {name}\n\nVersion {version}. A teacher of FedLiverSlicer: liver and tumour in CT. Research use only.\n")

    write_folder(target, fill, mark=_METADATA.as_posix())
    return Teacher(network.eval(), plan, name, version, sha256_of(target))


def check_bundle_target(target: Path) -> None:
    """Ask before a training whether :func:`save_bundle` may write here. Raises FedLiverError ``exists`` for a folder with other things in it."""
    check_replaceable(target, _METADATA.as_posix())


def set_calibration(bundle: Path, calibration: tuple[float, float]) -> None:
    """Give the bundle's plan another calibration; its weights and all else stay as they are (what :func:`load_bundle` raises)."""
    plan = load_bundle(bundle).plan.model_copy(update={"calibration": calibration})
    metadata = _read_metadata(bundle) | {"fedliver_plan": plan.model_dump(mode="json")}
    write_text(bundle / _METADATA, json.dumps(metadata, indent=2) + "\n")


def _metadata(plan: TeacherPlan, name: str, version: str) -> dict[str, Any]:
    import monai
    import numpy
    import torch

    low, high = plan.window_hu
    return {
        "name": name,
        "version": version,
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": numpy.__version__,
        "task": "Segmentation of liver and liver tumour in CT",
        "description": "A 3D U-Net of FedLiverSlicer, trained and improved by federated learning",
        "authors": "FedLiverSlicer contributors",
        "copyright": "FedLiverSlicer contributors",
        "intended_use": "Research only: no medical device, and no commercial use unless docs/README.md says that what it was trained on allows it",
        "fedliver_plan": plan.model_dump(mode="json"),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": 1,
                    "spatial_shape": list(plan.patch_size),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": f"HU, {low:g} to {high:g} mapped to 0 to 1"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 3,
                    "spatial_shape": list(plan.patch_size),
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": "background", "1": "liver", "2": "tumour"},
                }
            },
        },
    }


def _inference_configuration(plan: TeacherPlan) -> dict[str, Any]:
    configuration = {"imports": ["$import torch", "$import monai"], "bundle_root": ".", "image": "ct.nii.gz", **_stage_configuration(plan, "")}
    if plan.finder is not None:
        configuration |= _stage_configuration(plan.finder, "finder_")
    return configuration


def _stage_configuration(plan: StagePlan, prefix: str) -> dict[str, Any]:
    low, high = plan.window_hu
    return {
        **_network_configuration(plan.network, prefix),
        f"{prefix}preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": list(plan.spacing_mm), "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": low, "a_max": high, "b_min": 0.0, "b_max": 1.0, "clip": True},
            ],
        },
        f"{prefix}inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(plan.patch_size),
            "overlap": plan.overlap,
            "mode": "gaussian",
            "cval": plan.padding_value,
        },
        f"{prefix}postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]},
    }


def _network_configuration(plan: NetworkPlan, prefix: str) -> dict[str, Any]:
    """What MONAI's own parser builds the network from. Only other tools read it; :func:`load_bundle` builds from the plan."""
    unet = {"_target_": "UNet", **unet_arguments(plan)}
    if plan.fold == 1:
        return {f"{prefix}network_def": unet}
    fold = f"monai.networks.blocks.SubpixelDownsample(3, 1, scale_factor={plan.fold}, conv_block=None)"
    unfold = f"monai.networks.blocks.SubpixelUpsample(3, 3, scale_factor={plan.fold}, conv_block=None, apply_pad_pool=False)"
    return {f"{prefix}unet": unet, f"{prefix}network_def": f"$torch.nn.Sequential({fold}, @{prefix}unet, {unfold})"}
