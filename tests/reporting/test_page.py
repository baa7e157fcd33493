"""The page, parsed as HTML; test_browser.py opens it in a browser."""

from html.parser import HTMLParser
import json
import math

import pytest
import reported
import score_records

from barlow_jax.reporting import page
from barlow_jax.reporting.evaluation_section import seed_groups

SECTIONS = [
    "summary",
    "curves",
    "evaluations",
    "correlation",
    "spectrum",
    "views",
    "neighbors",
    "projection",
    "setup",
    "plan",
    "next",
]
_VOID = {"br", "img", "link", "meta"}
HOSTILE = "</script><script>alert(1)</script>\"'&<img src=https://example.com/x>"


class Parsed(HTMLParser):
    """Elements, their references, ids, text and JSON data. Every element that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.anchors, self.text, self.data = [], [], [], [], []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "poster")
        ]
        self.anchors += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        tag, attrs = self._open[-1] if self._open else ("", {})
        if tag == "script" and attrs.get("type") == "application/json":
            self.data.append(json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} in JSON")))
        elif tag not in ("script", "style"):
            self.text.append(data)

    @property
    def plain_text(self):
        return " ".join("".join(self.text).split())


@pytest.fixture
def written(tmp_path):
    def write(runs, inspection=None, price=None):
        result = page.write(runs, inspection, tmp_path / "report.html", device_hour_price=price)
        text = (tmp_path / "report.html").read_text()
        assert result["bytes"] == len(text.encode())
        assert result["sections"] == SECTIONS
        return Parsed(text)

    return write


def test_a_complete_run_has_every_section_and_loads_nothing(written, tmp_path):
    run = reported.run(results={"evaluate": reported.evaluate(), "plan": reported.plan()})
    parsed = written([run], reported.inspection(), 1.5)
    assert [anchor for anchor in parsed.anchors if anchor in SECTIONS] == SECTIONS
    assert {f"#{anchor}" for anchor in SECTIONS} <= set(parsed.references)
    assert all(reference.startswith(("#", "data:")) for reference in parsed.references)
    style = (tmp_path / "report.html").read_text().split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not [a for t, a in parsed.tags if t == "script" and "src" in a]
    assert all(
        attrs.get("alt") for tag, attrs in parsed.tags if tag == "img" and "matrix" not in attrs["class"]
    )
    assert all(attrs.get("aria-label") for _, attrs in parsed.tags if attrs.get("class") == "chart")
    assert 8e5 < (tmp_path / "report.html").stat().st_size < 5e6
    text = parsed.plain_text
    assert "Health Healthy" in text and "Quality Better than the baselines" in text
    for part in (
        "Chip-hours: 4.00 on 4 chips",
        "Price: 6.00 at 1.50 per chip-hour",
        "Goodput: 90.0% (54 min 00 s",
    ):
        assert part in text
    assert "which is the default: 7." in text and "resnet50" in text
    assert "python -m barlow_jax pretrain --workdir 'runs/my digits'" in text
    assert "0123456789ab" in text and "(with uncommitted changes)" in text


def test_every_chart_is_a_vega_lite_spec_with_labeled_axes(written):
    data = written([reported.run()], reported.inspection()).data
    assert len(data) > 15
    for spec in data:
        if isinstance(spec, list):  # thumbnails
            assert len(spec) == 24 and all(url.startswith("data:image/") for url in spec)
            continue
        assert "$schema" not in spec and spec["width"] == "container"
        for layer in spec.get("layer", [spec]):
            axes = [layer["encoding"][axis] for axis in ("x", "y") if axis in layer["encoding"]]
            rule = layer["mark"]["type"] == "rule"
            assert (
                all("title" in axis and (axis["title"] or axis["field"] == "classifier") for axis in axes)
                or rule
            )


def test_a_loss_that_is_not_finite_is_a_gap_and_is_reported(written):
    losses = [math.nan if row == 7 else None if row == 9 else 300.0 - row for row in range(20)]
    parsed = written([reported.run(metrics=reported.metrics(20, loss=losses))])
    assert "The loss is not finite in 2 of 20 rows, first at step 800." in parsed.plain_text
    (spec,) = [spec for spec in parsed.data if _axis(spec) == "loss"]
    assert [row["value"] for row in _rows(spec)][6:10] == [294, None, 292, None]


def test_a_peak_in_many_rows_is_kept(written):
    losses = [100.0] * 9000
    losses[4321] = 5000.0
    (spec,) = [
        s
        for s in written([reported.run(metrics=reported.metrics(9000, loss=losses))]).data
        if _axis(s) == "loss"
    ]
    values = [row["value"] for row in _rows(spec)]
    assert len(values) <= 600 and max(values) == 5000


def test_markup_in_names_and_values_is_escaped(written, tmp_path):
    run = reported.run(
        HOSTILE,
        changes={"data.name": HOSTILE, "data.data_dir": HOSTILE + "\udce9"},  # a name that is not UTF-8
        provenance=[
            reported.entry(command=["pretrain", HOSTILE], commit=HOSTILE, packages={HOSTILE: HOSTILE})
        ],
        status=reported.status(state="stopped", reason=HOSTILE),
        results={
            "evaluate": reported.evaluate(),
            "plan": reported.plan(fits=False, reason=HOSTILE, remedies=[HOSTILE]),
        },
    )
    parsed = written([run, reported.run("other")], reported.inspection())
    scripts = [attrs for tag, attrs in parsed.tags if tag == "script"]
    assert len([attrs for attrs in scripts if "type" not in attrs]) == 2, "the library and the page's own"
    assert not [value for value in parsed.references if "example.com" in value]
    assert HOSTILE in "".join(parsed.text)
    assert any(row.get("run") == HOSTILE for spec in parsed.data for row in _rows(spec))


def test_several_runs_have_one_color_each_and_an_overview(written):
    runs = [
        reported.run("one"),
        reported.run("two", changes={"objective.name": "byol"}),
        reported.run("three"),
    ]
    parsed = written(runs)
    (loss,) = [spec for spec in parsed.data if _axis(spec) == "loss"]
    scale = loss["encoding"]["color"]["scale"]
    assert scale["domain"] == ["one", "two", "three"] and len(set(scale["range"])) == 3
    assert {row["run"] for row in _rows(loss)} == {"one", "two", "three"}
    assert any(param.get("bind") == "legend" for param in loss["params"])
    assert "one, two, three" in parsed.plain_text and "BYOL on digits" in parsed.plain_text


def test_runs_that_differ_in_the_seed_alone_share_a_column_with_error_bars(written):
    """The linear probe has 98, 97 and 99 percent: a mean of 98 and a standard deviation of 1."""
    runs = [
        reported.run(f"s{seed}", changes={"seed": seed}, results={"evaluate": reported.evaluate(linear)})
        for seed, linear in enumerate((98.0, 97.0, 99.0))
    ]
    other = reported.run("other", changes={"optim.learning_rate": 0.1})
    parsed = written([*runs, other])
    assert "linear, 100% of labels 98.0 ± 1.0 98.9" in parsed.plain_text
    (bars,) = [spec for spec in parsed.data if "yOffset" in json.dumps(spec)]
    (bar,) = [
        r
        for r in bars["data"]["values"]
        if (r["classifier"], r["top1"], r["low"]) == ("linear, 100%", 98, 97)
    ]
    assert (bar["features"], bar["high"]) == ("s0 and 2 other seeds", 99)
    assert list(seed_groups([runs[0], runs[0]])) == ["s0"], "a run that is given twice is no other seed"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("digits", None),
        ("imagenet2012", "linear, top-1 98.9 76.5 69.3 74.3 75.3 73.2"),
        ("cifar10", "linear, top-1 (solo-learn, online) 98.9 90.7 92.6"),
    ],
)
def test_the_result_comes_first_and_published_numbers_stand_by_their_data_set(written, data, text):
    parsed = written([reported.run(changes={"data.name": data})])
    assert ("Published numbers" in parsed.plain_text) == (text is not None)
    assert text is None or text in parsed.plain_text
    assert "pretrained untrained pixels linear, 10% of labels 93.9 83.3 90.3" in parsed.plain_text


def test_transfer_of_other_data_stands_without_published_numbers(written):
    evaluation = score_records.result(
        "pretrained", 9, score_records.score("transfer", 51.3, data_set="places205")
    )
    text = written([reported.run(results={"transfer": evaluation})]).plain_text
    assert "% this run transfer, Places205, top-1 51.3" in text and "Published numbers" not in text


def test_runs_with_the_same_folder_name_are_named_by_their_paths(written, tmp_path):
    runs = [reported.run("0", workdir=tmp_path / name / "0") for name in ("a", "b", "b")]
    (loss,) = [spec for spec in written(runs).data if _axis(spec) == "loss"]
    assert loss["encoding"]["color"]["scale"]["domain"] == [
        str(tmp_path / "a/0"),
        str(tmp_path / "b/0"),
        f"{tmp_path / 'b/0'} (2)",
    ]


def test_a_run_without_files_has_a_page_that_says_so(written):
    bare = reported.run(config={}, changed={}, provenance=[], status=None, metrics=[], results={})
    text = written([bare]).plain_text
    for part in (
        "Unknown state: status.json is missing.",
        "No loss has been recorded yet.",
        "metrics.jsonl is missing",
        "python -m barlow_jax evaluate --workdir runs/digits",
        "digits has no readable checkpoint",
        "config.json is missing",
        "provenance.json is missing",
        "Wall time: not recorded",
        "No plan.",
        "python -m barlow_jax plan",
    ):
        assert part in text


def test_supervised_runs_have_no_embeddings_and_the_page_says_so(written):
    names = (
        "step",
        "epoch",
        "loss",
        "images_per_second",
        "data_wait_fraction",
        "skipped_steps",
        "decode_failures",
    )
    rows = [
        {name: row[name] for name in names if name in row} | {"top1": 0.5} for row in reported.metrics()[:-1]
    ]
    run = reported.run(metrics=rows, changes={"objective.name": "classification", "network.projector": ()})
    parsed = written([run], reported.inspection(embeddings=False))
    assert "No embeddings were measured, so collapse is not checked." in parsed.plain_text
    assert "This run has no embeddings." in parsed.plain_text
    assert "top-1, %" in {_axis(spec) for spec in parsed.data}


def test_photographs_keep_the_page_small(written, tmp_path):
    parsed = written([reported.run()], reported.inspection(images=48, size=64))
    (thumbnails,) = [spec for spec in parsed.data if isinstance(spec, list)]
    inline = [url for url in parsed.references if url.startswith("data:image/")]
    assert len(thumbnails) == 48 and len(inline) == 72
    images = sum(map(len, [*thumbnails, *inline]))
    assert 5e5 < images < (tmp_path / "report.html").stat().st_size < 5e6


def test_a_report_of_no_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        page.write([], None, tmp_path / "report.html")


def _rows(spec):
    if isinstance(spec, list):
        return []
    return [row for layer in spec.get("layer", [spec]) for row in layer.get("data", {}).get("values", [])]


def _axis(spec):
    if isinstance(spec, list):
        return None
    return spec.get("layer", [spec])[0]["encoding"]["y"].get("title")
