"""PruneWithOptuna against the real package."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.callbacks import PruneWithOptuna

optuna = pytest.importorskip("optuna")

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)


class PruneAt(optuna.pruners.BasePruner):
    """Prunes a trial at a step, and notes what it was asked."""

    def __init__(self, step=None):
        self.step = step

    def prune(self, study, trial):
        return trial.last_step == self.step


def study_of(direction="maximize", step=None):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction=direction, pruner=PruneAt(step))


def values(study, number=0):
    return study.get_trials(deepcopy=False)[number].intermediate_values


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_every_epoch_is_reported(Estimator, direction, small, quick):
    study = study_of(direction)
    trial = study.ask()
    model = Estimator(**quick, callbacks=[PruneWithOptuna(trial)]).fit(small)
    column, sign = "valid_recon_loss", -1.0
    if Estimator is VAETransformer:
        column, sign = "valid_elbo", 1.0
    sign = sign if direction == "maximize" else -sign
    found = values(study)
    assert list(found) == [1, 2, 3]
    assert list(found.values()) == [sign * row[column] for row in model.history_]


def test_another_column_is_reported(small, quick):
    study = study_of("minimize")
    prunes = PruneWithOptuna(study.ask(), monitor="train_kl_loss")
    vae = VAETransformer(**quick, early_stopping=False, callbacks=[prunes]).fit(small)
    losses = [row["train_kl_loss"] for row in vae.history_]
    assert list(values(study).values()) == losses


def test_steps_of_folds_rise(small, quick):
    study = study_of()
    vae = VAETransformer(**quick, callbacks=[PruneWithOptuna(study.ask())])
    pipe = make_pipeline(StandardScaler(), vae.set_params(likelihood="gaussian"))
    scores = cross_val_score(pipe, small, cv=3, error_score="raise")
    assert len(scores) == 3
    assert list(values(study)) == list(range(1, 10))


def test_folds_that_stop_early_keep_their_steps(digits, quick):
    """Step 41 is the second fold's first epoch, whenever the first fold ended."""
    study = study_of()
    params = {**quick, "max_epochs": 40, "n_iter_no_change": 2, "lr": 1e-12}
    model = AETransformer(**params, callbacks=[PruneWithOptuna(study.ask())])
    cross_val_score(model, digits[:200], cv=2, error_score="raise")
    assert list(values(study)) == [1, 2, 41, 42]


@pytest.mark.parametrize("step", [2, 5])
def test_pruning_goes_through_a_cross_validation(step, small, quick):
    study = study_of(step=step)

    def objective(trial):
        dim = trial.suggest_int("latent_dim", 1, 4)
        callbacks = [PruneWithOptuna(trial)]
        vae = VAETransformer(**{**quick, "latent_dim": dim}, callbacks=callbacks)
        return cross_val_score(vae, small, cv=3, error_score="raise").mean()

    study.optimize(objective, n_trials=2)
    assert [t.state.name for t in study.trials] == ["PRUNED", "PRUNED"]
    for number in range(2):
        assert list(values(study, number)) == list(range(1, step + 1))


def test_a_hopeless_trial_is_pruned_by_a_real_pruner(digits, quick):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    betas = iter([1.0, 1.1, 1000.0])

    def objective(trial):
        vae = VAETransformer(
            **quick, beta=next(betas), callbacks=[PruneWithOptuna(trial)]
        )
        return vae.fit(digits[:300]).score(digits[300:400])

    study.optimize(objective, n_trials=3)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]


def test_a_pruned_fit_leaves_the_estimator_as_it_was(small, quick):
    model = VAETransformer(**quick).fit(small)
    codes = model.transform(small)
    model.set_params(callbacks=[PruneWithOptuna(study_of(step=2).ask())])
    with pytest.raises(optuna.TrialPruned, match="step 2"):
        model.fit(small[:60])
    np.testing.assert_array_equal(model.transform(small), codes)


def test_folds_after_a_pruned_one_are_not_trained(small, quick):
    """Where nobody has asked scikit-learn to raise."""
    study = study_of(step=5)
    vae = VAETransformer(**quick, callbacks=[PruneWithOptuna(study.ask())])
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
        scores = cross_val_score(vae, small, cv=3)
    assert list(np.isnan(scores)) == [False, True, True]
    assert list(values(study)) == [1, 2, 3, 4, 5]


def test_copies_share_the_trial(small, quick):
    study = study_of()
    trial = study.ask()
    model = AETransformer(**quick, callbacks=[PruneWithOptuna(trial)])
    for other in (clone(clone(model)), copy.deepcopy(model), copy.copy(model)):
        assert other.get_params()["callbacks__PruneWithOptuna__trial"] is trial
        other.fit(small)
    assert list(values(study)) == list(range(1, 10))
    other = study.ask()
    model.set_params(callbacks__PruneWithOptuna__trial=other).fit(small)
    assert list(values(study, 1)) == [1, 2, 3]  # from the beginning


def test_files_have_no_trial(small, quick):
    study = study_of()
    model = AETransformer(**quick, callbacks=[PruneWithOptuna(study.ask())]).fit(small)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.transform(small), model.transform(small))
    with pytest.warns(UserWarning, match="PruneWithOptuna has no trial"):
        loaded.fit(small)
    assert list(values(study)) == [1, 2, 3]


def test_chunks_are_steps(small, quick):
    study = study_of(step=3)
    prunes = PruneWithOptuna(study.ask(), monitor="train_loss")
    model = AETransformer(**quick, callbacks=[prunes])
    for _ in range(2):
        model.partial_fit(small)
    with pytest.raises(optuna.TrialPruned):
        model.partial_fit(small)
    assert list(values(study)) == [1, 2, 3]
    assert model.n_iter_ == 2


def test_a_fixed_trial_is_never_pruned(small, quick):
    trial = optuna.trial.FixedTrial({"latent_dim": 2})
    vae = VAETransformer(**quick, callbacks=[PruneWithOptuna(trial)]).fit(small)
    assert vae.n_iter_ == 3


def test_without_held_out_rows_it_says_what_to_do(small, quick):
    prunes = PruneWithOptuna(study_of().ask())
    model = AETransformer(**quick, early_stopping=False, callbacks=[prunes])
    with pytest.raises(ValueError, match=r"early_stopping=True.*'train_loss'"):
        model.fit(small)


def test_a_column_that_is_not_there_is_an_error(small, quick):
    prunes = PruneWithOptuna(study_of().ask(), monitor="valid_accuracy")
    with pytest.raises(ValueError, match=r"'valid_accuracy', and an epoch has only"):
        AETransformer(**quick, callbacks=[prunes]).fit(small)
