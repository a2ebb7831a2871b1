"""The anatomy of a phantom: bodies, organs, vessels and bones as shapes."""
