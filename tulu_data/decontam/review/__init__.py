"""What people see of a run, and what they decide: the review page and the decisions file."""
