"""What the exporter costs, and how true its figures are: measured, beside blackbox_exporter in the same run."""
