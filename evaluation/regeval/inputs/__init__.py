"""What an evaluation reads: submissions, which nothing is believed of; ground truth; configuration."""
