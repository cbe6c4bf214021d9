"""Blocks of rows, and scores that do not depend on who else is scored."""

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._evaluation.blocks import BLOCK_ROWS, row_blocks

CPU = torch.device("cpu")


@pytest.mark.parametrize("n", [1, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 3])
def test_blocks_have_one_size_and_all_rows_once(n):
    rows = torch.arange(n)
    parts = [rows[at] for at in row_blocks(n, CPU)]
    assert {len(part) for part in parts} == {BLOCK_ROWS}
    found = torch.cat(parts)
    assert torch.equal(found[:n], rows)
    assert (found[n:] == n - 1).all()


def test_elsewhere_there_is_one_block():
    (at,) = row_blocks(1000, torch.device("meta"))
    assert len(torch.arange(1000)[at]) == 1000


# Nine steps teach codes little.
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", ["gaussian_diag", "bernoulli"])
def test_a_row_s_score_is_its_own(name):
    X = np.random.RandomState(0).uniform(size=(300, 70))
    model = VAETransformer(8, likelihood=name, max_epochs=3, random_state=0).fit(X)
    scores = model.score_samples(X)
    order = np.random.RandomState(1).permutation(len(X))
    tight = {"rtol": 1e-8, "atol": 0.0}
    np.testing.assert_allclose(model.score_samples(X[order]), scores[order], **tight)
    alone = [model.score_samples(X[[i]])[0] for i in range(10)]
    np.testing.assert_allclose(alone, scores[:10], **tight)
