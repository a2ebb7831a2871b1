"""DICOM of radiotherapy: series of slices, structure sets, doses."""
