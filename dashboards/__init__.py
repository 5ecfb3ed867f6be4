"""What you load into your monitoring, and what builds it."""
