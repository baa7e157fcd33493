"""Model card in the Hugging Face Hub's Markdown: the encoder, its training and its results.

All facts come from the files of the run. What they do not hold is marked as not recorded or not measured.
"""

from collections.abc import Iterator, Mapping, Sequence
import json
import pathlib
from typing import Any

from barlow_jax.config.architectures import ResNetFacts, VitFacts
from barlow_jax.config.method_facts import METHODS, method_facts
from barlow_jax.config.overrides import to_config_dict
from barlow_jax.config.records import flatten
from barlow_jax.config.schema import Config
from barlow_jax.interop.citations import PAPERS
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.papers import scores, tables
from barlow_jax.papers.scores import PRETRAINED, UNNAMED, Evaluation, describe_data, read_evaluations
from barlow_jax.version import __version__
from barlow_jax.workdir import provenance, saved_run

# The Hub's names of data sets whose TFDS name differs.
_HUB_NAMES = {"imagenet2012": "imagenet-1k", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
# Keys that do not determine the encoder, or that name local folders; and two that decide when its run ended.
_NO_RECIPE = (*saved_run.MAY_CHANGE, "data.label", "retrieval.")
_LENGTH = ("train.max_steps", "train.stop_when_saturated")


def text(
    trained: TrainedEncoder, load: Sequence[str], *, library: str | None = None, notes: Sequence[str] = ()
) -> str:
    """Return the README.md of a folder of weights, which these lines of Python load.

    `library` is the one by which the Hub loads it ("timm"), if any; notes follow the section on loading.
    """
    parts = [
        _front_matter(trained, library),
        f"# {_title(trained)}",
        _introduction(trained),
        "## Loading\n\n```python\n" + "\n".join(load) + "\n```",
        *notes,
        "## Images\n\n" + _images(trained),
        "## Training\n\n" + _training(trained),
        "## Results\n\n" + _results(trained),
        "## Code\n\n" + _code(trained),
        "## Licence\n\n" + _license(trained),
        "## Citation\n\n```bibtex\n" + "\n\n".join(_citations(trained)) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _has_history(trained: TrainedEncoder) -> bool:
    """Return whether the config describes the training. Weights at step 0 came from elsewhere."""
    return trained.step > 0


def _front_matter(trained: TrainedEncoder, library: str | None) -> str:
    lines = [f"library_name: {library}"] if library else []
    lines += ["pipeline_tag: image-feature-extraction", f"license: {json.dumps(trained.license)}", "tags:"]
    method = trained.config.objective.name if _has_history(trained) else None
    tags = ["image-feature-extraction", *([library] if library else [])]
    if method and method != "classification":
        tags += ["self-supervised-learning", method.replace("_", "-")]
    lines += [f"- {tag}" for tag in tags]
    name = trained.config.data.name
    if _has_history(trained) and name not in UNNAMED:
        lines += ["datasets:", f"- {json.dumps(_HUB_NAMES.get(name, name))}"]
    return "\n".join(["---", *lines, "---"])


def _title(trained: TrainedEncoder) -> str:
    source = f"{_method(trained)}, {trained.config.data.name}"
    return f"{trained.name}, {source if _has_history(trained) else 'weights from a file'}"


def _method(trained: TrainedEncoder) -> str:
    name = trained.config.objective.name
    return name if name == "classification" else method_facts(name).title


def _introduction(trained: TrainedEncoder) -> str:
    facts, details = trained.facts, "ConvNeXt"
    if facts is None:
        details = "a network of its authors' own"
    elif isinstance(facts, VitFacts):
        details = f"patches of {facts.patch} pixels"
    elif isinstance(facts, ResNetFacts):
        details = f"{facts.width} channels in the first stage, {facts.stem} stem"
    training = "The weights came from a file; how they were trained is not recorded."
    if _has_history(trained):
        config = trained.config
        own_classes = method_facts(config.objective.name).own_classes
        labels = "with" if config.network.num_classes and not own_classes else "without"
        data = trained.config.data.name
        training = f"Pretrained {labels} labels by {_method(trained)} on {data} (barlow_jax)."
    features = f"{trained.num_features} output features and no classifier"
    return f"Image encoder `{trained.name}` ({details}) with {features}. {training}"


def _images(trained: TrainedEncoder) -> str:
    normalize = trained.normalize
    values = "RGB values 0..255 are normalized as (value / 255 - mean) / std"
    if (data := trained.config.data).pixel_dtype != "uint8":
        values = f"{data.channels} channels of {trained.pixels} are normalized as (x - mean) / std"
    return (
        f"The shorter side is resized to {data.eval_resize} pixels ({data.eval_interpolation}, antialiased), "
        f"and the central {trained.image_size} x {trained.image_size} pixels are cropped. {values} with mean "
        f"{_numbers(normalize.mean)} and std {_numbers(normalize.std)}. The weights are float32; the run "
        f"computed the network in {trained.config.network.dtype}."
    )


def _training(trained: TrainedEncoder) -> str:
    config = trained.config
    if not _has_history(trained):
        return "Not recorded."
    source = f"the split `{config.data.train_split}` of `{config.data.name}`"
    if config.data.name in UNNAMED:
        source += " (private images; describe them here)"
    epochs = _epochs(trained)
    duration = f"{trained.step} updates" + (f" ({epochs:g} epochs)" if epochs else "")
    extended = "".join(f" Extended {phrase}." for phrase in provenance.extensions(trained.provenance))
    rows = [f"| `{key}` | {_cell(value)} | {_cell(default)} |" for key, value, default in _changes(config)]
    table = ["| key | value | default |", "|---|---|---|", *rows]
    return (
        f"Data: {source}. {duration} of a schedule of {config.train.num_epochs:g} epochs, batch size "
        f"{config.train.batch_size}.{extended}\n\nThe defaults are the ImageNet recipe of Barlow Twins. "
        + ("Differences:\n\n" + "\n".join(table) if rows else "There are no differences.")
    )


def _epochs(trained: TrainedEncoder) -> float | None:
    """Return the number of epochs at the encoder's step; None if the results of `pretrain` lack it."""
    last = trained.results.get("pretrain", {})
    if not last.get("step") or "epochs" not in last:
        return None
    return last["epochs"] * trained.step / last["step"]


def _changes(config: Config) -> Iterator[tuple[str, Any, Any]]:
    """Yield key, value and default of the recipe's keys that differ; keys of unused methods are left out."""
    values, defaults = (flatten(to_config_dict(c).to_dict()) for c in (config, Config()))
    others = tuple(f"objective.{name}." for name in METHODS if name != config.objective.name)
    for key, value in values.items():
        relevant = key in _LENGTH or not key.startswith((*_NO_RECIPE, *others))
        if relevant and defaults.get(key) != value:
            # Not the folder of a user's own code.
            shown = pathlib.Path(value).name if key.endswith(".custom.function") and value else value
            yield key, shown, defaults.get(key)


def _results(trained: TrainedEncoder) -> str:
    """Return the results at the encoder's step: for each data set a table, a row per classifier."""
    own, *others = scores.by_data(trained.results)
    evaluations = read_evaluations(own, step=trained.step)
    tables_of_others = [
        _result_tables(other, describe_data(group))
        for group in others
        if PRETRAINED in (other := read_evaluations(group, step=trained.step))
    ]
    if PRETRAINED not in evaluations:
        steps = {e.step for source, e in read_evaluations(own).items() if source == PRETRAINED}
        note = f" (results exist for step {', '.join(map(str, steps))})" if steps else ""
        return "\n\n".join([f"Not measured for these weights{note}.", *tables_of_others])
    data = trained.config.data
    where = describe_data(own) or f"{data.name}, split {data.eval_split}"
    return "\n\n".join([_result_tables(evaluations, where), *tables_of_others])


def _result_tables(evaluations: Mapping[str, Evaluation], where: str) -> str:
    """Return a table of top-1, and one of balanced accuracy if it was measured."""
    sources = [s for s in scores.FEATURE_SOURCES if s in evaluations or s != scores.PIXELS]
    columns = {source: evaluations.get(source, Evaluation(source, -1, ())) for source in sources}
    parts = []
    titles = {"top1": "Top-1 accuracy", "balanced_accuracy": "Balanced accuracy (mean recall)"}
    for metric, title in titles.items():
        rows = [
            f"| {name} | {' | '.join(map(_score, values.values()))} |"
            for name, _, values in tables.rows_by_source(columns, metric)
            if values[PRETRAINED] is not None
        ]
        if rows:
            head = f"{title} in percent on {where}. `untrained` is the same network before training."
            heads = f"| | {' | '.join(sources)} |"
            parts.append("\n".join([head, "", heads, "|---" * (1 + len(sources)) + "|", *rows]))
    return "\n\n".join(parts)


def _code(trained: TrainedEncoder) -> str:
    exported = f"Exported by barlow_jax {__version__}."
    if not trained.provenance:
        return f"{exported} The code that trained the weights is not recorded."
    entry = trained.provenance[-1]
    commit = f", commit `{entry['commit']}`" if entry.get("commit") else ""
    devices = entry.get("devices", {})
    on = f", on {devices['count']} x {devices['kind']}" if {"count", "kind"} <= devices.keys() else ""
    packages = ", ".join(f"{name} {version}" for name, version in entry["packages"].items())
    count = sum(e["starts"] for e in trained.provenance)
    starts = f" Number of starts: {count}." if _has_history(trained) else ""
    return (
        f"barlow_jax {entry.get('version', 'of an unknown version')}{commit}, Python "
        f"{entry.get('python', 'unknown')}{on}; {packages}; last start {entry['last']}.{starts} {exported}"
    )


def _license(trained: TrainedEncoder) -> str:
    if trained.license == "other":
        return "Not stated. The owner of the weights sets it here and in `license` above."
    return f"`{trained.license}`, chosen by the owner of the weights."


def _citations(trained: TrainedEncoder) -> list[str]:
    methods = ["barlow_twins", *([trained.config.objective.name] if _has_history(trained) else [])]
    return [PAPERS[name] for name in dict.fromkeys(methods) if name in PAPERS]


def _score(score: float | None) -> str:
    return "not measured" if score is None else f"{score:.1f}"


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _cell(value: Any) -> str:
    return f"`{value}`".replace("|", "\\|")
