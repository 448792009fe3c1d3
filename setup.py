"""What pyproject.toml cannot say: the shipped teacher lies in the Resources, and a wheel carries it as ``fedliver/models``, and the studies' tasks."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("FedLiverSlicer/Logic"), "fedliver.models", "fedliver.ui"],
    package_dir={"": "FedLiverSlicer/Logic", "fedliver.models": "FedLiverSlicer/Resources/Models", "fedliver.ui": "FedLiverSlicer/Resources/UI"},
    package_data={"fedliver.models": ["**/*"], "fedliver.ui": ["*.ui"], "fedliver.web": ["assets/*"], "fedliver.study": ["tasks/*.toml"]},
)
