"""`dinoreg register`: two scans, one command."""
