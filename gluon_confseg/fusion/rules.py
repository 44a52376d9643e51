"""The rules that combine all subnets' logits and learn nothing themselves: Section 3.3.

Each maps (F, subnet 0's logits, the other subnets' logits, their spaces) to log-scores of the K classes.
"""

from __future__ import annotations

from ..groups import SubnetSpace
from .mapping import gather, log_mean_exp, spread, view

_LEAST = 1.2e-38  # the least normal float: a score of exactly 0 stays the smallest, and finite


def mean(F, subnet0_logits, subnet_logits, spaces):
    """Mean of the subnets' probabilities, "others" copied to every class outside: Kittler's sum rule."""
    total = F.softmax(subnet0_logits, axis=1)
    for logits, space in zip(subnet_logits, spaces):
        total = total + _spread(F.softmax(logits, axis=1), space)
    return F.log(F.maximum(total / (len(subnet_logits) + 1), F.ones_like(total) * _LEAST))


def product(F, subnet0_logits, subnet_logits, spaces):
    """Product of the same: Kittler's product rule."""
    total = F.log_softmax(subnet0_logits, axis=1)
    for logits, space in zip(subnet_logits, spaces):
        total = total + _spread(F.log_softmax(logits, axis=1), space)
    return F.log_softmax(total, axis=1)


def residual_product(F, subnet0_logits, subnet_logits, spaces):
    """Subnet 0's probabilities times what each subnet changes of them in its own space."""
    changes = corrections(F, subnet0_logits, subnet_logits, spaces)
    return F.log_softmax(corrected(subnet0_logits, changes, spaces), axis=1)


def corrections(F, subnet0_logits, subnet_logits, spaces) -> list:
    """What each subnet changes of subnet 0, (N, |g| + 1, h, w): its log-probabilities less those of subnet 0's view.

    They are 0 where a subnet says what subnet 0 says.
    """
    return [
        F.log_softmax(logits, axis=1) - F.log_softmax(view(subnet0_logits, s.group, s.num_classes), axis=1)
        for logits, s in zip(subnet_logits, spaces)
    ]


def corrected(subnet0_logits, changes, spaces):
    """Subnet 0's logits plus all corrections: the residual product's log-scores, not normalised."""
    total = subnet0_logits
    for change, space in zip(changes, spaces):
        total = total + _spread(change, space)
    return total


def conditional(F, subnet0_logits, subnet_logits, spaces):
    """Subnet 0 says how much of a pixel belongs to a group, the group's subnet how that is shared inside.

    P(k) = P_0(group) P_m(k | group): "others" is left out of a subnet's softmax. Of several groups with the class the
    mean counts, scaled so that the classes sum to 1; a class in no group keeps subnet 0's probability.
    """
    # log P_0(group) + log P_m(k | group), written as a change of subnet 0's logit: 0 where the two agree
    shares = [
        F.log_softmax(gather(logits, range(int(s.has_others), s.channels)), axis=1)
        - F.log_softmax(gather(subnet0_logits, s.group), axis=1)
        for logits, s in zip(subnet_logits, spaces)
    ]
    nothing = F.zeros_like(gather(subnet0_logits, [0]))
    changes = [_mean_change(F, klass, shares, spaces, nothing) for klass in range(spaces[0].num_classes)]
    return F.log_softmax(subnet0_logits + F.concat(*changes, dim=1), axis=1)


def _mean_change(F, klass: int, shares, spaces, nothing):
    """(N, 1, h, w): log of the mean factor that the groups with this class put on its probability."""
    found = [gather(share, [s.group.index(klass)]) for share, s in zip(shares, spaces) if klass in s.group]
    if len(found) < 2:
        return found[0] if found else nothing
    return log_mean_exp(F.concat(*found, dim=1))


def _spread(scores, space: SubnetSpace):
    return spread(scores, space.group, space.num_classes)
