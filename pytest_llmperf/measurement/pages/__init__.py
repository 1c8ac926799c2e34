"""What of a metrics page is a metric of the project."""
