"""What the stages need from the outside, named by transition."""
