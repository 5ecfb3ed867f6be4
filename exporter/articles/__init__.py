"""Compare articles that list endpoints with the catalogue: a saved article -> what is new, gone, moved, changed."""
