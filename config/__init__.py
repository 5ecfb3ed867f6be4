"""What is configured: data, and below `windows` the program that makes the bundle."""
