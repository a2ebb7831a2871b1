"""What a registration task is: grids, images, pairs, landmarks, fields, and the files that hold them.

Used by the registration and by its evaluation, which share nothing else. Conventions: arrays in NIfTI index
order; grids map indices to RAS mm; fields are pull fields, fixed -> moving, in voxels of the fixed grid;
landmarks are in voxels of a named image. Nothing is reoriented or resampled here.
"""

from regtask.atomic import atomic_path, atomic_write_text
from regtask.dataset import Dataset, Split, read_dataset
from regtask.errors import DataError, Fault, OutputError, SpaceError, TaskError, nearest
from regtask.fields import FieldGrids, Layout, read_field, read_field_grids, write_field
from regtask.grid import Grid
from regtask.images import (
    ImageHeader,
    Volume,
    read_header,
    read_labels,
    read_mask,
    read_volume,
    write_volume,
)
from regtask.landmarks import LandmarkPair, read_landmark_pair, read_landmarks, write_landmarks
from regtask.names import CaseId, FieldNaming, case_key, field_name_long, field_name_short, field_names
from regtask.pair import Companions, Pair
from regtask.verify import SameGrid, raise_for, verify_pairs

__all__ = [
    "CaseId",
    "Companions",
    "DataError",
    "Dataset",
    "Fault",
    "FieldGrids",
    "FieldNaming",
    "Grid",
    "ImageHeader",
    "LandmarkPair",
    "Layout",
    "OutputError",
    "Pair",
    "SameGrid",
    "SpaceError",
    "Split",
    "TaskError",
    "Volume",
    "atomic_path",
    "atomic_write_text",
    "case_key",
    "field_name_long",
    "field_name_short",
    "field_names",
    "nearest",
    "raise_for",
    "read_dataset",
    "read_field",
    "read_field_grids",
    "read_header",
    "read_labels",
    "read_landmark_pair",
    "read_landmarks",
    "read_mask",
    "read_volume",
    "verify_pairs",
    "write_field",
    "write_landmarks",
    "write_volume",
]
