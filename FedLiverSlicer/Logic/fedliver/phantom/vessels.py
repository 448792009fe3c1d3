"""Branching trees: random, but with the daughters thinner than the mother (Murray's law)."""

import numpy as np


def path(corners: np.ndarray, radii: np.ndarray, step: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Points every ``step`` along a line through ``corners`` (n, 3), rounded off, with radii between those given."""
    corners = np.asarray(corners, dtype=float)
    for _ in range(3):  # Chaikin's corner cutting
        if len(corners) > 2:
            cut = np.concatenate([0.75 * corners[:-1] + 0.25 * corners[1:], 0.25 * corners[:-1] + 0.75 * corners[1:]], axis=1).reshape(-1, 3)
            corners = np.concatenate([corners[:1], cut, corners[-1:]])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.arange(0, along[-1] + step, step)
    points = np.stack([np.interp(at, along, corners[:, c]) for c in range(3)], axis=1)
    return points, np.interp(at, np.linspace(0, along[-1], len(radii)), radii)


def grow_tree(
    rng: np.random.Generator, start: np.ndarray, direction: np.ndarray, *, length: float, radius: float, depth: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) and radii (n,) of a tree that forks ``depth`` times."""
    points, radii = [], []
    tips = [(start, direction / np.linalg.norm(direction), length, radius)]
    for _ in range(depth):
        grown = []
        for origin, heading, reach, width in tips:
            bend = origin + heading * reach * 0.5 + rng.normal(size=3) * reach * 0.09
            end = origin + heading * reach
            line, thickness = path(np.array([origin, bend, end]), np.array([width, width * 0.86]), step=max(width * 0.45, 0.6))
            points.append(line)
            radii.append(thickness)
            sideways = np.cross(heading, rng.normal(size=3))
            sideways /= np.linalg.norm(sideways)
            share = rng.uniform(0.4, 0.6)
            for sign, part in ((1, share), (-1, 1 - share)):
                turned = heading + sign * sideways * spread * rng.uniform(0.6, 1.2)
                grown.append((end, turned / np.linalg.norm(turned), reach * rng.uniform(0.68, 0.86), width * 0.86 * part ** (1 / 3)))
        tips = grown
    return np.concatenate(points), np.concatenate(radii)
