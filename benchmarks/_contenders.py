"""What ``speed.py`` compares: a function per library that fits a workload's model.

Every library is imported where it is used, since each may have an environment of its
own. A function goes from the table in memory to the fitted model.
"""

import tempfile
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from _plain import PlainVAE, fit_cuda_graph, fit_plain, vae_loss
from _products import fit_nothing
from _workloads import DROPOUT, KLD_WEIGHT, LR, Workload, dense
from torch.utils.data import DataLoader, TensorDataset

Fit = Callable[[Any, Workload, str], Any]


class Contender(NamedTuple):
    """A function, what it needs, and in what it differs from the plain loop.

    Without ``requirements`` it runs in the environment that runs the script.
    """

    fit: Fit
    note: str
    packages: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    kinds: tuple[str, ...] = ("digits", "random", "counts")


def fit_skvae(X: Any, w: Workload, device: str) -> Any:
    """The public estimator."""
    from skvae import VAETransformer

    return VAETransformer(
        w.latent_dim,
        hidden_dims=w.hidden_dims,
        dropout_rate=DROPOUT,
        kld_weight=KLD_WEIGHT,
        linear_path=None,
        lr=LR,
        lr_schedule="constant",
        batch_size=w.batch_size,
        max_epochs=w.epochs,
        early_stopping=False,
        device=device,
        random_state=0,
    ).fit(X)


def fit_skorch(X: Any, w: Workload, device: str) -> Any:
    """skorch as its documentation has it: a net, a loss, and its own DataLoader."""
    from skorch import NeuralNet

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return vae_loss(y_pred, X.to(self.device))

    torch.manual_seed(0)
    return Net(
        PlainVAE,
        module__w=w,
        criterion=torch.nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=LR,
        batch_size=w.batch_size,
        max_epochs=w.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        device=device,
        verbose=0,
    ).fit(X)


def fit_lightning(X: Any, w: Workload, device: str) -> Any:
    """A LightningModule around the plain one."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.vae = PlainVAE(w)

        def training_step(self, batch, batch_idx):
            return vae_loss(self.vae(batch[0]), batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=LR)

    torch.manual_seed(0)
    module = Module()
    rows = TensorDataset(torch.from_numpy(dense(X)))
    trainer = lightning.Trainer(
        max_epochs=w.epochs,
        accelerator=_accelerator(device),
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(rows, batch_size=w.batch_size, shuffle=True))
    return module


def fit_pythae(X: Any, w: Workload, device: str) -> Any:
    """pythae's pipeline around the plain layers."""
    from pythae.models import BetaVAE, BetaVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self, plain: PlainVAE) -> None:
            super().__init__()
            self.mlp, self.mean, self.log_var = (
                plain.encoder,
                plain.mean,
                plain.log_var,
            )

        def forward(self, x):
            h = self.mlp(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self, plain: PlainVAE) -> None:
            super().__init__()
            self.mlp, self.out = plain.decoder, plain.out

        def forward(self, z):
            return ModelOutput(reconstruction=self.out(self.mlp(z)))

    torch.manual_seed(0)
    plain = PlainVAE(w)
    # Its loss is the plain one times D / 2, which Adam does not see.
    config = BetaVAEConfig(
        input_dim=(w.columns,),
        latent_dim=w.latent_dim,
        reconstruction_loss="mse",
        beta=KLD_WEIGHT * w.columns / 2,
    )
    model = BetaVAE(config, Encoder(plain), Decoder(plain))
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=w.epochs,
            learning_rate=LR,
            per_device_train_batch_size=w.batch_size,
            no_cuda=device == "cpu",
        )
        TrainingPipeline(model, trainer)(dense(X))
    return model


