"""What is compiled: sampling, filters, fields, MIND, candidates and histograms on a CPU; a GPU's in `gpu`."""
