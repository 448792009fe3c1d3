"""``fedliver.federation.warm_stand_in`` before the warm process of ``tiny_warm.py``."""

from fedliver.federation import warm_stand_in

if __name__ == "__main__":
    warm_stand_in.main("tiny_warm")
