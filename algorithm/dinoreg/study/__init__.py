"""Studies over many registrations."""
