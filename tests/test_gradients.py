import copy
from itertools import product

import numpy as np
import pytest
import torch
from _make import elbo, gaussian, minibatch, penalised
from skorch.callbacks import Callback

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._engine.gradients import Gradients
from skvae._nn.autoencoder import ACTIVATIONS, VAE, Autoencoder
from skvae._nn.thresholds import ThresholdedAutoencoder, threshold_of_weight
from skvae._objectives.criterion import Criterion

D = 7
CASES = [
    (VAE, elbo(D, 0.3)),
    (VAE, elbo(D, None, 0.7)),
    (VAE, elbo(D, 0.3, schedule=lambda progress: 0.5)),
    (VAE, elbo(D, 0.3, free_bits=0.1)),
    (Autoencoder, penalised(D)),
    (Autoencoder, penalised(D, "l2", 0.2)),
    (Autoencoder, penalised(D, "l1", 0.2)),
    (ThresholdedAutoencoder, penalised(D, "l1", 0.2)),
    (ThresholdedAutoencoder, penalised(D, "soft_threshold", 0.2)),
    # hardly a code that is not zero
    (ThresholdedAutoencoder, penalised(D, "soft_threshold", 5.0)),
]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def make(kind, threshold=0.0, **options):
    """A module in float64, all of whose parameters are random."""
    module = kind(D, 3, **{"hidden_dims": (9, 6), **options}).double()
    if kind is ThresholdedAutoencoder:
        module.threshold.fill_(threshold)
    source = generator(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=source)
    return module


def rows(n_rows=11):
    return torch.randn(n_rows, D, dtype=torch.float64, generator=generator(3))


def autograd(module, criterion, x):
    terms = criterion.terms(module, minibatch(x), generator(2))
    gradients = torch.autograd.grad(criterion(terms), list(module.parameters()))
    return terms.detach(), list(gradients)


def derived(module, criterion, x):
    gradients = Gradients(module, criterion)
    assert gradients.covered()
    gradients.attach()
    gradients.flat.fill_(torch.nan)  # every one must be written, none added to
    terms = gradients.compute(minibatch(x), generator(2))
    return terms, [p.grad.clone() for p in module.parameters()]


def threshold_of(criterion):
    if getattr(criterion, "thresholds", False):
        return threshold_of_weight(criterion.reg_weight, D)
    return 0.0


@pytest.mark.parametrize(("kind", "criterion"), CASES)
@pytest.mark.parametrize(
    ("activation", "batch_norm"), list(product(ACTIVATIONS, (True, False)))
)
@pytest.mark.parametrize("linear_path", [True, False])
def test_gradients_are_autograd_s(kind, criterion, activation, batch_norm, linear_path):
    criterion = criterion.double()
    criterion.set_progress(0.3)
    for dropout_rate, hidden_dims in product((0.0, 0.3), ((9, 6), (4,), ())):
        module = make(
            kind,
            activation=activation,
            use_batch_norm=batch_norm,
            linear_path=linear_path,
            dropout_rate=dropout_rate,
            hidden_dims=hidden_dims,
            threshold=threshold_of(criterion),
        )
        expected = autograd(module, criterion, rows())
        got = derived(module, criterion, rows())
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_gradients_are_those_of_finite_differences(activation):
    module = make(VAE, activation=activation, hidden_dims=(4,))
    criterion = elbo(D, 0.3).double()
    _, gradients = derived(module, criterion, rows())
    torch.autograd.gradcheck(
        _DerivedLoss.apply,
        (module, criterion, gradients, *module.parameters()),
        eps=1e-6,
    )


class _DerivedLoss(torch.autograd.Function):
    """The loss as a function of the parameters, with the derived gradients."""

    @staticmethod
    def forward(ctx, module, criterion, gradients, *parameters):
        ctx.gradients = gradients
        return criterion(criterion.terms(module, minibatch(rows()), generator(2)))

    @staticmethod
    def backward(ctx, upstream):
        return None, None, None, *(upstream * g for g in ctx.gradients)


def test_batch_normalisation_keeps_the_same_statistics():
    one, other = make(VAE), make(VAE)
    criterion = elbo(D, 0.3).double()
    for _ in range(3):
        autograd(one, criterion, rows())
    gradients = Gradients(other, criterion)
    gradients.attach()
    gradients.count_batches(3)
    for _ in range(3):
        gradients.compute(minibatch(rows()), generator(2))
    torch.testing.assert_close(other.state_dict(), one.state_dict())


