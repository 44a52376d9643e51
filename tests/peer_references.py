"""The peer losses in double precision, pixel by pixel, as their papers write them: slow, and independent.

Every reference takes (N, K, P) logits, (N, P) labels and the split's counts, and gives (N,) losses. What a paper holds
constant in backward is taken from `held`, the logits before a finite difference moved them.
"""

from __future__ import annotations

import math

import numpy as np

IGNORED = 255


def softmax(z) -> np.ndarray:
    e = np.exp(np.asarray(z, np.float64) - np.max(z))
    return e / e.sum()


def labelled(labels):
    return [u for u, y in enumerate(labels) if y != IGNORED]


def cross_entropies(logits, labels) -> dict:
    """Pixel -> -log q of its class, for the labelled pixels of one sample."""
    return {u: -math.log(softmax(logits[:, u])[labels[u]]) for u in labelled(labels)}


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def per_sample(one_sample):
    """A loss of one sample -> of a batch."""

    def batch(logits, labels, counts, held=None, **settings):
        held = logits if held is None else held
        return np.array(
            [one_sample(z, y, counts, h, **settings) for z, y, h in zip(logits, labels, held)], np.float64
        )

    return batch


@per_sample
def plain(logits, labels, counts, held):
    return mean(cross_entropies(logits, labels).values())


@per_sample
def median_frequency(logits, labels, counts, held):
    pixels, image_pixels = counts
    frequency = {c: pixels[c] / image_pixels[c] for c in range(len(pixels)) if pixels[c]}
    middle = float(np.median(list(frequency.values())))
    losses = cross_entropies(logits, labels)
    return mean(middle / frequency[labels[u]] * loss for u, loss in losses.items())


@per_sample
def inverse_frequency(logits, labels, counts, held):
    pixels, _ = counts
    found = sum(1 for n in pixels if n)
    losses = cross_entropies(logits, labels)
    return mean(sum(pixels) / (found * pixels[labels[u]]) * loss for u, loss in losses.items())


@per_sample
def ohem(logits, labels, counts, held, threshold=0.6, min_kept=256):
    probability = {u: softmax(held[:, u])[labels[u]] for u in labelled(labels)}
    hardest = sorted(probability, key=probability.get)[:min_kept]
    kept = [u for u in probability if probability[u] <= threshold or u in hardest]
    losses = cross_entropies(logits, labels)
    return mean(losses[u] for u in kept)


def best_weights(losses, p: float, share: float) -> np.ndarray:
    """The largest j losses at the bound, the others in proportion to l^(q - 1); the first j that keeps the bound."""
    losses = np.asarray(losses, np.float64)
    n, q = len(losses), p / (p - 1)
    m = max(1.0, share * n)
    norm, bound = n ** (-1 / q), m ** (-1 / p) * n ** (-1 / q)
    order = np.argsort(-losses)
    for j in range(n + 1):
        weights = np.full(n, bound)
        rest = order[j:]
        left = norm**p - j * bound**p
        if len(rest) and losses[rest].sum() > 0 and left > 0:
            shape = losses[rest] ** (q - 1)
            weights[rest] = shape * (left / (shape**p).sum()) ** (1 / p)
        elif len(rest):
            weights[rest] = 0.0
        if weights.max() <= bound * (1 + 1e-12):
            return weights
    raise AssertionError("no number of pixels at the bound fits")


@per_sample
def loss_max_pooling(logits, labels, counts, held, p=1.3, share=0.25):
    losses = list(cross_entropies(logits, labels).values())
    return float(best_weights(losses, p, share) @ losses) if losses else 0.0


@per_sample
def focal(logits, labels, counts, held, gamma=2.0):
    losses = cross_entropies(logits, labels)
    return mean((1 - math.exp(-loss)) ** gamma * loss for loss in losses.values())


def jaccard_loss(mistaken, truth) -> float:
    """1 - IoU of a class, where the pixels in `mistaken` are on the wrong side."""
    predicted = {u for u, t in truth.items() if t != (u in mistaken)}
    actual = {u for u, t in truth.items() if t}
    union = predicted | actual
    return 1 - len(predicted & actual) / len(union) if union else 0.0


@per_sample
def lovasz(logits, labels, counts, held):
    """The Lovasz extension of `jaccard_loss`, set by set."""
    chosen, values = labelled(labels), []
    for c in sorted({labels[u] for u in chosen}):
        truth = {u: labels[u] == c for u in chosen}
        probability = {u: softmax(logits[:, u])[c] for u in chosen}
        error = {u: 1 - probability[u] if truth[u] else probability[u] for u in chosen}
        mistaken, value = set(), 0.0
        for u in sorted(chosen, key=error.get, reverse=True):
            step = jaccard_loss(mistaken | {u}, truth) - jaccard_loss(mistaken, truth)
            mistaken, value = mistaken | {u}, value + error[u] * step
        values.append(value)
    return mean(values)


@per_sample
def logit_adjustment(logits, labels, counts, held, tau=1.0):
    pixels = np.maximum(counts[0], 1)
    prior = pixels / pixels.sum()
    return mean(cross_entropies(logits + tau * np.log(prior)[:, None], labels).values())


@per_sample
def seesaw(logits, labels, counts, held, mitigation=0.8, compensation=2.0):
    pixels, losses = np.maximum(counts[0], 1), []
    for u in labelled(labels):
        i, q = labels[u], softmax(held[:, u])
        total = 0.0
        for j in range(len(pixels)):
            m = (pixels[j] / pixels[i]) ** mitigation if pixels[i] > pixels[j] else 1.0
            c = (q[j] / q[i]) ** compensation if q[j] > q[i] else 1.0
            total += math.exp(logits[j, u]) * (1.0 if j == i else m * c)
        losses.append(-math.log(math.exp(logits[i, u]) / total))
    return mean(losses)


def recall(logits, labels, counts, held=None):
    held = logits if held is None else held
    pixels, missed = {}, {}
    for z, y in zip(held, labels):
        for u in labelled(y):
            pixels[y[u]] = pixels.get(y[u], 0) + 1
            missed[y[u]] = missed.get(y[u], 0) + (np.argmax(z[:, u]) != y[u])
    return np.array(
        [
            mean(missed[y[u]] / pixels[y[u]] * loss for u, loss in cross_entropies(z, y).items())
            for z, y in zip(logits, labels)
        ]
    )


@per_sample
def complement(logits, labels, counts, held, gamma=-1.0):
    losses = cross_entropies(logits, labels)
    classes = len(logits)
    for u in losses:
        q, g = softmax(logits[:, u]), labels[u]
        shares = [q[j] / (1 - q[g]) for j in range(classes) if j != g]
        losses[u] += gamma / (classes - 1) * -sum(s * math.log(s) for s in shares)
    return mean(losses.values())


REFERENCES = {
    "median_frequency": median_frequency,
    "inverse_frequency": inverse_frequency,
    "ohem": ohem,
    "loss_max_pooling": loss_max_pooling,
    "focal": focal,
    "lovasz": lovasz,
    "logit_adjustment": logit_adjustment,
    "seesaw": seesaw,
    "recall": recall,
    "complement": complement,
}


def finite_differences(reference, logits, labels, counts, step: float = 1e-6, **settings) -> np.ndarray:
    """(N, K, P) central differences of the sum of the samples' losses, with the constants held at `logits`."""
    gradient = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        moved = np.zeros(logits.shape)
        moved[place] = step
        ahead, behind = (
            reference(z, labels, counts, held=logits, **settings) for z in (logits + moved, logits - moved)
        )
        gradient[place] = (ahead - behind).sum() / (2 * step)
    return gradient
