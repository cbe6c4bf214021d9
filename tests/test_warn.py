import warnings

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer


def test_warnings_point_at_the_line_that_fitted(rng, quick):
    X = np.hstack([rng.randn(50, 3), np.ones((50, 3))])
    for model in (
        VAETransformer(**quick, likelihood="gaussian"),
        VAETransformer(**quick, likelihood="gaussian").set_params(),
    ):
        for estimator in (model, make_pipeline(StandardScaler(), model)):
            for call in (estimator.fit, estimator.fit_transform):
                with warnings.catch_warnings(record=True) as got:
                    warnings.simplefilter("always")
                    call(X)
                assert [w.filename for w in got] == [__file__]
