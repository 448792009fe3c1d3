"""FedLiverSlicer's package: liver CT segmentation that learns in a federation.

Floors, from the ground (nothing imports upwards; ``tests/test_architecture.py`` checks it)::

    errors files watch labels image ct_reader segmentation_file phantom
    teacher training evaluation cases
    site
    coordinator federation
    study slicer
    demo web cli
"""

__version__ = "0.1.0"
