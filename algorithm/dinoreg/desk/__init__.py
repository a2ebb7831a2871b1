"""Two scans on a desk: read from any format, registered, the result applied to whatever belongs to them."""
