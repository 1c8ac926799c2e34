"""What is made of records once a test has ended. Pure functions: records in, traces out."""
