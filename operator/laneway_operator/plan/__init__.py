"""Pure decisions: from what is wanted and what was seen to what shall be done and said."""
