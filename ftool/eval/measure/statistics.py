"""Floors that a tuned model has to clear, and samples that keep every label."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence


def majority_floor(train_labels: Sequence[str], examples: int) -> list[str]:
    """Predict the most frequent label of the train split for every example.

    Raises:
        ValueError: there are no train labels.
    """
    counts = Counter(train_labels)
    if not counts:
        raise ValueError("a floor needs train labels")
    # Of equally frequent labels the first by name: the order of the rows must not matter.
    return [min(counts, key=lambda label: (-counts[label], label))] * examples


def tfidf_floor(
    train_texts: Sequence[str], train_labels: Sequence[str], texts: Sequence[str]
) -> list[str]:
    """Predict labels with a linear classifier over words and characters, fitted on train.

    Where the train split has one label, or no text to learn from, this is the majority floor.

    Source:
        Wang and Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic
        Classification; LIBLINEAR, Fan et al. (2008), by scikit-learn's LinearSVC.

    Raises:
        ValueError: there are no train labels, or not one per train text.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    if len(train_texts) != len(train_labels):
        raise ValueError(f"{len(train_texts)} train texts but {len(train_labels)} labels")
    candidates = (
        TfidfVectorizer(analyzer="word", ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    vectorizers = [
        vectorizer
        for vectorizer in candidates
        if any(map(vectorizer.build_analyzer(), train_texts))
    ]
    if not vectorizers or not texts or len(set(train_labels)) < 2:
        return majority_floor(train_labels, len(texts))
    features = hstack([vectorizer.fit_transform(train_texts) for vectorizer in vectorizers])
    classifier = LinearSVC(random_state=0).fit(features.tocsr(), list(train_labels))
    unseen = hstack([vectorizer.transform(texts) for vectorizer in vectorizers]).tocsr()
    return [str(label) for label in classifier.predict(unseen)]


def stratified_sample(
    keys: Sequence[str], labels: Sequence[str | None], size: int, *, seed: int
) -> list[int]:
    """Choose `size` examples that keep the shares of the labels, each label at least once.

    Within a label the choice follows a hash of seed and key, so the same examples are chosen
    whatever the order of the rows, on every machine. Where `size` is below the number of labels,
    the most frequent labels are kept.

    Args:
        keys: unique names of the examples.
        labels: their labels; those without one form a group of their own.
        size: how many examples; all of them where there are not more.
        seed: chooses the sample.

    Returns:
        Indices, ascending.

    Raises:
        ValueError: unequal lengths, or a negative size.
    """
    if size < 0:
        raise ValueError(f"a sample of {size} examples")
    rows: defaultdict[str | None, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        rows[label].append(index)
    if len(keys) != len(labels):
        raise ValueError(f"{len(keys)} keys but {len(labels)} labels")
    if size >= len(keys):
        return list(range(len(keys)))
    shares = _shares({label: len(indices) for label, indices in rows.items()}, size, seed)
    chosen = (
        index
        for label, indices in rows.items()
        for index in sorted(indices, key=lambda index: _digest(seed, keys[index]))[: shares[label]]
    )
    return sorted(chosen)


def _shares(counts: Mapping[str | None, int], size: int, seed: int) -> dict[str | None, int]:
    """Divide `size` seats by the largest remainder, at least one for each label where they suffice.

    Source:
        Hamilton's method, Balinski and Young (1982), Fair Representation, chapter 2.
    """
    open_counts, shares = dict(counts), {}
    while size >= len(open_counts) > 0:
        total = sum(open_counts.values())
        rare = [label for label, count in open_counts.items() if count * size < total]
        if not rare:
            break
        for label in rare:
            shares[label] = 1
            del open_counts[label]
        size -= len(rare)
    total = sum(open_counts.values())
    quotas = {label: divmod(count * size, total) for label, count in open_counts.items()}
    shares |= {label: seats for label, (seats, _) in quotas.items()}
    left = size - sum(seats for seats, _ in quotas.values())
    by_remainder = sorted(quotas, key=lambda label: (-quotas[label][1], _digest(seed, repr(label))))
    for label in by_remainder[:left]:
        shares[label] += 1
    return shares


def _digest(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
