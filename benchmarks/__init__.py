"""What the exporter costs, and how true its figures are: measured, beside the black-box prober in the same run."""