def fit_pyod(X: Any, w: Workload, device: str) -> Any:
    """pyod's VAE, as near as its options come."""
    from pyod.models.vae import VAE

    return VAE(
        preprocessing=False,
        lr=LR,
        epoch_num=w.epochs,
        batch_size=w.batch_size,
        optimizer_params={},
        beta=KLD_WEIGHT,
        # The default caps the KL at 0, which is no KL.
        capacity=float("inf"),
        encoder_neuron_list=list(w.hidden_dims),
        decoder_neuron_list=list(w.hidden_dims[::-1]),
        latent_dim=w.latent_dim,
        hidden_activation_name="elu",
        batch_norm=True,
        dropout_rate=DROPOUT,
        device=torch.device(device),
        random_state=0,
        verbose=0,
    ).fit(dense(X))


def fit_scvi(X: Any, w: Workload, device: str) -> Any:
    """scVI from a matrix of counts."""
    import scvi
    from anndata import AnnData

    scvi.settings.seed = 0
    cells = AnnData(X)
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(
        cells,
        n_hidden=w.hidden_dims[0],
        n_layers=len(w.hidden_dims),
        n_latent=w.latent_dim,
        dropout_rate=DROPOUT,
        gene_likelihood="nb",
    )
    model.train(
        max_epochs=w.epochs,
        batch_size=w.batch_size,
        train_size=1.0,
        plan_kwargs={"lr": LR},
        accelerator=_accelerator(device),
        devices=1,
        enable_progress_bar=False,
    )
    return model


def fit_mlp(X: Any, w: Workload, device: str) -> Any:
    """A regression of X on itself, through the widths of the whole network."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MLPRegressor(
            hidden_layer_sizes=(*w.hidden_dims, w.latent_dim, *w.hidden_dims[::-1]),
            alpha=0.0,
            batch_size=w.batch_size,
            learning_rate_init=LR,
            max_iter=w.epochs,
            tol=0.0,
            n_iter_no_change=w.epochs + 1,
            random_state=0,
        ).fit(X, dense(X))


def fit_pca(X: Any, w: Workload, device: str) -> Any:
    """The linear model; its default solver is ARPACK where X is sparse."""
    from sklearn.decomposition import PCA

    return PCA(w.latent_dim, random_state=0).fit(X)


def _accelerator(device: str) -> str:
    return "gpu" if device == "cuda" else "cpu"


REFERENCE = "plain loop"
CONTENDERS = {
    "skvae": Contender(
        fit_skvae,
        "with checks, history, clipped gradients and calibration",
        ("skvae", "skorch", "scikit-learn"),
    ),
    REFERENCE: Contender(fit_plain, "what the ratios are to"),
    "products alone": Contender(
        fit_nothing,
        "the dense matrix products of its steps and nothing else: a floor",
        ("skvae",),
    ),
    "cuda graph loop": Contender(
        fit_cuda_graph,
        "each step replayed as one CUDA graph, but for the last, shorter minibatch",
        devices=("cuda",),
    ),
    "plain skorch": Contender(fit_skorch, "DataLoader", ("skorch",)),
    "pythae": Contender(
        fit_pythae,
        "DataLoader; copies the best epoch's model, and writes it to disk",
        ("pythae",),
        ("pythae==0.1.2", "scipy", "torch"),
    ),
    "lightning": Contender(
        fit_lightning,
        "DataLoader",
        ("lightning",),
        ("lightning==2.6.6", "scipy", "torch"),
    ),
    "pyod": Contender(
        fit_pyod,
        "its VAE: ELU for GELU, the last minibatch dropped, scores of all rows at the "
        "end; DataLoader",
        ("pyod",),
        ("pyod==3.6.7", "scipy", "torch", "tqdm"),
    ),
    "scvi-tools": Contender(
        fit_scvi,
        "its SCVI: negative binomial counts, ReLU, all hidden layers as wide as the "
        "first, two output layers",
        ("scvi-tools", "lightning"),
        ("scvi-tools==1.4.2", "scipy", "torch"),
        kinds=("counts",),
    ),
    "MLPRegressor": Contender(
        fit_mlp,
        "no VAE: ReLU, no normalisation, no dropout, no KL",
        ("scikit-learn",),
        devices=("cpu",),
    ),
    "PCA": Contender(
        fit_pca, "the linear floor: no epochs", ("scikit-learn",), devices=("cpu",)
    ),
}
