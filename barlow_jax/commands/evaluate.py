"""Every evaluation that the data at hand allow, beside honest baselines and the papers' numbers."""

import argparse
import pathlib
import sys
from typing import Any

from barlow_jax.commands.finetune import finetune
from barlow_jax.commands.knn import knn
from barlow_jax.commands.probe import probe
from barlow_jax.commands.transfer import transfer, why_not
from barlow_jax.config.schema import Config
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import PIXELS, PRETRAINED, UNTRAINED, Experiment
from barlow_jax.papers import format_tables


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Results by kind of features: pixels, the encoder before and after training."""
    experiment, place = Experiment.of(config), encoders.place(workdir, args)
    results: dict[str, Any] = {}
    for kind in (PIXELS, UNTRAINED, PRETRAINED):
        state = None if kind == PIXELS else experiment.encoder_state(place, kind)
        encode, step = (experiment.encode_by(state), state.step) if state else experiment.encoder(place, kind)
        train, test = experiment.tables(encode)
        results[kind] = {"step": step, **probe(experiment, encode, train, test), **knn(config, train, test)}
        if state:
            # Broken images as the tables count them, which see all.
            results[kind] = finetune(config, state) | results[kind]
    results[PRETRAINED]["transfer"] = {
        name: {"why_not": reason}
        if (reason := why_not(name, settings))
        else transfer(experiment, encode, settings)
        for name, settings in config.transfer.items()
    }
    print(format_tables.by_kind(results), file=sys.stderr)
    print(f"\n{format_tables.beside_the_papers(results[PRETRAINED], config.data.name)}", file=sys.stderr)
    return results