def test_gradients_are_written_where_the_last_ones_were():
    module, criterion = make(VAE), elbo(D, 0.3).double()
    gradients = Gradients(module, criterion)
    places = set()
    for _ in range(3):
        gradients.attach()
        gradients.compute(minibatch(rows()), generator(2))
        places.add(tuple(p.grad.data_ptr() for p in module.parameters()))
    assert len(places) == 1
    norm = torch.stack([p.grad.square().sum() for p in module.parameters()]).sum()
    torch.testing.assert_close(gradients.flat.square().sum(), norm)


class _OtherVAE(VAE):
    pass


def _with_hook(module):
    module.encoder.register_forward_hook(lambda *_: None)
    return module


def _frozen(module):
    next(iter(module.parameters())).requires_grad_(False)
    return module


def _weight_normed(module):
    torch.nn.utils.parametrizations.weight_norm(module.decoder.out)
    return module


def _replaced(module):
    module.decoder.out = torch.nn.Sequential(module.decoder.out)
    return module


@pytest.mark.parametrize(
    ("module", "criterion"),
    [
        (_OtherVAE(D, 3), elbo(D, 0.3)),
        (_with_hook(VAE(D, 3)), elbo(D, 0.3)),
        (_frozen(VAE(D, 3)), elbo(D, 0.3)),
        (_weight_normed(VAE(D, 3)), elbo(D, 0.3)),
        (_replaced(VAE(D, 3)), elbo(D, 0.3)),
        (VAE(D, 3), penalised(D)),
        (Autoencoder(D, 3), penalised(D, None, 0.0, "gradient")),
        (Autoencoder(D, 3), Criterion(gaussian(D))),
    ],
)
def test_what_was_not_derived_is_left_to_autograd(module, criterion):
    assert not Gradients(module, criterion).covered()


@pytest.mark.parametrize(
    "estimator",
    [
        VAETransformer(kld_weight=1e-3, dropout_rate=0.1),
        VAETransformer(linear_path=None, activation="swiglu", free_bits=0.1),
        AETransformer(),
        RAETransformer(),
        SAETransformer(),
        SAETransformer(reg_weight=1e-3, linear_path=None, dropout_rate=0.1),
        SAETransformer(code_penalty="l1", reg_weight=1e-3),
    ],
)
def test_a_fit_is_the_same_with_and_without(estimator, small, quick, monkeypatch):
    estimator.set_params(**quick)
    fast = estimator.fit(small).transform(small)
    calls = []
    monkeypatch.setattr(Gradients, "covered", lambda self: bool(calls.append(self)))
    slow = estimator.fit(small).transform(small)
    assert calls
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-3)


def test_a_callback_may_end_it_in_the_middle_of_training(small, quick, monkeypatch):
    seen = []
    covered = Gradients.covered

    def watch(gradients):
        seen.append(covered(gradients))
        return seen[-1]

    class Freeze(Callback):
        def on_epoch_end(self, net, **kwargs):
            for parameter in net.module_.encoder.parameters():
                parameter.requires_grad_(False)

    class Record(Callback):
        """What the encoder was like at the end of every epoch."""

        def __init__(self):
            self.weights = []

        def on_epoch_end(self, net, **kwargs):
            weight = net.module_.encoder.mean.weight
            self.weights.append(weight.detach().clone())

    monkeypatch.setattr(Gradients, "covered", watch)
    record = Record()
    VAETransformer(**quick, early_stopping=False, callbacks=[Freeze(), record]).fit(
        small
    )
    assert seen == [True, False, False]
    assert torch.equal(record.weights[0], record.weights[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    ("kind", "criterion"), [case for case in CASES if not threshold_of(case[1])]
)
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_gradients_on_a_gpu_are_those_on_the_cpu(kind, criterion, activation):
    module = make(kind, activation=activation, linear_path=True)
    criterion, x = copy.deepcopy(criterion).double(), rows()
    if kind is VAE:
        # The two draw other noise: let there be none to draw.
        module.encoder.log_var.bias.data.fill_(-200.0)
        module.encoder.log_var.weight.data.zero_()
        module.encoder.linear_log_var.data.zero_()
    _, expected = derived(module, criterion, x)
    moved = copy.deepcopy(module).cuda()
    gradients = Gradients(moved, criterion.cuda())
    gradients.attach()
    gradients.compute(minibatch(x.cuda()), torch.Generator("cuda").manual_seed(2))
    got = [p.grad.cpu() for p in moved.parameters()]
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_let_go_after_training(small, quick):
    estimator = VAETransformer(**quick).fit(small)
    assert all(p.grad is None for p in estimator.module_.parameters())
