"""Train one model, or a sweep of them, and write a directory per run.

    python benchmarks/train.py model=vae
    python benchmarks/train.py -m model.kld_weight=1e-5,1e-4 model.latent_dim=32,64
    python benchmarks/train.py experiment=stage1_vae_sweep

Configurations are in ``benchmarks/conf``. A run that fails says so in its ``error.txt``
and does not stop the others of a sweep; the exit status is then 1.
``benchmarks/benchmark_ae.py`` compares the runs.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _tables import load_table, scaled
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.cli.runs import fit_and_write, recorded_run

try:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf
except ImportError as error:
    sys.exit(f"train.py: error: this needs Hydra: pip install 'skvae[bench]' ({error})")

failed: list[Path] = []


def train(cfg: DictConfig, directory: Path) -> dict:
    """Fit the configured model on the configured rows, and write the run.

    Returns
    -------
    metrics : dict
    """
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    with recorded_run(directory, config):
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise ValueError(f"set {', '.join(f'{key}=...' for key in missing)}")
        if not 0.0 < cfg.test_fraction < 1.0:
            raise ValueError(f"test_fraction={cfg.test_fraction} must be in (0, 1)")
        X, y = load_table(**config["data"])
        model = scaled(hydra.utils.instantiate(cfg.model), cfg.data.scale, X)
        rows = train_test_split(
            np.arange(X.shape[0]), test_size=cfg.test_fraction, random_state=cfg.seed
        )
        parts = [X[part] for part in rows]
        if y is not None:
            parts += [y[part] for part in rows]
        # The first fit of a process also pays for what torch imports lazily.
        VAETransformer(2, max_epochs=1).fit(np.eye(8))
        return fit_and_write(directory, model, *parts, config=config)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """One run; its failure is reported and kept for the exit status."""
    directory = Path(HydraConfig.get().runtime.output_dir)
    # Hydra passes paths that are absolute, and prints what is raised with a traceback.
    shown = Path(os.path.relpath(directory))
    try:
        metrics = train(cfg, directory)
    except Exception as error:
        failed.append(shown)
        reason = " ".join(str(error).split())
        print(f"train.py: error: {shown}: {reason}", file=sys.stderr, flush=True)
        return
    names = ("elbo", "mse", "rate", "seconds")
    values = (f"{n} {metrics[n]:.4g}" for n in names if metrics[n] is not None)
    print(f"wrote {shown}: {', '.join(values)}", flush=True)


if __name__ == "__main__":
    main()
    sys.exit(1 if failed else 0)
