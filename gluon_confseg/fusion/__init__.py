"""Fusion of heterogeneous output spaces: Section 3.3, Fig. 3.

Source space of a subnet: "others", then the classes of its group (`groups.SubnetSpace`). Target space: all K classes.
"""

from __future__ import annotations

from mxnet import gluon

from ..grids import enlarge
from ..groups import SubnetSpace
from . import rules
from .grids import on_finest
from .learned import LearnedFusion
from .mapping import operators, spread, view

__all__ = ["LEARNED", "RULES", "Fusion", "LearnedFusion", "spread", "view"]

_CLASSICAL = {
    "sum": rules.mean,
    "product": rules.product,
    "residual_product": rules.residual_product,
    "conditional": rules.conditional,
}
RULES = ("subnet0", *_CLASSICAL)  # of any network
LEARNED = "learned"  # of a network that has its parameters


class Fusion(gluon.HybridBlock):
    """Logits of all subnets -> log-scores of the K classes, by one of `RULES` or `LEARNED`: Section 3.3.

    (N, K, h, w), (N, |g_1| + 1, h, w), ... -> (N, K, h, w); a softmax over the classes makes them probabilities.
    Logits on several grids are enlarged to the finest one, which the result has.

    subnet0           subnet 0 alone
    sum               mean of the subnets' probabilities, "others" copied to every class outside (Kittler, 1998)
    product           product of the same
    residual_product  subnet 0's probabilities times each subnet's, divided by what subnet 0 says in that subnet's
                      space, so that subnet 0 is not counted once per subnet
    conditional       subnet 0 says how much of a pixel belongs to a group, the group's subnet how it is shared inside
    learned           the residual product, corrected by a trained 1x1 convolution: `learned` holds it (`LearnedFusion`)

    subnets_finer     how many times finer each further subnet's grid is than subnet 0's; None: all have its grid
    finer             how many times finer the result's grid is than subnet 0's

    Raises ValueError for an unknown rule, and for "learned" without its parameters.
    """

    def __init__(
        self, groups, num_classes: int, rule: str = "sum", learned=None, *, subnets_finer=None, **kwargs
    ):
        super().__init__(**kwargs)
        if rule not in (*RULES, LEARNED):
            raise ValueError(f"no fusion rule {rule!r}: choose one of {', '.join((*RULES, LEARNED))}")
        if rule == LEARNED and learned is None:
            raise ValueError(
                "this network holds no learned fusion: build it with learned_fusion=True and train that, "
                f"or choose one of {', '.join(RULES)}"
            )
        self.rule = rule
        self.learned = learned if rule == LEARNED else None
        self._spaces = [SubnetSpace(group, num_classes) for group in groups]
        self._finer = tuple(subnets_finer or ())
        self.finer = 1 if rule == "subnet0" else max(self._finer, default=1)

    @classmethod
    def of(cls, network, rule: str, **kwargs) -> Fusion:
        """The fusion of a network's subnets by a rule, with the network's own parameters where it has any."""
        grids = {"subnets_finer": network.finer}
        return cls(network.groups, network.num_classes, rule, network.learned_fusion, **grids, **kwargs)

    def hybrid_forward(self, F, subnet0_logits, *subnet_logits):
        """Fuse; see the class."""
        if self.rule == "subnet0" or not subnet_logits:
            return F.log_softmax(subnet0_logits, axis=1)
        if self.finer > 1:
            relative = self.rule not in ("sum", "product")
            subnet0_logits, subnet_logits = on_finest(
                F, subnet0_logits, subnet_logits, self._finer, self._spaces, relative
            )
        if self.learned is not None:
            return self.learned(subnet0_logits, *subnet_logits)
        return _CLASSICAL[self.rule](F, subnet0_logits, subnet_logits, self._spaces)

    def of_class_corrections(self, subnet0_logits, corrections, details=()):
        """The residual product of residual subnets, from what each adds to subnet 0's logits for every class.

        What normalises a subnet's scores is the same for all classes, so the last softmax takes it out.
        (N, K, h, w) each -> (N, K, h, w); with `details` on a finer grid, the scores are on that one
        """
        F = operators(subnet0_logits)
        # not a chain of sums: MXNet (1.9.1) mixes up the arguments of a graph when it makes those part of convolutions
        scores = F.add_n(subnet0_logits, *corrections)
        if details:
            scores = F.add_n(enlarge(F, scores, self.finer, details[0]), *details)
        return F.log_softmax(scores, axis=1)
