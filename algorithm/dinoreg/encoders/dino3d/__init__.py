"""The volume encoder of this project."""
