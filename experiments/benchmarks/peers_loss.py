"""PyTorch's sides of the loss, eagerly: the paper's with the same arithmetic, and its own cross-entropy."""

from __future__ import annotations

import os

import draws
import numpy as np
import torch
from side import Work, serve
from torch.nn import functional as F

PENALTY = 5.0


def same(shape, ignored: float) -> Work:
    """The loss of `gluon_confseg.losses.ConfusionCELoss`, each sample's mean over its labelled pixels."""
    logits, labels = _drawn(shape, ignored)
    penalties = torch.from_numpy((PENALTY * draws.shares(shape[1])).astype(np.float32)).fill_diagonal_(0.0)

    def run() -> np.ndarray:
        logits.grad = None
        value = confusion_ce(logits, torch.from_numpy(labels).long(), penalties)
        value.sum().backward()
        return value.detach().numpy()

    values = run().astype(np.float64).tolist()
    return Work(run, values=values, gradient_norm=float(logits.grad.double().norm()))


def confusion_ce(logits, labels, penalties):
    """(N, K, H, W), (N, H, W), (K, K) lambda c_ij with zeros on the diagonal -> (N,); c_ii is 1."""
    valid = labels != draws.IGNORED
    classes = torch.where(valid, labels, 0)
    log_probabilities = F.log_softmax(logits, 1)
    own = log_probabilities.gather(1, classes[:, None])[:, 0]
    weights = penalties[classes].permute(0, 3, 1, 2)
    others = (weights * torch.log1p(-log_probabilities.exp())).sum(1)
    loss = torch.where(valid, -own - others, 0.0)
    return loss.flatten(1).sum(1) / valid.flatten(1).sum(1)


def plain(shape, ignored: float) -> Work:
    """torch.nn.functional.cross_entropy."""
    logits, labels = _drawn(shape, ignored)

    def run() -> float:
        logits.grad = None
        value = F.cross_entropy(logits, torch.from_numpy(labels).long(), ignore_index=draws.IGNORED)
        value.backward()
        return value.item()

    return Work(run)


def _drawn(shape, ignored: float) -> tuple:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    logits = torch.from_numpy(2 * draws.images(shape)).requires_grad_()
    return logits, draws.labels((shape[0], *shape[2:]), shape[1], ignored)


WORKS = {"same": same, "plain": plain}

if __name__ == "__main__":
    serve(WORKS, lambda: {"torch": torch.__version__})
