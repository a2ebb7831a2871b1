"""What challenge platforms call: one front end each, and the image's entry, which tells them apart."""
