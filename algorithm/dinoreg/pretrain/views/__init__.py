"""Two views of one anatomy, with the exact map between them."""
