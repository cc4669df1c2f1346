"""The model: scikit-learn's IsolationForest over the features of cells, fitted anew for every week."""

from typing import Protocol

import numpy as np

from quality.detector.panel import FloatArray

TREES = 100
SAMPLE = 512  # rows that one tree sees
ROWS = 20_000  # past cells that a forest is fitted to at most
ANCHORS = 4_000  # made-up rows
WIDTH = 2.5  # mean of a feature of a made-up row, in standard deviations


class Scorer(Protocol):
    """What a fitted forest can do."""

    def score_samples(self, X: FloatArray, /) -> FloatArray:  # noqa: N803 -- scikit-learn's name
        """How ordinary each row is: lower is stranger."""
        ...


def fitted(past: FloatArray, seed: int) -> Scorer:
    """A forest over `past` (cells x features) and made-up rows, exponential in every feature.

    All features are >= 0 and strange at one end only. A forest of ordinary cells alone ends its trees where those end,
    and takes everything beyond for equally strange. The made-up rows are far apart out there, so it goes on telling
    strange from stranger. Uniform samples of the space as a contrast: Breiman and Cutler's unsupervised random forest;
    isolation: Liu, Ting and Zhou, "Isolation Forest", 2008.
    """
    from sklearn.ensemble import IsolationForest  # type: ignore[import-untyped]  # noqa: PLC0415 -- one second

    made_up = np.random.default_rng(seed).exponential(WIDTH, (ANCHORS, past.shape[1]))
    rows = np.vstack([past, made_up])
    forest: Scorer = IsolationForest(n_estimators=TREES, max_samples=min(SAMPLE, len(rows)), random_state=seed).fit(
        rows
    )
    return forest


def ordinary(rows: int, features: int, seed: int) -> FloatArray:
    """Made-up ordinary cells, for a past that is still short: half normal in every feature."""
    return np.abs(np.random.default_rng(seed).standard_normal((rows, features)))


def strangeness(forest: Scorer, rows: FloatArray) -> FloatArray:
    """Isolation of each row, in (0, 1); higher is stranger. scikit-learn returns its negative: turned here, once.

    Never spread over threads: they would add up the trees in an order of their own, and round differently.
    """
    from joblib import parallel_config  # type: ignore[import-untyped]  # noqa: PLC0415 -- comes with scikit-learn

    if not len(rows):
        return np.zeros(0)
    with parallel_config("sequential"):
        return np.asarray(-forest.score_samples(rows))
