"""What the network is given, and what it takes for alike."""

from barlow_jax.report import pictures
from barlow_jax.report.html import Html, Section, element, joined, paragraph
from barlow_jax.report.schema import ModelInspection, Neighbours


def views(look: ModelInspection | None, why_not: str) -> Section:
    title = "What it was given: two views of an image"
    if look is None or not look.views:
        return Section("views", title, paragraph(why_not if look is None else "There are no views to show."))
    columns = list(look.views)
    cards = []
    for place in range(len(look.views[columns[0]])):
        tiles = [
            element(
                "figure",
                pictures.tile(look.views[name][place], f"image {place + 1}, {name}"),
                element("figcaption", name),
            )
            for name in columns
        ]
        cards.append(element("div", *tiles, class_="card tiles"))
    words = (
        "Each card is one image and what the augmentation made of it. A person should still see that the views are of "
        "one thing, and that little but the thing is common to them."
    )
    return Section("views", title, joined([paragraph(words), element("div", *cards, class_="cards")]))


def neighbours(look: ModelInspection | None, why_not: str) -> Section:
    """Rows of a test image and what is nearest to it."""
    title = "What it takes for alike: nearest neighbours"
    it = look.neighbours if look else None
    if it is None or not len(it.queries):
        return Section(
            "neighbours", title, paragraph(why_not if look is None else "There are no neighbours to show.")
        )
    words = "A test image, and the training images with the most similar representations, by cosine, the nearest first."
    labelled = it.query_labels >= 0
    if labelled.any():
        same = it.found_labels[labelled] == it.query_labels[labelled, None]
        words += (
            f" ✓ and a solid frame: the same label; ✗ and a dashed one: another. Of these neighbours {same.mean():.0%} "
            "have the label of the test image."
        )
    rows = [_row(it, place) for place in range(len(it.queries))]
    return Section("neighbours", title, joined([paragraph(words), element("div", *rows, class_="rows")]))


def _row(it: Neighbours, place: int) -> Html:
    label = int(it.query_labels[place])
    query = element(
        "figure",
        pictures.tile(it.queries[place], f"test image {place + 1}, {_label(label)}"),
        element("figcaption", f"test, {_label(label)}"),
        class_="query",
    )
    found = []
    for image, other, cosine in zip(it.found[place], it.found_labels[place], it.cosines[place], strict=True):
        kind, sign = ("", "") if label < 0 else ("same", "✓ ") if other == label else ("other", "✗ ")
        told = {"same": "the same label", "other": "another label", "": "no label"}[kind]
        alternative = f"training image, {_label(int(other))}, {told}, cosine {cosine:.2f}"
        words = f"{sign}{int(other) if other >= 0 else ''} {cosine:.2f}"
        found.append(
            element(
                "figure", pictures.tile(image, alternative), element("figcaption", words), class_=kind or None
            )
        )
    return element("div", query, *found, class_="tiles neighbours")


def _label(label: int) -> str:
    return f"label {label}" if label >= 0 else "unlabelled"
