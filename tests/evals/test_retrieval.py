"""R@K against a slow reference that sorts; for ties, against the mean over all orders of the candidates."""

import itertools

import numpy as np
import pytest

from barlow_jax.evals.retrieval import recall


def _reference(queries, candidates, query_ids, candidate_ids, k, cosine=True):
    """R@K by sorting, for candidates without ties."""
    hits = []
    for query, query_id in zip(queries, query_ids, strict=True):
        scores = []
        for candidate in candidates:
            score = sum(float(a) * float(b) for a, b in zip(query, candidate, strict=True))
            if cosine:
                score /= np.sqrt(sum(float(b) ** 2 for b in candidate))
            scores.append(score)
        first = sorted(range(len(scores)), key=lambda i, s=scores: -s[i])[:k]
        hits.append(any(candidate_ids[i] == query_id for i in first))
    return np.mean(hits)


def _mean_over_orders(similarities, matches, k):
    """R@K of one query: the mean over every order of the candidates before a stable sort."""
    hits = []
    for order in itertools.permutations(range(len(similarities))):
        first = sorted(order, key=lambda i: -similarities[i])[:k]
        hits.append(any(matches[i] for i in first))
    return np.mean(hits)


@pytest.mark.parametrize("cosine", [True, False])
def test_recall_is_the_references(cosine):
    rng = np.random.default_rng(0)
    query_ids, candidate_ids = np.arange(300), np.concatenate([np.arange(300), rng.integers(0, 300, 200)])
    queries = rng.normal(size=(300, 6)).astype(np.float32)
    candidates = (queries[candidate_ids] + 0.8 * rng.normal(size=(500, 6))) * rng.uniform(0.1, 9, (500, 1))
    candidates = candidates.astype(np.float32)
    ids = {"query_ids": query_ids, "candidate_ids": candidate_ids}
    recalls = recall(queries, candidates, **ids, ks=(1, 5, 10), cosine=cosine)
    for k, value in recalls.items():
        assert value == pytest.approx(_reference(queries, candidates, *ids.values(), k, cosine), abs=1e-12)
    assert 0.05 < recalls[1] < recalls[5] < recalls[10] < 1
    assert recalls != recall(queries, candidates, **ids, ks=(1, 5, 10), cosine=not cosine)


def test_candidates_that_tie_count_as_the_mean_over_their_orders():
    rng = np.random.default_rng(0)
    for _ in range(40):
        size = int(rng.integers(1, 7))
        similarities = rng.integers(0, 3, size)
        matches = rng.random(size) < 0.4
        matches[rng.integers(size)] = True
        for k in (1, 2, 4):
            recalls = recall(
                np.ones((1, 1)),
                similarities[:, np.newaxis] + 1.0,
                query_ids=np.array([1]),
                candidate_ids=matches.astype(int),
                ks=(k,),
                cosine=False,
            )
            assert recalls[k] == pytest.approx(_mean_over_orders(similarities, matches, k), abs=1e-12)


def test_neither_rounding_nor_the_order_of_the_table_matters():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 64)).astype(np.float32)
    twice, ids = np.concatenate([table, table]), np.arange(80)
    # Each query has a wrong candidate that is the same vector: it is first in half of the orders.
    for order in (ids, rng.permutation(80)):
        recalls = recall(twice, twice[order], query_ids=ids, candidate_ids=order, ks=(1, 2))
        assert recalls == {1: pytest.approx(0.5), 2: pytest.approx(1)}


def test_chance_is_what_embeddings_get_that_are_one_vector():
    images, texts = np.arange(50), np.repeat(np.arange(50), 5)
    expected = {k: 1 - np.prod([(245 - i) / (250 - i) for i in range(k)]) for k in (1, 5, 10)}
    one = {"image": np.ones((50, 1)), "text": np.ones((250, 1))}
    to_text = recall(one["image"], one["text"], query_ids=images, candidate_ids=texts, ks=(1, 5, 10))
    to_image = recall(one["text"], one["image"], query_ids=texts, candidate_ids=images, ks=(1, 5, 10))
    assert to_text == pytest.approx(expected) and to_image == pytest.approx({1: 0.02, 5: 0.1, 10: 0.2})
    zeros = {"query_ids": images, "candidate_ids": texts, "ks": (1, 5)}
    collapsed = recall(np.zeros((50, 4)), np.zeros((250, 4)), **zeros)
    assert collapsed == pytest.approx({k: expected[k] for k in (1, 5)})


def test_k_above_the_number_of_candidates_finds_all():
    recalls = recall(np.eye(3), np.eye(3), query_ids=np.arange(3), candidate_ids=np.arange(3), ks=(10,))
    assert recalls == {10: 1.0}


def test_embeddings_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="finite"):
        recall(
            np.full((2, 2), np.nan), np.eye(2), query_ids=np.arange(2), candidate_ids=np.arange(2), ks=(1,)
        )


@pytest.mark.parametrize(
    ("queries", "ids", "words"),
    [((2, 3), 2, "expected"), ((2, 2), 3, "one id per row"), ((2, 2), 2, "matching candidate")],
)
def test_mistakes_are_named(queries, ids, words):
    with pytest.raises(ValueError, match=words):
        recall(
            np.ones(queries), np.ones((2, 2)), query_ids=np.arange(ids), candidate_ids=np.zeros(2), ks=(1,)
        )
