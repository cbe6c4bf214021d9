from functools import partial

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.metrics import (
    active_units,
    code_sparsity,
    distortion,
    elbo_scorer,
    kl_per_unit,
    log_likelihood_scorer,
    rate,
    reconstruction_scorer,
)

# Weights are tried that leave no unit active.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

WEIGHTS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]


@pytest.fixture(scope="module")
def sweep(digits):
    """One model a weight, trained on 1,200 digits."""
    return [
        VAETransformer(
            16,
            kld_weight=weight,
            linear_path=None,
            hidden_dims=(64,),
            max_epochs=40,
            lr=5e-3,
            early_stopping=False,
            random_state=0,
            likelihood="gaussian",
        ).fit(digits[:1200])
        for weight in WEIGHTS
    ]


def test_training_loss_picks_the_smallest_weight_and_the_elbo_an_interior_one(
    sweep, digits
):
    test = digits[1200:]
    losses = [model.history_[-1]["train_loss"] for model in sweep]
    elbos = [elbo_scorer(model, test) for model in sweep]
    assert int(np.argmin(losses)) == 0
    assert 0 < int(np.argmax(elbos)) < len(WEIGHTS) - 1
    reconstructions = [reconstruction_scorer(model, test) for model in sweep]
    assert int(np.argmax(reconstructions)) < int(np.argmax(elbos))


def test_importance_weighted_bound_is_never_below_the_elbo(sweep, digits):
    test = digits[1200:]
    for model in sweep:
        elbo = elbo_scorer(model, test)
        few = log_likelihood_scorer(model, test, n_samples=16)
        many = log_likelihood_scorer(model, test, n_samples=256)
        assert elbo - 1e-6 <= few
        assert few <= many + 0.05


def test_importance_weighted_bound_is_exact_for_a_linear_model(wine):
    """There every importance weight is p(x) itself: PCA's likelihood."""
    vae = VAETransformer(
        4,
        hidden_dims=(),
        lr=1e-12,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
        likelihood="gaussian",
    ).fit(wine)
    assert log_likelihood_scorer(vae, wine, n_samples=3) == pytest.approx(
        vae.score(wine), abs=1e-3
    )
    assert vae.score(wine) == pytest.approx(PCA(4).fit(wine).score(wine), abs=0.02)


def test_elbo_is_minus_distortion_minus_rate(fitted, digits):
    X = digits[1200:1300]
    total = -distortion(fitted, X) - rate(fitted, X)
    np.testing.assert_allclose(total, fitted.score_samples(X), rtol=1e-10)
    assert (rate(fitted, X) > 0).all()
    # The rate also has the choice between network and linear start, row by row.
    kl = kl_per_unit(fitted, X).sum()
    assert np.median(rate(fitted, X)) == pytest.approx(kl, rel=0.05)


def test_elbo_is_accurate(fitted, digits):
    """Against 2,000 plain draws a row: what the docstring says of the cubature."""
    import torch

    from skvae._nn.posterior import draw_posterior

    X = digits[1200:1300]
    x = torch.as_tensor((X - fitted.mean_) / fitted.scale_).float()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        mean, log_var = fitted.module_.encode(x)
        total = torch.zeros(len(x), dtype=torch.float64)
        for _ in range(2000):
            noise = torch.randn(mean.shape, generator=generator)
            z = draw_posterior(mean, log_var, noise)
            total += (fitted.module_.decode(z) - x).square().sum(dim=1).double()
    s2 = fitted.noise_variance_
    error = total.numpy() / 2000 * fitted.scale_**2
    expected = 32 * np.log(2 * np.pi * s2) + error / (2 * s2)
    nats = fitted._evaluate(X).network_distortion - expected
    # What the fit states of its held-out rows, and chance in these.
    assert abs(nats.mean()) < 0.15 + 0.1
    assert np.sqrt(np.square(nats).mean()) < 0.5 + 0.1


def test_active_units_counts_what_varies(fitted, digits):
    assert active_units(fitted, digits) == 6
    assert active_units(fitted, digits, threshold=2.0) == 0


