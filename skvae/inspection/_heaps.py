"""Points that a picture shows in one place."""

import numpy as np

# Shares of the picture's width and height within which points lie on each other.
COINCIDE = 0.02


def heaps(position: np.ndarray, frame: np.ndarray) -> list[np.ndarray]:
    """Indices of points (n, 2) in one place, heap by heap.

    ``frame`` (2,) is the width and the height of the picture.
    """
    unit = position / np.where(frame > 0.0, frame, 1.0)
    left, found = np.arange(len(unit)), []
    while len(left):
        near = np.abs(unit[left] - unit[left[0]]).max(axis=1) <= COINCIDE
        found.append(left[near])
        left = left[~near]
    return found


def rings(found: list[np.ndarray], n: int) -> np.ndarray:
    """The number of every point within its heap: each is drawn as a wider ring."""
    numbers = np.zeros(n, int)
    for heap in found:
        numbers[heap] = np.arange(len(heap))
    return numbers


def size_of_ring(ring: int) -> float:
    """Area of a marker, in square points."""
    return 70.0 * (1 + ring) ** 1.5


def count_heaps(ax, position, found: list[np.ndarray], numbers, what: str) -> None:
    """Say how many lie in one place."""
    for heap in found:
        if len(heap) > 1:
            radius = size_of_ring(numbers[heap].max()) ** 0.5 * 0.6
            ax.annotate(
                f"{len(heap)} {what}",
                position[heap[0]],
                xytext=(radius, radius),
                textcoords="offset points",
                fontsize=8,
                zorder=5,
            )
