"""Benchmarks: both sides in one run, stated as ratios."""
