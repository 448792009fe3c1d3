"""What pyproject.toml cannot say: the shipped teacher lies in the extension's Resources, and a wheel carries it as ``fedliver/models``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("FedLiverSlicer/Logic"), "fedliver.models"],
    package_dir={"": "FedLiverSlicer/Logic", "fedliver.models": "FedLiverSlicer/Resources/Models"},
    package_data={"fedliver.models": ["**/*"]},
)
