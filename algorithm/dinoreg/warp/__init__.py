"""A displacement applied to images, label maps and landmarks, from memory and from files."""