def test_scorers_go_through_pipelines_and_searches(digits, quick):
    X = digits[:150]
    pipeline = make_pipeline(
        StandardScaler(), VAETransformer(**quick, likelihood="gaussian")
    ).fit(X)
    inner = pipeline[-1]
    scaled = pipeline[:-1].transform(X)
    assert elbo_scorer(pipeline, X) == pytest.approx(inner.score(scaled))
    assert reconstruction_scorer(pipeline, X) == reconstruction_scorer(inner, scaled)
    grid = GridSearchCV(pipeline, {"vaetransformer__latent_dim": [2]}, cv=2).fit(X)
    assert elbo_scorer(grid, X) == pytest.approx(grid.best_estimator_.score(X))


@pytest.mark.parametrize(
    "scoring",
    [
        None,
        elbo_scorer,
        log_likelihood_scorer,
        partial(log_likelihood_scorer, n_samples=4),
        reconstruction_scorer,
    ],
)
def test_scorers_rank_a_search(digits, quick, scoring):
    grid = GridSearchCV(
        VAETransformer(**quick, likelihood="gaussian"),
        {"latent_dim": [1, 4]},
        scoring=scoring,
        cv=2,
    ).fit(digits[:200])
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_no_scoring_is_the_elbo(digits, quick):
    params = {"latent_dim": [1, 4]}
    scores = [
        GridSearchCV(
            VAETransformer(**quick, likelihood="gaussian"),
            params,
            scoring=scoring,
            cv=2,
        )
        .fit(digits[:200])
        .cv_results_["mean_test_score"]
        for scoring in (None, elbo_scorer)
    ]
    np.testing.assert_array_equal(*scores)


def test_models_without_a_likelihood_are_refused(small):
    with pytest.raises(TypeError, match="PCA has no likelihood"):
        elbo_scorer(PCA(2).fit(small), small)
    with pytest.raises(ValueError, match="n_samples"):
        log_likelihood_scorer(PCA(2).fit(small), small, n_samples=0)


def test_searches_without_a_model_are_clear_errors(digits, quick):
    grid = GridSearchCV(
        VAETransformer(**quick, likelihood="gaussian"), {"latent_dim": [1, 2]}, cv=2
    )
    for scorer in (elbo_scorer, reconstruction_scorer):
        with pytest.raises(NotFittedError):
            scorer(grid, digits)
    grid.set_params(refit=False).fit(digits[:60])
    with pytest.raises(ValueError, match="refit=False"):
        elbo_scorer(grid, digits)
    with pytest.raises(TypeError, match="PCA is no autoencoder"):
        reconstruction_scorer(PCA(2).fit(digits), digits)


def test_measures_take_what_is_known_of_rows(digits, quick):
    X = np.round(16.0 * digits[:200])
    batch, size = (np.arange(200) % 2).astype(str)[:, None], X.sum(axis=1)
    given = {"conditions": batch, "size_factor": size}
    vae = VAETransformer(**quick, likelihood="poisson").fit(X, **given)
    evaluation = vae._evaluate(X, **given)
    pipeline = make_pipeline("passthrough", vae)
    for model in (vae, pipeline):
        np.testing.assert_array_equal(rate(model, X, **given), evaluation.rate)
        found = distortion(model, X, **given)
        np.testing.assert_array_equal(found, evaluation.distortion)
        assert kl_per_unit(model, X, **given).shape == (vae.latent_dim,)
        assert elbo_scorer(model, X, **given) == evaluation.elbo.mean()
        bound = log_likelihood_scorer(model, X, n_samples=32, **given)
        assert evaluation.elbo.mean() < bound < 0.0
        error = vae.reconstruction_error(X, **given).mean()
        assert reconstruction_scorer(model, X, **given) == -error
        assert 0 <= active_units(model, X, **given) <= vae.latent_dim
        assert 0.0 <= code_sparsity(model, X, **given) < 1.0
    for measure in (rate, elbo_scorer, log_likelihood_scorer, reconstruction_scorer):
        with pytest.raises(ValueError, match="was fitted with"):
            measure(vae, X)
