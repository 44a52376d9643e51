"""Recipes that reproduce the paper's tables, the runner behind them, notebooks and benchmarks."""
