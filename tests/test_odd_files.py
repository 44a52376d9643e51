"""Odd and damaged pictures, labels and lists: read as an independent reader does, or refused in a sentence."""

from __future__ import annotations

import odd_files
import pytest


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_odd_files_are_read_rightly_or_refused_in_a_sentence(tmp_path, kind):
    ends = [odd_files.attempt(kind, seed, tmp_path) for seed in range(80)]
    assert {"read", "refused"} == set(ends)
    assert ends.count("read") > 10
