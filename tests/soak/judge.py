"""Does a figure stay where it is while the load does? Says of a series of samples whether it is flat, or grows.

The samples after the warm-up are cut into four quarters, and of each quarter the median counts, which neither a few
outliers nor a sawtooth shorter than a quarter move. A series grows when its last quarter lies above its first by more
than the allowance, and it rose before the third and after: by an eighth of that each time. So a step that comes once
(an arena that Python's allocator takes, a table that doubles) is no leak, wherever it comes; and a leak that is small
beside the noise is found as soon as it has added up. A series that falls is flat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

LEAST_SAMPLES = 16


@dataclass(frozen=True)
class Allowance:
    """By how much a figure may be higher at the end: a share of what it is, or a fixed amount where that is more."""

    share: float
    amount: float

    def of(self, level: float) -> float:
        return max(self.share * level, self.amount)


@dataclass(frozen=True)
class Verdict:
    """`quarters` are the four medians; `allowed` is the allowance for this level."""

    quarters: tuple[float, float, float, float]
    allowed: float

    @property
    def growth(self) -> float:
        return self.quarters[3] - self.quarters[0]

    @property
    def grows(self) -> bool:
        first, _, third, fourth = self.quarters
        return fourth - first > self.allowed and min(third - first, fourth - third) > self.allowed / 8


def judge(samples: Sequence[float], allowance: Allowance) -> Verdict:
    """`samples` are evenly spaced in time, without the warm-up. Raises ValueError where they are too few to tell."""
    if len(samples) < LEAST_SAMPLES:
        raise ValueError(f"{len(samples)} samples tell nothing: at least {LEAST_SAMPLES}")
    cuts = [len(samples) * quarter // 4 for quarter in range(5)]
    first, second, third, fourth = (median(samples[cuts[i] : cuts[i + 1]]) for i in range(4))
    return Verdict((first, second, third, fourth), allowance.of(first))
