import numpy as np
import pytest

from barlow_jax.data.captions import Vocabulary, count_words, sample_caption, split_words


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ('A man\'s dog -- LEFT of the "bus".\n', ["a", "man's", "dog", "left", "of", "the", "bus"]),
        ("two-story, 2nd_floor (#7)", ["two", "story", "2nd", "floor", "7"]),
        ("Ein Caf\u00e9, it\u2019s 'open'", ["ein", "caf\u00e9", "it\u2019s", "open"]),
        ("...", []),
    ],
)
def test_words_are_lower_case_without_punctuation(caption, words):
    assert split_words(caption) == words


def test_the_vocabulary_is_the_frequent_words_and_equal_ones_in_alphabetical_order():
    counts = count_words(["b a c", "a b d", "a e e"])
    assert counts == {"a": 3, "b": 2, "c": 1, "d": 1, "e": 2}
    vocabulary = Vocabulary(counts, min_count=2)
    assert len(vocabulary) == 5
    np.testing.assert_array_equal(vocabulary.encode("E, b? A c!", 6), [4, 3, 2, 1, 0, 0])
    reverse = Vocabulary(dict(reversed(counts.items())), min_count=2)
    np.testing.assert_array_equal(reverse.encode("a b c d e", 5), vocabulary.encode("a b c d e", 5))


def test_long_captions_are_cut_and_one_without_a_word_is_an_unknown_word():
    vocabulary = Vocabulary({"a": 1}, min_count=1)
    np.testing.assert_array_equal(vocabulary.encode("a b a", 2), [2, 1])
    np.testing.assert_array_equal(vocabulary.encode("!?", 3), [1, 0, 0])


def test_encoded_captions_have_the_index_of_their_image():
    vocabulary = Vocabulary({"a": 1, "b": 1}, min_count=1)
    encoded = vocabulary.encode_all([["a", "b"], [], ["b a"]], 2)
    np.testing.assert_array_equal(encoded.words, [[2, 0], [3, 0], [3, 2]])
    np.testing.assert_array_equal(encoded.example, [0, 0, 2])
    assert encoded.words.dtype == encoded.example.dtype == np.int32
    assert vocabulary.encode_all([[]], 2).words.shape == (0, 2)


def test_the_caption_of_a_position_is_reproducible_and_all_are_equally_likely():
    texts = [str(number) for number in range(5)]
    chosen = [sample_caption(texts, 0, position) for position in range(4000)]
    assert chosen == [sample_caption(texts, 0, position) for position in range(4000)]
    assert chosen != [sample_caption(texts, 1, position) for position in range(4000)]
    fractions = np.array([chosen.count(text) for text in texts]) / 4000
    np.testing.assert_allclose(fractions, 0.2, atol=0.03)  # 4.7 standard deviations
    assert sample_caption([], 0, 0) == ""
