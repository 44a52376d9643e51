"""Arrays in .npz files are read as NumPy reads them, and never where their bytes do not give their checksum."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from gluon_confseg import npz

ARRAYS = {
    "floats": np.random.RandomState(0).normal(size=(3, 4, 5)).astype(np.float32),
    "by columns": np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">i4"),
    "text": np.array(["road", "wall"]),
    "none": np.zeros((0, 7), np.uint8),
    "one number": np.float64(2.5),
    "truths": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_all_kinds_are_read_as_by_numpy(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    with npz.opened(tmp_path / "a.npz") as archive, np.load(tmp_path / "a.npz") as wanted:
        assert list(archive.entries) == list(ARRAYS)
        for name in ARRAYS:
            found = archive.read(name)
            assert (found.dtype, found.shape) == (wanted[name].dtype, wanted[name].shape)
            assert found.tobytes() == wanted[name].tobytes() and found.flags.writeable
            assert found.flags.f_contiguous == wanted[name].flags.f_contiguous


def test_two_arrays_of_one_header_do_not_share_their_values(tmp_path):
    first, second = np.arange(6.0), np.arange(6.0) + 1
    np.savez(tmp_path / "a.npz", first=first, second=second)
    with npz.opened(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive.read("first"), first)
        np.testing.assert_array_equal(archive.read("second"), second)


def test_a_flipped_bit_among_the_values_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", values=np.arange(4000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[20_000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with npz.opened(tmp_path / "a.npz") as archive, pytest.raises(ValueError, match="CRC"):
        archive.read("values")


def test_a_record_that_ends_inside_its_header_is_refused(tmp_path):
    whole = io.BytesIO()
    np.save(whole, np.arange(4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("values.npy", whole.getvalue()[:40])
    with pytest.raises(ValueError), npz.opened(tmp_path / "a.npz"):
        pass
