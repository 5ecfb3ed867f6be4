"""What is served over HTTP: who may ask, how many at a time, and what is answered."""
