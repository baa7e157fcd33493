"""Evaluations and features of a run's encoder."""

from collections.abc import Sequence

from barlow_jax.api.opened import FeatureSource, open_checked, publish
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.experiment import embedding, evaluations, full_evaluation
from barlow_jax.experiment.embedding import Features
from barlow_jax.io import paths
from barlow_jax.io.paths import Path, PathLike
from barlow_jax.papers.scores import PIXELS, PRETRAINED, Evaluation
from barlow_jax.reporting import contact_sheet


def knn(
    run: PathLike, *, feature_source: FeatureSource = "pretrained", checkpoint: str | int = "newest"
) -> Evaluation:
    """Classify by the nearest neighbors of the frozen encoder's features (config.knn).

        knn("runs/digits").value("top1", k=20, distance="cosine", label_fraction=1.0)

    Like those of all evaluations, the results are also written to `results/` of the workdir.

    Args:
      run: the run, or its workdir.
      feature_source: the trained encoder, the same before training, or the pixels without an encoder.
      checkpoint: "newest", "best" (by config.monitor.select_by) or a step.

    Returns:
      Accuracies in percent, 0..100.

    Raises:
      UserError: the data have no usable labels, or the checkpoint is missing or damaged.
    """
    return _measure("knn", run, feature_source, checkpoint)


def probe(
    run: PathLike, *, feature_source: FeatureSource = "pretrained", checkpoint: str | int = "newest"
) -> Evaluation:
    """Train a linear classifier on the frozen encoder's features (config.probe); otherwise like `knn`.

    probe("runs/digits", feature_source="untrained").table
    """
    return _measure("probe", run, feature_source, checkpoint)


def finetune(
    run: PathLike, *, feature_source: FeatureSource = "pretrained", checkpoint: str | int = "newest"
) -> Evaluation:
    """Train encoder and classifier on fractions of the labels (config.finetune); otherwise like `knn`.

    Pixels have no encoder to train: `feature_source` is "pretrained" or "untrained".
    """
    if feature_source == PIXELS:
        raise UserError("feature_source is 'pixels', but fine-tuning needs an encoder. Use 'untrained'.")
    return _measure("finetune", run, feature_source, checkpoint)


def transfer(
    run: PathLike,
    *,
    only: Sequence[str] = (),
    feature_source: FeatureSource = "pretrained",
    checkpoint: str | int = "newest",
) -> Evaluation:
    """Train classifiers on other data sets (config.transfer), with the encoder frozen; otherwise like `knn`.

    `only` are keys of config.transfer; by default all whose data can be read.
    """
    return _measure("transfer", run, feature_source, checkpoint, only)


def evaluate(run: PathLike, *, checkpoint: str | int = "newest") -> dict[str, Evaluation]:
    """Run probe, knn, finetune and transfer on pixels and on the encoder before and after training.

        evaluate("runs/digits")["pretrained"].value("top1", command="probe", label_fraction=1.0)

    Args:
      run: the run, or its workdir.
      checkpoint: as in `knn`.

    Returns:
      The evaluation of each feature source by its name.

    Raises:
      UserError: as in `knn`.
    """
    workdir, config, encoder = open_checked(run, PRETRAINED, checkpoint)
    results = full_evaluation.evaluate(config, workdir, encoder)
    return {e.feature_source: e for e in publish(workdir, results, "evaluate")}


def embed(
    run: PathLike,
    images: PathLike | None = None,
    *,
    split: str | None = None,
    out: PathLike | None = None,
    nearest: int = 0,
    feature_source: FeatureSource = "pretrained",
    checkpoint: str | int = "newest",
) -> Features:
    """Return the features of a split, or of all images at a path; no labels are needed.

        table = embed("runs/digits", "photos", out="photos.parquet", nearest=5)

    Args:
      run: the run, or its workdir.
      images: folder, list, table, tar shards or arrays (docs/own_images.md); None = a split of config.data.
      split: name of the split; None = config.data.eval_split.
      out: file to write too, .npz or .parquet.
      nearest: neighbors per image of a contact sheet, which is written to `out` with the suffix
        .nearest.png; 0 = none.
      feature_source: as in `knn`.
      checkpoint: as in `knn`.

    Returns:
      `[N, H]` features with labels and names. An image that cannot be decoded has no row.

    Raises:
      UserError: there are no images, or `out` cannot be written.
    """
    if (images is not None and split is not None) or (nearest and out is None):
        raise UserError("images and split exclude each other, and nearest needs out.")
    _, config, encoder = open_checked(run, feature_source, checkpoint, splits=())
    problems = [] if images else catalog.count_images(config.data, (split or config.data.eval_split,))[1]
    if problems:
        raise UserError.from_problems(problems)
    path = out if out is None else Path(paths.text(out))
    table = embedding.embed(
        config, encoder, images=images, split=split, feature_source=feature_source, out=path
    )
    if nearest and path:
        contact_sheet.draw_neighbors(table, nearest, 8, path.with_suffix(".nearest.png"))
    return table


def _measure(
    command: str, run: PathLike, feature_source: str, checkpoint: str | int, only: Sequence[str] = ()
) -> Evaluation:
    workdir, config, encoder = open_checked(run, feature_source, checkpoint)
    results = evaluations.measure(command, config, workdir, encoder, feature_source, only)
    return publish(workdir, results, command, "+".join(only), feature_source)[0]
