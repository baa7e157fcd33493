"""Scores for tests: created by hand, or looked up in the results of a command."""

from barlow_jax.papers.scores import Evaluation, Score, parse_scores

CLASSIFIERS = {"probe": "linear", "knn": "knn", "finetune": "finetuned"}


def score(command, value, metric="top1", label_fraction=1.0, *, data_set="digits", **fields):
    """Return a score on 360 test images."""
    classifier = fields.pop("classifier", CLASSIFIERS.get(command, "linear"))
    return Score(command, classifier, metric, value, data_set, "test", 360, label_fraction, **fields)


def knn(value, label_fraction=1.0, k=20, distance="cosine"):
    """Return a k-NN score."""
    return score("knn", value, label_fraction=label_fraction, k=k, distance=distance)


def result(feature_source, step, *scores, **more):
    """Return the content of a result file."""
    return Evaluation(feature_source, step, scores).to_json() | more


def by_fraction(results, metric="top1", **fields):
    """Return values by label fraction of the scores with the given metric and fields."""
    scores = [s for s in parse_scores(results["scores"]) if s.metric == metric]
    return {s.label_fraction: s.value for s in scores if fields.items() <= s.to_json().items()}


def measured(results):
    """Return results without the date, and without the encoder that they name."""
    return {name: value for name, value in results.items() if name not in ("date", "encoder")}
