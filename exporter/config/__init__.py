"""Files that people write, to checked values."""
