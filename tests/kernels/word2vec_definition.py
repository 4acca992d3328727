"""Training of word vectors, csrc/core/word2vec.h: its definition, group after group, in float64."""

from __future__ import annotations

import numpy as np

WORDS, DIM = 30, 20
NOISE = 7  # the only word that is drawn


def tables(seed=0, dim=DIM, words=WORDS):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(words, dim)).astype(np.float32) * 0.3 for _ in range(2)]


def only_noise(kernels, word=NOISE):
    counts = np.zeros(WORDS)
    counts[word] = 1
    return kernels.noise_table(counts, 0.75)


def windows(ids, window):
    """Centers with the places of their contexts, windows whole."""
    ids = list(ids)
    for k, word in enumerate(ids):
        if word < 0:
            continue
        first = last = k
        while first > 0 and ids[first - 1] >= 0 and k - first < window:
            first -= 1
        while last + 1 < len(ids) and ids[last + 1] >= 0 and last - k < window:
            last += 1
        contexts = [i for i in range(first, last + 1) if i != k]
        if contexts:
            yield k, contexts


def softplus(z):
    return np.logaddexp(0, z)


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


MOST_CURVATURE = 2
FIRST_CURVATURE = 0.125


def factor(curvature):
    """How much of its step a row of that curvature makes."""
    return MOST_CURVATURE / curvature if curvature > MOST_CURVATURE else 1.0


def adapted(length, most, curvatures, shares):
    """How many centers the group after the next has."""
    wanted = shares @ curvatures
    lost = wanted - shares @ np.minimum(curvatures, MOST_CURVATURE)
    if lost > wanted / 8:
        return max(1, length // 2)
    return min(most, 2 * length) if lost < wanted / 32 else length


def train(
    ids,
    embeddings,
    weights,
    window,
    classes_of,
    group,
    rate,
    end_alpha,
    cbow=False,
    mean=True,
    words_are_classes=True,
    bags=None,
    centers=None,
    moving=slice(None),
):
    """The definition in csrc/core/word2vec.h; returns the loss, the number of examples, and how
    many centers each group had.

    bags[word] are the rows of the embeddings that a word is made of; None: word k has row k.

    classes_of(word) are the classes that a pair or bag of that center meets, each with its weight
    and the sign of its logit: +1 is softplus(-z), -1 softplus(z).

    centers are places of words in the text, each with the first place that belongs to it and with
    the words, or rows of documents behind those of words, that predict it; by default the words
    around it. Where not all rows of `embeddings` are `moving`, weights stay, too.
    """
    share_of_row = 1 if bags is None else len(bags) / sum(map(len, bags))
    shares = np.repeat([share_of_row, 1], [len(embeddings), len(weights)])
    bags = [[row] for row in range(len(embeddings))] if bags is None else bags
    loss, examples, lengths = 0.0, 0, []
    if centers is None:
        centers = [
            (k, min(contexts[0], k), [ids[i] for i in contexts])
            for k, contexts in windows(ids, window)
        ]
    centers = list(centers)
    frozen = moving != slice(None)
    length = group

    def taken():
        part = centers[:length]
        del centers[:length]
        return part

    part = taken()
    while part:
        lengths.append(len(part))
        following = taken()
        begin = min(first for _, first, _ in part)
        step = rate + (end_alpha - rate) * begin / len(ids)
        d_embeddings, d_weights = np.zeros_like(embeddings), np.zeros_like(weights)
        of_embeddings, of_weights = np.zeros(len(embeddings)), np.zeros(len(weights))
        d_centers, along = np.zeros_like(weights), []
        for k, _, inputs in part:
            center = ids[k]
            for taken_together in [inputs] if cbow else [[i] for i in inputs]:
                rows = [row for i in taken_together for row in bags[i]]
                scale = 1 / len(rows) if mean or not cbow else 1
                hidden = scale * embeddings[rows].sum(axis=0)
                curvature, steps_by_z = 0.0, np.zeros(len(weights))
                for row, weight, sign in classes_of(center):
                    z = sign * (hidden @ weights[row])
                    loss += weight * softplus(-z)
                    step_by_z = weight * sign * sigmoid(-z)
                    steps_by_z[row] += step_by_z
                    d_weights[row] += step_by_z * hidden
                    if row == center and words_are_classes and not cbow:
                        d_centers[row] += step_by_z * hidden
                    bend = step * weight * min(0.25, sigmoid(-z))
                    curvature += bend * weights[row] @ weights[row]
                    of_weights[row] += bend * hidden @ hidden
                examples += 1
                share = 1 if not cbow or mean else 1 / len(rows)
                along.append((rows, share * steps_by_z))
                for row in rows:
                    of_embeddings[row] += curvature
        if frozen:
            of_weights[:] = d_weights[:] = d_centers[:] = 0
        moved = weights + step * d_centers * (of_weights < FIRST_CURVATURE)[:, None]
        for rows, steps_by_z in along:
            for row in rows:
                d_embeddings[row] += steps_by_z @ moved
        stays = np.ones(len(embeddings), bool)
        stays[moving] = False
        of_embeddings[stays] = d_embeddings[stays] = 0
        embeddings += step * d_embeddings * np.vectorize(factor)(of_embeddings)[:, None]
        weights += step * d_weights * np.vectorize(factor)(of_weights)[:, None]
        length = adapted(length, group, np.concatenate([of_embeddings, of_weights]), shares)
        part = following
    return loss, examples, lengths


def with_noise(negative):
    """Classes of negative sampling where one word alone is drawn."""

    def classes_of(center):
        yield center, 1, 1
        if center != NOISE:
            yield NOISE, negative, -1

    return classes_of


def with_tree(tree):
    """Classes of hierarchical softmax: the nodes on the way to the center."""
    splits, steps, _ = tree

    def classes_of(center):
        for step in steps[splits[center] : splits[center + 1]]:
            yield step >> 1, 1, -1 if step % 2 else 1

    return classes_of
