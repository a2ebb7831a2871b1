import torch

from dinoreg.space.deformation import Deformation, mean_deformation
from dinoreg.space.frame import Frame


def test_a_mean_is_taken_of_deformations_on_different_cells():
    """In millimetres: 6 mm and 12 mm along the second axis, with shares of 1/4 and 3/4."""
    frame = Frame((12, 18, 24), (1.0, 1.5, 2.0), ((0, 12), (0, 18), (0, 24)))
    fine, coarse = frame.lattice((1, 2, 1)), frame.lattice((2, 4, 2))

    def along_second(lattice, mm):
        vectors = torch.zeros(3, *lattice.shape)
        vectors[1] = mm / lattice.spacing_mm[1]
        return Deformation(vectors, lattice)

    found = mean_deformation([along_second(fine, 6.0), along_second(coarse, 12.0)], [0.25, 0.75])
    assert found.lattice == fine
    torch.testing.assert_close(found.vectors[1] * fine.spacing_mm[1], torch.full(fine.shape, 10.5))
    assert not found.vectors[[0, 2]].any()
