"""A campaign of broken inputs against the commands: cases, and what runs and judges them."""
