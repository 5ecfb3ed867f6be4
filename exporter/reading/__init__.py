"""Read what people write: YAML -> checked values, or every mistake at once, each with file, line and remedy."""
