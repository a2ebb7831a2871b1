"""What must hold of a displacement before it is written."""
