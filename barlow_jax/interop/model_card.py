"""The model card: what the encoder is, how it was made and what was measured, in the Hugging Face Hub's Markdown.

Everything is of the run's files. What they do not say is said to be not recorded, or not measured.
"""

from collections.abc import Iterator, Sequence
import json
from typing import Any

from barlow_jax.config.methods import REQUIREMENTS, TITLES
from barlow_jax.config.overrides import flatten, to_config_dict
from barlow_jax.config.schema import Config
from barlow_jax.interop.citations import PAPERS
from barlow_jax.interop.encoder import Trained
from barlow_jax.papers import tables
from barlow_jax.papers.scores import FEATURE_SOURCES, PIXELS, PRETRAINED, Evaluation, read_evaluations
from barlow_jax.version import __version__

# The Hub's names of data sets that TFDS calls otherwise.
_HUB_NAMES = {"imagenet2012": "imagenet-1k", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
_UNNAMED = ("folder", "arrays")  # whose images only the owner knows
# Keys that make another encoder, and of these some that do not, or that name somebody's folders.
_RECIPE = ("seed", "data.", "recipe.", "network.", "objective.", "optim.", "train.")
_NO_RECIPE = (
    "data.data_dir",
    "data.threads",
    "data.prefetch",
    "data.cache",
    "data.max_decode_failures",
    "train.log_every_steps",
    "train.max_skipped_steps",
    "train.compilation_cache",
    "network.remat",
)


def text(
    trained: Trained, load: Sequence[str], *, library: str | None = None, notes: Sequence[str] = ()
) -> str:
    """README.md of a folder of weights.

    Args:
      trained: the encoder.
      load: lines of Python.
      library: "timm", where the Hub can load it so.
      notes: paragraphs to come after how to load it.
    """
    parts = [
        _front_matter(trained, library),
        f"# {_title(trained)}",
        _introduction(trained),
        "## How to load it\n\n```python\n" + "\n".join(load) + "\n```",
        *notes,
        "## Images\n\n" + _images(trained),
        "## Training\n\n" + _training(trained),
        "## Results\n\n" + _results(trained),
        "## Code\n\n" + _code(trained),
        "## Licence\n\n" + _license(trained),
        "## How to cite\n\n```bibtex\n" + "\n\n".join(_citations(trained)) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _is_told(trained: Trained) -> bool:
    """Whether the config says how the weights came to be; those of a file, or at step 0, came from elsewhere."""
    return trained.step > 0


def _front_matter(trained: Trained, library: str | None) -> str:
    lines = [f"library_name: {library}"] if library else []
    lines += ["pipeline_tag: image-feature-extraction", f"license: {json.dumps(trained.license)}", "tags:"]
    method = trained.config.objective.name if _is_told(trained) else None
    tags = ["image-feature-extraction", *([library] if library else [])]
    if method and method != "classification":
        tags += ["self-supervised-learning", method.replace("_", "-")]
    lines += [f"- {tag}" for tag in tags]
    name = trained.config.data.name
    if _is_told(trained) and name not in _UNNAMED:
        lines += ["datasets:", f"- {json.dumps(_HUB_NAMES.get(name, name))}"]
    return "\n".join(["---", *lines, "---"])


def _title(trained: Trained) -> str:
    if not _is_told(trained):
        return f"{trained.name}, weights from a file"
    return f"{trained.name}, {_method(trained)}, {trained.config.data.name}"


def _method(trained: Trained) -> str:
    name = trained.config.objective.name
    return name if name == "classification" else TITLES.get(name, name)


def _introduction(trained: Trained) -> str:
    network = trained.config.network
    kind = f"{network.width} channels in the first stage, the {network.stem} stem"
    if not trained.is_resnet:
        kind = f"patches of {network.patch} pixels"
    made = "The weights came from a file; how they were trained is not recorded."
    if _is_told(trained):
        labels = "labels" if trained.config.network.num_classes else "no labels"
        made = (
            f"Pretrained with {labels} by {_method(trained)}, on {trained.config.data.name}, by barlow_jax."
        )
    return (
        f"An image encoder, `{trained.name}` ({kind}): from an image to {trained.num_features} features. No classifier. "
        + made
    )


def _images(trained: Trained) -> str:
    levels = trained.normalize
    return (
        f"The shorter side is resized to {trained.eval_resize} pixels (bilinear, antialiased) and the central "
        f"{trained.image_size} x {trained.image_size} are taken. RGB levels 0..255 become (level / 255 - mean) / std, mean "
        f"{_numbers(levels.mean)}, std {_numbers(levels.std)}. Weights are float32; in the run, the network was computed "
        f"in {trained.config.network.dtype}."
    )


def _training(trained: Trained) -> str:
    config = trained.config
    if not _is_told(trained):
        return "Not recorded."
    source = f"the split `{config.data.train_split}` of `{config.data.name}`"
    if config.data.name in _UNNAMED:
        source += ", images of the owner's: say here which they are"
    epochs = _epochs(trained)
    lasted = f"{trained.step} updates" + (f", {epochs:g} epochs," if epochs else "")
    rows = [f"| `{key}` | {_cell(here)} | {_cell(usual)} |" for key, here, usual in _changes(config)]
    table = ["| key | here | default |", "|---|---|---|", *rows]
    return (
        f"Data: {source}. {lasted} of a schedule of {config.train.num_epochs:g} epochs, batch size "
        f"{config.train.batch_size}.\n\nThe defaults are the ImageNet recipe of Barlow Twins. "
        + ("Other than them:\n\n" + "\n".join(table) if rows else "Nothing is other than them.")
    )


def _epochs(trained: Trained) -> float | None:
    """Seen after the step, by what pretrain said at its own last one; None where it is not recorded."""
    told = trained.results.get("pretrain", {})
    if not told.get("step") or "epochs" not in told:
        return None
    return told["epochs"] * trained.step / told["step"]


def _changes(config: Config) -> Iterator[tuple[str, Any, Any]]:
    """Keys of the recipe that are other than the default: key, value here, default; of the method that was used."""
    here, usual = (flatten(to_config_dict(c).to_dict()) for c in (config, Config()))
    others = tuple(f"objective.{name}." for name in REQUIREMENTS if name != config.objective.name)
    for key, value in here.items():
        ours = key.startswith(_RECIPE) and key not in _NO_RECIPE and not key.startswith(others)
        if ours and usual.get(key) != value:
            yield key, value, usual.get(key)


def _results(trained: Trained) -> str:
    """A row a classifier and share of labels, a column a kind of features; of this very step alone."""
    evaluations = read_evaluations(trained.results, step=trained.step)
    if PRETRAINED not in evaluations:
        steps = {e.step for source, e in read_evaluations(trained.results).items() if source == PRETRAINED}
        other = f" (of step {', '.join(map(str, steps))} there are results)" if steps else ""
        return f"Not measured for these weights{other}."
    sources = [source for source in FEATURE_SOURCES if source in evaluations or source != PIXELS]
    columns = {source: evaluations.get(source, Evaluation(source, -1, ())) for source in sources}
    rows = [
        f"| {name} | {' | '.join(map(_score, values))} |"
        for name, _, values in tables.rows_by_source(columns)
        if values[-1] is not None
    ]
    data = trained.config.data
    head = (
        f"Top-1 accuracy in percent on the split `{data.eval_split}` of `{data.name}`; `untrained` is the same network "
        "before training."
    )
    return "\n".join([head, "", f"| | {' | '.join(sources)} |", "|---" * (1 + len(sources)) + "|", *rows])


def _code(trained: Trained) -> str:
    exported = f"Exported by barlow_jax {__version__}."
    if not trained.provenance:
        return f"{exported} What made the weights is not recorded."
    entry = trained.provenance[-1]
    commit = f", commit `{entry['commit']}`" if entry.get("commit") else ""
    devices = entry.get("devices", {})
    on = f", on {devices['count']} x {devices['kind']}" if {"count", "kind"} <= devices.keys() else ""
    packages = ", ".join(f"{name} {version}" for name, version in entry["packages"].items())
    starts = f" Started {sum(e['starts'] for e in trained.provenance)} times." if _is_told(trained) else ""
    return (
        f"barlow_jax {entry.get('version', 'of an unknown version')}{commit}, Python {entry.get('python', 'unknown')}{on}; "
        f"{packages}; last at {entry['last']}.{starts} {exported}"
    )


def _license(trained: Trained) -> str:
    if trained.license == "other":
        return "Not stated: it is for the owner of the weights to say (`license` above, and here)."
    return f"`{trained.license}`, by the owner of the weights."


def _citations(trained: Trained) -> list[str]:
    methods = ["barlow_twins", *([trained.config.objective.name] if _is_told(trained) else [])]
    return [PAPERS[name].bibtex() for name in dict.fromkeys(methods) if name in PAPERS]


def _score(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.1f}"


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _cell(value: Any) -> str:
    return f"`{value}`".replace("|", "\\|")
