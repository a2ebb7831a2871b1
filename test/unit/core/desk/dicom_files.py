"""DICOM as scanners and planning systems write it: series, structure sets and doses, by pydicom alone."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
RTSTRUCT, RTDOSE = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.481.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def uid(name):
    return generate_uid(entropy_srcs=[name])


def dataset(sop_class, name, modality):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid(name)
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = "Test^Phantom", "42", "", "O"
    made.StudyInstanceUID, made.StudyID, made.StudyDate, made.StudyTime = (
        uid("study"),
        "1",
        "20260101",
        "120000",
    )
    made.AccessionNumber, made.ReferringPhysicianName = "", ""
    made.Modality, made.Manufacturer = modality, "test"
    return made


def place(made, grid, slice_):
    """Position and orientation of one slice; columns along i, rows along j."""
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ grid.affine
    axes = lps[:3, :3] / grid.spacing_mm
    made.ImageOrientationPatient = [*axes[:, 0].round(12).tolist(), *axes[:, 1].round(12).tolist()]
    made.ImagePositionPatient = (lps @ [0, 0, slice_, 1])[:3].round(9).tolist()
    made.PixelSpacing = [grid.spacing_mm[1], grid.spacing_mm[0]]


def pixels(made, stored):
    """Of (I, J) or (I, J, frames) integers."""
    made.Columns, made.Rows = stored.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * stored.dtype.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        made.NumberOfFrames = stored.shape[2]
    made.PixelData = stored.T.astype(stored.dtype.newbyteorder("<")).tobytes()


def write_series(
    folder, stored, grid, name="ct", *, slope=1, intercept=-1024, slices=None, places=None, sop_class=CT
):
    """Write (I, J, K) int16 as one file per slice; `slices` of them, at `places` along the third axis."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(grid.shape[2]) if slices is None else slices:
        made = dataset(sop_class, f"{name}{k}", "CT" if sop_class == CT else "MR")
        made.SeriesInstanceUID, made.SeriesDescription = uid(name), f"{name} series"
        made.FrameOfReferenceUID, made.PositionReferenceIndicator = uid(f"frame of {name}"), ""
        made.SeriesNumber, made.InstanceNumber = 1, k + 1
        place(made, grid, k if places is None else places[k])
        made.SliceThickness = grid.spacing_mm[2]
        made.RescaleSlope, made.RescaleIntercept = slope, intercept
        pixels(made, stored[:, :, k])
        # In an order that is not that of the slices.
        made.save_as(folder / f"{(7 * k + 3) % 101:03d}_{name}.dcm", enforce_file_format=True)
    return folder


def write_enhanced(folder, stored, grid, name="enhanced", *, slope=1, intercept=0):
    """Write (I, J, K) as one file of K frames: position, spacing and rescaling in functional groups."""
    made = dataset(ENHANCED_CT, name, "CT")
    made.SeriesInstanceUID, made.SeriesDescription = uid(name), name
    made.FrameOfReferenceUID = uid(f"frame of {name}")
    pixels(made, stored.astype(np.uint16))
    frames = [Dataset() for _ in range(grid.shape[2])]
    for k, frame in enumerate(frames):
        place(frame, grid, k)
    measures, orientation, rescale, shared = (Dataset() for _ in range(4))
    measures.PixelSpacing = frames[0].PixelSpacing
    measures.SliceThickness = measures.SpacingBetweenSlices = grid.spacing_mm[2]
    orientation.ImageOrientationPatient = frames[0].ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, intercept, "HU"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = Sequence()
    for frame in frames:
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = frame.ImagePositionPatient
        group.PlanePositionSequence = Sequence([position])
        made.PerFrameFunctionalGroupsSequence.append(group)
    folder.mkdir(parents=True, exist_ok=True)
    made.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return folder


def write_structures(path, series_name, grid, rois):
    """Write a structure set on a series: {name: (colour, [(slice, (N, 2) of i, j), ...])}."""
    made = dataset(RTSTRUCT, str(path), "RTSTRUCT")
    made.SeriesInstanceUID, made.StructureSetLabel = uid(f"structures of {series_name}"), "plan"
    made.FrameOfReferenceUID = uid(f"frame of {series_name}")
    series = Dataset()
    series.SeriesInstanceUID = uid(series_name)
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = CT, uid("study")
    study.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = uid(f"frame of {series_name}")
    frame.RTReferencedStudySequence = Sequence([study])
    made.ReferencedFrameOfReferenceSequence = Sequence([frame])
    made.StructureSetROISequence, made.ROIContourSequence = Sequence(), Sequence()
    made.RTROIObservationsSequence = Sequence()
    for number, (name, (colour, contours)) in enumerate(rois.items(), 1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = uid(f"frame of {series_name}")
        made.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, list(colour)
        drawn.ContourSequence = Sequence()
        for slice_, outline in contours:
            one = Dataset()
            index = np.column_stack([outline, np.full(len(outline), slice_)])
            lps = grid.index_to_ras(index) * (-1, -1, 1)
            one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", len(lps)
            one.ContourData = [f"{value:.6f}" for value in lps.ravel()]
            drawn.ContourSequence.append(one)
        made.ROIContourSequence.append(drawn)
        observed = Dataset()
        observed.ObservationNumber = observed.ReferencedROINumber = number
        observed.RTROIInterpretedType, observed.ROIInterpreter = "ORGAN", ""
        made.RTROIObservationsSequence.append(observed)
    made.save_as(path, enforce_file_format=True)
    return path


def write_dose(path, stored, grid, scaling, name="ct", units="GY"):
    """Write (I, J, K) uint32 times a scaling."""
    made = dataset(RTDOSE, str(path), "RTDOSE")
    made.SeriesInstanceUID, made.FrameOfReferenceUID = uid("dose"), uid(f"frame of {name}")
    place(made, grid, 0)
    made.DoseUnits, made.DoseType, made.DoseSummationType = units, "PHYSICAL", "PLAN"
    made.DoseGridScaling = scaling
    made.GridFrameOffsetVector = (np.arange(grid.shape[2]) * grid.spacing_mm[2]).tolist()
    made.FrameIncrementPointer = 0x3004000C
    pixels(made, stored)
    made.save_as(path, enforce_file_format=True)
    return path
