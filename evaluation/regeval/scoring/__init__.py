"""From the fields of a submission to the metrics file: measured, scored by two sets of rules, summed up."""
