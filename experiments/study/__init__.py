"""The study: what subnets and the improved cross-entropy gain, beside their controls. `python -m experiments.study`."""
