"""SearchHeatmapDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible, texts_of
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer
from skvae.inspection import SearchHeatmapDisplay


def results(grid, scores, name="score"):
    return {"params": grid, f"mean_test_{name}": np.asarray(scores, dtype=float)}


GRID = [
    {"vae__kld_weight": w, "vae__latent_dim": k} for w in (1e-4, 1e-2) for k in (8, 2)
]


def drawn(scores, **options):
    names = {"x_name": "kld_weight", "y_name": "latent_dim"}
    n_rows, n_columns = np.shape(scores)
    values = {"x_values": list(range(n_columns)), "y_values": list(range(n_rows))}
    return SearchHeatmapDisplay(scores=scores, **{**values, **names, **options}).plot()


def test_cells_are_in_the_order_of_values():
    display = SearchHeatmapDisplay.from_cv_results(results(GRID, [1, 2, 3, 4]))
    np.testing.assert_array_equal(display.scores, [[2, 4], [1, 3]])
    assert display.x_values == [1e-4, 1e-2]
    assert display.y_values == [2, 8]
    ax = display.ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("kld_weight", "latent_dim")
    assert display.frame_.get_xy() == (1 - 0.48, 0 - 0.46)
    assert_legible(display.figure_)


def test_a_real_search(digits):
    search = GridSearchCV(
        VAETransformer(max_epochs=1, hidden_dims=(8,), random_state=0),
        {"beta": [0.5, 2.0], "latent_dim": [2, 3]},
        cv=2,
    ).fit(digits[:100])
    display = SearchHeatmapDisplay.from_estimator(search)
    expected = search.cv_results_["mean_test_score"].reshape(2, 2).T
    np.testing.assert_array_equal(display.scores, expected)
    i, j = np.unravel_index(display.scores.argmax(), (2, 2))
    assert display.x_values[j] == search.best_params_["beta"]
    assert display.y_values[i] == search.best_params_["latent_dim"]
    assert_legible(display.figure_)


def test_of_several_scores_it_draws_the_one_of_refit():
    found = {
        **results(GRID, [1, 2, 3, 4], "elbo"),
        **results(GRID, [9, 9, 9, 8], "rate"),
    }
    display = SearchHeatmapDisplay.from_cv_results(found)
    assert display.score_name == "held-out ELBO (nats per row)"
    display = SearchHeatmapDisplay.from_cv_results(found, score="rate", score_name="KL")
    assert display.scores.max() == 9
    assert display.colorbar_.ax.get_ylabel() == "KL"
    with pytest.raises(ValueError, match="no held-out 'mse'; it has elbo, rate"):
        SearchHeatmapDisplay.from_cv_results(found, score="mse")


def test_other_parameters_and_what_is_no_number():
    grid = [
        {"likelihood": a, "hidden_dims": b, "lr": c}
        for a in ("gaussian", "student_t")
        for b in ((), (64,))
        for c in (1e-3, 1e-2)
    ]
    display = SearchHeatmapDisplay.from_cv_results(results(grid, range(8)))
    assert (display.x_name, display.y_name) == ("likelihood", "hidden_dims")
    # The best over the learning rates.
    np.testing.assert_array_equal(display.scores, [[1, 5], [3, 7]])
    assert_legible(display.figure_)
    mixed = [{"kld_weight": w, "latent_dim": 2} for w in ("auto", 1e-2, 1e-4)]
    display = SearchHeatmapDisplay.from_cv_results(results(mixed, range(3)))
    assert display.x_values == [1e-4, 1e-2, "auto"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "lr"}, "no parameter 'lr'; it has vae__kld_weight, vae__latent_dim"),
        ({"x": "latent_dim"}, "name two parameters"),
    ],
)
def test_axes_that_are_not_there_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SearchHeatmapDisplay.from_cv_results(results(GRID, range(4)), **options)


def test_one_parameter_makes_no_picture():
    with pytest.raises(ValueError, match="two axes, and the search one parameter"):
        SearchHeatmapDisplay.from_cv_results(results([{"beta": 1.0}], [1]))
    with pytest.raises(ValueError, match="no cv_results_"):
        SearchHeatmapDisplay.from_cv_results({"mean_test_score": [1.0]})


def test_failed_and_hopeless_candidates_leave_the_colours_to_the_others(rng):
    scores = rng.uniform(-90, -80, (4, 4))
    scores[0, 0], scores[2, 1] = np.nan, -1e9
    display = drawn(scores)
    low, high = display.image_.get_clim()
    assert -90 < low < high < -80
    assert display.colorbar_.extend == "min"
    assert "1 without a score" in texts_of(display.ax_)
    assert_legible(display.figure_)
    with pytest.raises(ValueError, match="No candidate has a score"):
        drawn(np.full((2, 2), np.nan))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (12, 1), (8, 24)])
def test_grids_of_all_sizes_are_legible(shape, rng):
    display = drawn(rng.uniform(-3000, -1000, shape))
    assert len(display.texts_) in (0, shape[0] * shape[1])
    assert_legible(display.figure_)


def test_numbers_are_written_with_decimals_that_tell_them_apart():
    assert texts_of(drawn([[0.9341, 0.9352]]).ax_) == ["0.9341", "0.9352"]
    assert texts_of(drawn([[-80.31, -50.22]]).ax_) == ["-80.3", "-50.2"]


def test_one_candidate_has_a_scale_of_colours():
    display = drawn([[-17034.635]])
    assert display.image_.get_clim() == (-17035.635, -17034.635)
    assert_legible(display.figure_)
